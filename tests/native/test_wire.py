"""What the gate takes for a query, and what it takes for something else."""

import struct
from itertools import pairwise

import pytest
from dnslib import EDNS0, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native import packets
from enforcer.core.name import Name

ROOT_OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


def header(
    *, flags: int = 0x0100, qd: int = 1, an: int = 0, ns: int = 0, ar: int = 0, qid: int = 0x1234
) -> bytes:
    return struct.pack("!6H", qid, flags, qd, an, ns, ar)


def question(name: str = "example.org", qtype: int = 1, qclass: int = 1) -> bytes:
    return Name.from_text(name).wire + struct.pack("!HH", qtype, qclass)


def reading(wire: bytes) -> str:
    return packets.read(wire)[0]


LABELS = st.one_of(st.binary(min_size=1, max_size=63), st.binary(min_size=1, max_size=3))


@st.composite
def wire_names(draw: st.DrawFn, labels: st.SearchStrategy[bytes] = LABELS) -> bytes:
    wire = b""
    for label in draw(st.lists(labels, max_size=127)):
        if len(wire) + len(label) + 2 > 255:
            break
        wire += bytes([len(label)]) + label
    return wire + b"\0"


@given(wire_names(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_every_name_is_read_as_the_python_names_read_it(name, qtype, qclass):
    kind, fields = packets.read(header() + name + struct.pack("!HH", qtype, qclass))
    assert kind == ("REFUSED" if qtype in (251, 252) else "QUERY")
    assert Name(fields["name"]) == Name.from_wire(name)
    assert (fields["qtype"], fields["qclass"]) == (qtype, qclass)
    assert fields["question_octets"] == len(name) + 4
    starts = fields["label_at"]
    assert starts[-1] == len(name) - 1
    assert [fields["name"][at + 1 : to] for at, to in pairwise(starts)] == (
        list(Name.from_wire(name).labels)
    )


@pytest.mark.parametrize("labels", [(63, 63, 63, 61), (1,) * 127, ()])
def test_the_longest_names_and_the_root_are_queries(labels):
    name = b"".join(bytes([size]) + b"A" * size for size in labels) + b"\0"
    assert packets.read(header() + name + b"\0\1\0\1")[1]["name"] == name.lower()


@pytest.mark.parametrize("labels", [(63, 63, 63, 62), (63,) * 4, (1,) * 128])
def test_a_name_over_255_octets_is_malformed(labels):
    name = b"".join(bytes([size]) + b"a" * size for size in labels) + b"\0"
    assert reading(header() + name + b"\0\1\0\1") == "FORMERR"


@pytest.mark.parametrize("octet", [0x40, 0x41, 0x80, 0xC0, 0xFF])
@pytest.mark.parametrize("rest", [b"\x0c", b"a" * 0x40, b"a" * 0x80, b"a" * 0xC0])
@pytest.mark.parametrize("before", [b"", b"\1a"])
def test_compression_and_reserved_label_types_in_the_question_are_malformed(octet, rest, before):
    assert reading(header() + before + bytes([octet]) + rest + b"\0\0\1\0\1") == "FORMERR"


def test_every_cut_of_a_query_is_a_runt_or_malformed():
    wire = header(ar=1) + question() + ROOT_OPT
    assert reading(wire) == "QUERY"
    for length in range(len(wire)):
        assert reading(wire[:length]) == ("RUNT" if length < 12 else "FORMERR")


def test_octets_left_over_are_malformed():
    assert reading(header() + question() + b"\0") == "FORMERR"


def test_a_response_is_not_a_query():
    assert reading(header(flags=0x8180) + question()) == "RESPONSE"
    assert reading(header(flags=0xA800)) == "RESPONSE"


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_not_implemented_whatever_follows(opcode):
    assert reading(header(flags=opcode << 11, qd=7) + b"\xff") == "NOTIMP"


@pytest.mark.parametrize("qd", [0, 2, 0xFFFF])
def test_anything_but_one_question_is_malformed(qd):
    assert reading(header(qd=qd) + question() * min(qd, 2)) == "FORMERR"


@pytest.mark.parametrize("qtype", [251, 252])
def test_a_zone_transfer_is_refused(qtype):
    assert reading(header() + question(qtype=qtype)) == "REFUSED"


@pytest.mark.parametrize(
    ("size", "takes"),
    [(0, 512), (511, 512), (512, 512), (1000, 1000), (1232, 1232), (0xFFFF, 1232)],
)
def test_the_clients_size_is_clamped(size, takes):
    wire = header(ar=1) + question() + b"\0" + struct.pack("!HHIH", 41, size, 0, 0)
    assert packets.read(wire)[1]["reply_octets_max"] == takes


def test_a_client_without_edns_takes_512_octets():
    fields = packets.read(header() + question())[1]
    assert (fields["has_edns"], fields["reply_octets_max"], fields["dnssec_ok"]) == (
        False,
        512,
        False,
    )


def test_the_do_bit_is_read():
    assert packets.read(DNSRecord.question("example.org").pack())[1]["dnssec_ok"] is False
    query = DNSRecord.question("example.org")
    query.add_ar(EDNS0(flags="do"))
    assert packets.read(query.pack())[1]["dnssec_ok"] is True


@pytest.mark.parametrize("version", [1, 255])
def test_a_later_edns_version_is_badvers(version):
    opt = b"\0" + struct.pack("!HHBBHH", 41, 1232, 0, version, 0, 0)
    assert reading(header(ar=1) + question() + opt) == "BADVERS"


def test_two_opt_records_are_malformed():
    assert reading(header(ar=2) + question() + ROOT_OPT * 2) == "FORMERR"


def test_an_opt_record_with_an_owner_is_malformed():
    assert reading(header(ar=1) + question() + b"\1a" + ROOT_OPT) == "FORMERR"


@pytest.mark.parametrize("section", ["an", "ns"])
def test_an_opt_record_outside_the_additional_section_is_malformed(section):
    assert reading(header(**{section: 1}) + question() + ROOT_OPT) == "FORMERR"


@pytest.mark.parametrize("options", [b"\0", b"\0\3\0", b"\0\3\0\1", b"\0\3\0\0\0", b"\0\3\xff\xff"])
def test_edns_options_that_do_not_fill_the_opt_are_malformed(options):
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(options)) + options
    assert reading(header(ar=1) + question() + opt) == "FORMERR"


def test_known_and_unknown_edns_options_are_taken():
    options = b"\0\x0a\0\x08" + b"c" * 8 + b"\xff\xfe\0\0"
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(options)) + options
    assert reading(header(ar=1) + question() + opt) == "QUERY"


def test_counts_beyond_the_records_are_malformed():
    assert reading(header(ar=0xFFFF) + question() + ROOT_OPT) == "FORMERR"
    assert reading(header(an=0xFFFF, ns=0xFFFF, ar=0xFFFF) + question()) == "FORMERR"


@pytest.mark.parametrize(
    "owner", [b"\xc0\x0c", b"\1b\xc0\x0c", b"\3org\0"], ids=["pointer", "mixed", "plain"]
)
def test_other_records_are_walked_over(owner):
    record = owner + struct.pack("!HHIH", 1, 1, 0, 4) + b"\xc0\0\2\1"
    assert reading(header(ar=2) + question() + record + ROOT_OPT) == "QUERY"


@pytest.mark.parametrize("target", [0, 11, 0x1D, 0x3FFF])
def test_a_pointer_that_does_not_point_back_into_the_message_is_malformed(target):
    record = struct.pack("!HHHIH", 0xC000 | target, 1, 1, 0, 0)
    assert len(header() + question()) == 0x1D
    assert reading(header(ar=1) + question() + record) == "FORMERR"


@given(st.binary(max_size=600))
def test_any_octets_are_read_without_harm(wire):
    assert reading(wire) in packets.READINGS[1:]


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 3))
def test_any_octets_after_a_header_are_read_without_harm(rest, ns, ar):
    assert reading(header(ns=ns, ar=ar) + question() + rest) in ("QUERY", "FORMERR", "BADVERS")
