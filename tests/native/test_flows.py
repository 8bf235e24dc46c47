"""The decoder of flow exports: by hand, against real exporters' packets, and against scapy."""

import logging
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.flows import REASONS, Decoder
from tests import flows as make
from tests.flows import PLAIN, SENT_S, decode_all, flow_set, ipfix, plain_record, template, v9

VECTORS = Path(__file__).parent.parent / "vectors" / "netflow"

GOLDEN = {
    # file: messages, flows, records of options, templates, sets without a template, faults
    "ipfix.dat": (3, 12, 1, 3, 0, {}),
    "ipfix_test_ixia_tpldata271.dat": (1, 2, 0, 3, 0, {}),
    "netflow5_test_invalid01.dat": (1, 30, 0, 0, 0, {"cut_records": 1}),
    "netflow5_test_juniper_mx80.dat": (1, 29, 0, 0, 0, {}),
    "netflow9_cisco_asr1001x_tpl259.dat": (1, 25, 0, 1, 0, {}),
    "netflow9_test_cisco_1941K9.dat": (1, 29, 0, 1, 0, {}),
    "netflow9_test_cisco_nbar_opttpl260.dat": (1, 0, 15, 1, 0, {}),
    "netflow9_test_h3c_data3281.dat": (1, 0, 0, 0, 16, {}),
    "netflow9_test_h3c_netstream_varstring_tpl3281.dat": (1, 0, 0, 1, 0, {}),
    "netflow9_test_invalid01.dat": (1, 2, 1, 3, 0, {}),
    "netflow9_test_softflowd_tpl_data.dat": (1, 7, 0, 2, 0, {}),
    "netflow9_test_streamcore_tpl_data260.dat": (1, 2, 0, 6, 0, {}),
}


def faults(decoder):
    return {reason: count for reason, count in decoder.malformed.items() if count}


@pytest.mark.parametrize("name", GOLDEN)
def test_packets_of_real_exporters_have_what_was_counted_in_them(name):
    decoder = Decoder()
    found = decode_all(decoder, (VECTORS / name).read_bytes())
    got = (
        decoder.messages, len(found), decoder.option_records, decoder.templates_seen,
        decoder.sets_without_template, faults(decoder),
    )  # fmt: skip
    assert got == GOLDEN[name]
    assert decoder.flow_records == len(found)


def test_every_real_packet_decodes_or_says_why_not(data_dir):
    for path in sorted((data_dir / "netflow").glob("*.dat")):
        decoder = Decoder()
        found = decode_all(decoder, path.read_bytes())
        told = (
            len(found) + decoder.option_records + decoder.other_records + decoder.templates_seen
            + decoder.sets_without_template + sum(decoder.malformed.values())
        )  # fmt: skip
        assert told, path.name


def test_data_that_follows_its_template_by_a_packet_is_read():
    run = (VECTORS / "ipfix.dat").read_bytes()
    decoder, counts, at = Decoder(), [], 0
    while at < len(run):
        packed, octets = decoder.decode(run[at:], b"one")
        counts.append((decoder.templates_seen, len(packed) // make.FLOW_OCTETS))
        at += octets
    assert counts == [(3, 6), (3, 1), (3, 5)]


SCAPY_CAN_READ = [
    name
    for name, (_, flows, *_) in GOLDEN.items()
    if flows and name not in {
        "ipfix_test_ixia_tpldata271.dat",  # scapy refuses a template that has a field twice
        "netflow9_test_streamcore_tpl_data260.dat",
        "ipfix.dat",  # three messages in one file
        "netflow5_test_invalid01.dat",
    }
]  # fmt: skip


@pytest.mark.parametrize("name", SCAPY_CAN_READ)
def test_scapy_reads_the_same_flows(name):
    found = decode_all(Decoder(), (VECTORS / name).read_bytes())
    ours = [
        (flow.source, flow.target, flow.source_port, flow.target_port, flow.protocol, flow.octets,
         flow.packets) for flow in found
    ]  # fmt: skip
    assert ours == by_scapy((VECTORS / name).read_bytes())


def by_scapy(wire):
    """Read one message with scapy; options have records, too, and no addresses."""
    logging.getLogger("scapy").setLevel(logging.ERROR)
    from scapy.layers import netflow
    from scapy.layers.inet import IP, UDP

    [packet] = netflow.netflowv9_defragment(
        [IP(src="192.0.2.1") / UDP(sport=2055, dport=2055) / netflow.NetflowHeader(wire)]
    )
    found = []
    while packet:
        if isinstance(packet, netflow.NetflowRecordV5):
            found.append(
                (packet.src, packet.dst, packet.srcport, packet.dstport, packet.prot,
                 packet.dOctets, packet.dpkts)
            )  # fmt: skip
        if isinstance(packet, netflow.NetflowDataflowsetV9):
            found += [scapy_flow(record.fields) for record in packet.records]
        packet = packet.payload
    return [flow for flow in found if flow is not None]


def scapy_flow(fields):
    source = fields.get("IPV4_SRC_ADDR") or fields.get("IPV6_SRC_ADDR")
    if source is None:
        return None
    target = fields.get("IPV4_DST_ADDR") or fields.get("IPV6_DST_ADDR")
    numbers = [
        fields.get(name, 0)
        for name in ("L4_SRC_PORT", "L4_DST_PORT", "PROTOCOL", "IN_BYTES", "IN_PKTS")
    ]
    return (
        source, target,
        *(int.from_bytes(n, "big") if isinstance(n, bytes) else n for n in numbers),
    )  # fmt: skip


TEMPLATE = flow_set(0, template(300, PLAIN))
IPFIX_TEMPLATE = flow_set(2, template(300, PLAIN))


def test_all_fields_of_a_v9_record_are_read():
    [flow] = decode_all(Decoder(), v9(TEMPLATE, flow_set(300, plain_record())))
    assert flow == make.Flow(
        "192.0.2.1", "198.51.100.7", SENT_S * 1000 - 1000, SENT_S * 1000, 1000, 5, 0, 0, 1,
        40_000, 443, 6, 0x1B, 0, 5,
    )  # fmt: skip


def test_uptime_that_began_again_is_counted_back():
    decoder = Decoder()
    fields = ((make.SOURCE4, 4), (make.FIRST_UP, 4), (make.LAST_UP, 4))
    record = struct.pack("!4sII", IPv4Address("192.0.2.1").packed, 2**32 - 1000, 1000)
    [flow] = decode_all(decoder, v9(flow_set(0, template(300, fields)), flow_set(300, record)))
    assert SENT_S * 1000 - flow.first_ms == make.UPTIME_MS + 1000
    assert SENT_S * 1000 - flow.last_ms == make.UPTIME_MS - 1000


def test_an_uptime_ahead_of_the_message_is_a_moment_after_it():
    fields = ((make.SOURCE4, 4), (make.FIRST_UP, 4), (make.LAST_UP, 4))
    times = struct.pack("!II", make.UPTIME_MS, make.UPTIME_MS + 40)
    record = IPv4Address("192.0.2.1").packed + times
    [flow] = decode_all(Decoder(), v9(flow_set(0, template(300, fields)), flow_set(300, record)))
    assert (flow.first_ms, flow.last_ms) == (SENT_S * 1000, SENT_S * 1000 + 40)


def test_data_before_its_template_is_counted_and_dropped():
    decoder = Decoder()
    data = flow_set(300, plain_record())
    assert decode_all(decoder, v9(data)) == []
    assert decoder.sets_without_template == 1
    assert len(decode_all(decoder, v9(TEMPLATE, sequence=2))) == 0
    assert len(decode_all(decoder, v9(data, sequence=3))) == 1
    assert decoder.gaps == 0


def test_a_template_belongs_to_one_exporter_and_one_domain():
    decoder = Decoder()
    data = flow_set(300, plain_record())
    decode_all(decoder, v9(TEMPLATE, domain=1), b"one")
    for exporter, domain in ((b"two", 1), (b"one", 2)):
        assert decode_all(decoder, v9(data, domain=domain), exporter) == []
    assert decode_all(decoder, ipfix(data, domain=1), b"one") == []
    assert len(decode_all(decoder, v9(data, domain=1), b"one")) == 1


def test_a_template_that_changes_reads_what_comes_after_it():
    decoder = Decoder()
    narrow = flow_set(0, template(300, [(make.TARGET4, 4), (make.OCTETS, 2)]))
    record = flow_set(300, IPv4Address("198.51.100.9").packed + b"\1\0")
    found = decode_all(decoder, v9(TEMPLATE, flow_set(300, plain_record()), narrow, record))
    assert [(flow.target, flow.octets) for flow in found] == [
        ("198.51.100.7", 1000), ("198.51.100.9", 256),
    ]  # fmt: skip
    assert (decoder.templates_seen, decoder.templates_changed) == (2, 1)
    decode_all(decoder, v9(narrow))
    assert decoder.templates_changed == 1


def test_a_withdrawn_template_is_forgotten():
    decoder = Decoder()
    decode_all(decoder, ipfix(IPFIX_TEMPLATE, flow_set(2, struct.pack("!HH", 300, 0))))
    assert decoder.template_count == 0
    assert decode_all(decoder, ipfix(flow_set(300, plain_record()))) == []


def test_templates_are_bounded_and_the_one_not_sent_for_longest_goes():
    decoder = Decoder(templates_max=3)
    fields = [(make.SOURCE4, 4)]
    for number in (300, 301, 302, 300, 303):
        decode_all(decoder, v9(flow_set(0, template(number, fields))))
    assert decoder.template_count == 3
    record = IPv4Address("192.0.2.1").packed
    read = [bool(decode_all(decoder, v9(flow_set(n, record)))) for n in (300, 301, 302, 303)]
    assert read == [True, False, True, True]


def test_fields_of_variable_length_and_of_enterprises_are_passed_over():
    fields = [(99, make.VARIABLE, 9), (make.USER_NAME, make.VARIABLE), (1, 3, 29305),
              (make.SOURCE6, 16), (make.TARGET6, 16), (make.OCTETS, 8)]  # fmt: skip
    source, target = IPv6Address("2001:db8::1"), IPv6Address("2001:db8:f::2")
    long = b"\xff\1\x2c" + b"x" * 300
    record = b"\2ab" + long + b"\0\1\0" + source.packed + target.packed + struct.pack("!Q", 77)
    decoder = Decoder()
    found = decode_all(
        decoder, ipfix(flow_set(2, template(400, fields)), flow_set(400, record * 2))
    )
    assert [(f.source, f.target, f.octets, f.octets_back, f.marks & 16) for f in found] == [
        ("2001:db8::1", "2001:db8:f::2", 77, 256, 16)
    ] * 2
    assert faults(decoder) == {}


def test_octets_that_are_too_few_for_a_record_are_padding():
    decoder = Decoder()
    found = decode_all(decoder, v9(TEMPLATE, flow_set(300, plain_record() + b"\0\0\0")))
    assert len(found) == 1
    assert faults(decoder) == {}


def test_a_sampling_rate_comes_with_the_record_the_options_or_the_header():
    by_record = ((make.SOURCE4, 4), (make.SAMPLING, 4))
    record = IPv4Address("192.0.2.1").packed + struct.pack("!I", 128)
    [flow] = decode_all(Decoder(), v9(flow_set(0, template(300, by_record)), flow_set(300, record)))
    assert flow.sampling == 128

    scope, option = struct.pack("!HH", 1, 4), struct.pack("!HH", make.SAMPLING, 4)
    options = flow_set(1, struct.pack("!HHH", 310, 4, 4) + scope + option)
    decoder = Decoder()
    decode_all(decoder, v9(options, flow_set(310, struct.pack("!II", 7, 512))))
    [flow] = decode_all(decoder, v9(TEMPLATE, flow_set(300, plain_record())))
    assert flow.sampling == 512
    [flow] = decode_all(decoder, v9(TEMPLATE, flow_set(300, plain_record()), domain=8))
    assert flow.sampling == 1

    space = ipfix(
        flow_set(3, struct.pack("!HHHHHHHHH", 311, 3, 1, 149, 4, 305, 4, 306, 4)),
        flow_set(311, struct.pack("!III", 7, 1, 99)),
    )
    decoder = Decoder()
    decode_all(decoder, space)
    [flow] = decode_all(decoder, ipfix(IPFIX_TEMPLATE, flow_set(300, plain_record())))
    assert flow.sampling == 100

    record = make.v5_record("192.0.2.1", "198.51.100.7")
    [flow] = decode_all(Decoder(), make.v5(record, sampling=0x4000 | 64))
    assert flow.sampling == 64


def test_dropped_and_outgoing_flows_are_marked():
    fields = ((make.TARGET4, 4), (make.FORWARDING, 1), (make.DIRECTION, 1))
    target = IPv4Address("198.51.100.7").packed
    record = target + b"\x40\0" + target + b"\x82\1"
    found = decode_all(Decoder(), v9(flow_set(0, template(300, fields)), flow_set(300, record)))
    assert [flow.marks & 10 for flow in found] == [0, 10]


def test_messages_that_were_lost_are_gaps():
    decoder = Decoder()
    for sequence in (10, 11, 14, 15, 3, 4):  # 12 and 13 are lost, then it restarted
        decode_all(decoder, v9(TEMPLATE, sequence=sequence))
    assert decoder.gaps == 1
    decoder = Decoder()
    data = flow_set(300, plain_record() * 3)
    for sequence in (0, 3, 6, 12):  # IPFIX counts records
        decode_all(decoder, ipfix(IPFIX_TEMPLATE, data, sequence=sequence))
    assert decoder.gaps == 1


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"", "cut_header"),
        (b"\0\x09\0\1", "cut_header"),
        (b"\0\7" + bytes(40), "not_an_export"),
        (v9(TEMPLATE)[:-3], "cut_records"),
        (v9(b"\0\0\0\3"), "bad_set"),
        (v9(flow_set(20, b"")), "bad_set"),
        (v9(b"\0\0\0\0\1"), "bad_set"),
        (v9(flow_set(0, template(200, PLAIN))), "bad_template"),
        (v9(flow_set(0, template(300, [(make.SOURCE4, 0)]))), "bad_template"),
        (v9(flow_set(0, struct.pack("!HH", 300, 0))), "bad_template"),
        (v9(flow_set(0, struct.pack("!HH", 300, 600) + bytes(2400))), "bad_template"),
        (v9(flow_set(0, struct.pack("!HH", 300, 3) + bytes(4))), "bad_template"),
        (ipfix(flow_set(2, struct.pack("!HHHH", 300, 1, 0x8001, 4))), "bad_template"),
        (ipfix(flow_set(2, template(300, [(make.USER_NAME, make.VARIABLE)])),
               flow_set(300, b"\5abc")), "bad_record"),
        (ipfix(IPFIX_TEMPLATE)[:20], "cut_records"),
        (make.v5(make.v5_record("192.0.2.1", "192.0.2.2"))[:-1], "cut_records"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_message_is_counted_by_its_reason(wire, reason):
    decoder = Decoder()
    packed, octets = decoder.decode(wire, b"one")
    assert reason in REASONS
    assert faults(decoder)[reason] == 1
    assert (packed, octets) == (b"", len(wire))


def test_a_bad_template_takes_the_place_of_none():
    decoder = Decoder()
    decode_all(decoder, v9(TEMPLATE))
    decode_all(decoder, v9(flow_set(0, struct.pack("!HH", 300, 600) + bytes(2400))))
    assert decode_all(decoder, v9(flow_set(300, plain_record()))) == []


def test_messages_of_all_versions_follow_one_another_in_a_file():
    data = flow_set(300, plain_record())
    record = make.v5_record("192.0.2.1", "198.51.100.7")
    run = v9(TEMPLATE, data) + make.v5(record, record) + v9(data) + ipfix(IPFIX_TEMPLATE, data)
    decoder = Decoder()
    assert len(decode_all(decoder, run)) == 5
    assert decoder.messages == 4
    assert faults(decoder) == {}


def test_the_largest_message_fits():
    decoder = Decoder()
    narrow = flow_set(0, template(300, [(make.SOURCE4, 4)]))
    decode_all(decoder, v9(narrow))
    record = IPv4Address("192.0.2.1").packed
    message = v9(flow_set(300, record * ((65_535 - 24) // 4)))
    assert len(decode_all(decoder, message)) == (65_535 - 24) // 4


@given(st.binary(max_size=200), st.sampled_from([5, 9, 10]))
def test_any_octets_are_read_or_refused(tail, version):
    decoder = Decoder()
    wire = version.to_bytes(2, "big") + tail
    packed, octets = decoder.decode(wire, b"one")
    assert 0 < octets <= len(wire)
    assert len(packed) % make.FLOW_OCTETS == 0
