"""Captures, exports and lines as inputs: what is in them, what is wrong with them, what is cut."""

import json
import socket
import threading
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import CookedLinux, Dot1Q, Ether
from scapy.utils import wrpcap, wrpcapng

from enforcer.backends.flow_capture import Capture
from enforcer.backends.flow_dns import read_message
from enforcer.backends.flow_exports import Exports, new_index
from enforcer.backends.flow_frames import packet_of
from enforcer.backends.flow_tuples import BAD_LINES_MAX, FlowLines
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import DnsMessage
from tests.flows import PLAIN, flow_set, plain_record, read, template, v9
from tests.ports import free_ports

TRAILS = {
    "evil-test-domain.com": b"exact evil-test-domain.com\n",
    "evil-parent.com": b"subtree evil-parent.com\n",
    "badsite.onion": b"subtree badsite.onion\n",
    "66.66.66.66": b"ip 66.66.66.66\n",
    "7.7.7.7": b"ip 7.7.7.7\n",
    "198.51.100.53": b"ip 198.51.100.53\n",
    "203.0.113.44": b"ip 203.0.113.44\n",
    "198.51.100.66": b"ip 198.51.100.66\n",
    "dead::beef": b"ip dead::beef\n",
}
"""Those of the captures' trails that an order could name."""


def seen(path, ports=(2055,)):
    """Return flows, messages and counts of a capture."""
    capture = Capture(path, Exports(), ports)
    flows, messages = [], []
    for each in capture.read():
        if isinstance(each, DnsMessage):
            messages.append(each)
        else:
            flows += read(each)
    return flows, messages, {name: n for name, n in capture.counts.items() if n}


def matched(path):
    """Return the trails that a capture's packets and questions match."""
    from enforcer.services.explain import candidates
    from enforcer.services.explain_lines import find_line

    index, found = new_index(), set()
    for owner, text in enumerate(TRAILS.values()):
        index.add(owner, text)
    for each in Capture(path, Exports(), ()).read():
        if isinstance(each, DnsMessage):
            lines = candidates(each.qname)
            found |= {
                name
                for name, text in TRAILS.items()
                if any(find_line(text, line) is not None for line in lines)
            }
        else:
            found |= {list(TRAILS)[owner] for _, _, owner, _ in index.match(each)}
    return found


EXPECTED_OTHERWISE = {
    "dns_queries.pcap": {"evil-test-domain.com", "evil-parent.com"},  # badsite.onion.to is another
    "dns_resolver_trail.pcap": {"198.51.100.53"},  # whatever.com is what was asked of that trail
    "mixed_soup.pcap": {"66.66.66.66", "198.51.100.66", "evil-parent.com", "evil-test-domain.com"},
    "truncated.pcap": {"66.66.66.66"},  # a packet that is cut behind its addresses
}
"""Where what counts as a match there and here differs; mixed_soup.pcap comes without a list."""


def test_captures_match_what_is_expected_of_them_where_an_order_could_name_it(data_dir):
    folder = data_dir / "packets" / "pcap" / "corpus"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest) == 39
    got, wanted = {}, {}
    for entry in manifest:
        name = entry["pcap"]
        expected = {word.replace("(www).", "").split("(")[0] for word in entry["expect"]}
        wanted[name] = EXPECTED_OTHERWISE.get(name, expected & set(TRAILS))
        got[name] = matched(folder / name)
    assert got == wanted


def test_every_packet_of_the_captures_is_a_flow_or_says_why_not(data_dir):
    folder = data_dir / "packets" / "pcap" / "corpus"
    for entry in json.loads((folder / "manifest.json").read_text()):
        flows, _, counts = seen(folder / entry["pcap"])
        assert counts["packets"] == entry["packets"]
        left_out = sum(counts.get(name, 0) for name in ("packets_not_ip", "packets_cut"))
        assert len(flows) + left_out == entry["packets"], entry["pcap"]


V4 = IP(src="192.0.2.1", dst="198.51.100.7")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::7")


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, Ether() / V4),
        (1, Ether() / Dot1Q(vlan=5) / Dot1Q(vlan=6) / V4),
        (101, V4),
        (113, CookedLinux() / V4),
        (0, b"\2\0\0\0" + bytes(V4 / TCP(sport=5, dport=443, flags="SA") / b"hello")),
        (1, Ether() / IP(src="192.0.2.1", dst="198.51.100.7", options=[b"\1" * 4])),
    ],
)
def test_frames_of_each_link_are_read(link, frame):
    if not isinstance(frame, bytes):
        frame = bytes(frame / TCP(sport=5, dport=443, flags="SA") / b"hello")
    packet = packet_of(frame, link)
    assert packet.source[12:] == IPv4Address("192.0.2.1").packed
    assert (packet.source_port, packet.target_port, packet.tcp_flags) == (5, 443, 0x12)
    assert packet.payload == b"hello"


def test_ipv6_extension_headers_are_passed_over():
    frame = bytes(V6 / IPv6ExtHdrDestOpt() / UDP(sport=53, dport=9) / b"x")
    packet = packet_of(frame, 101)
    assert (packet.protocol, packet.source_port, packet.octets) == (17, 53, len(frame))
    assert packet.target == IPv6Address("2001:db8::7").packed


@pytest.mark.parametrize(
    "frame",
    [V4.copy() / (b"x" * 40), V6 / IPv6ExtHdrFragment(offset=9, nh=6) / (b"x" * 40)],
)
def test_a_later_fragment_has_no_ports(frame):
    if IP in frame:
        frame[IP].frag, frame[IP].proto = 9, 6
    packet = packet_of(bytes(frame), 101)
    assert packet.protocol == 6
    assert (packet.source_port, packet.tcp_flags) == (0, None)


def test_cut_frames_are_none():
    whole = bytes(Ether() / V4 / TCP())
    for size in range(34):
        assert packet_of(whole[:size], 1) is None
    assert packet_of(whole[:40], 1).tcp_flags is None


def story(path, write):
    packets = [
        Ether() / V4 / TCP(sport=5, dport=443, flags="S"),
        Ether() / V4 / ICMP(),
        Ether(type=0x0806) / b"arp",
        Ether() / V4 / UDP(sport=9, dport=53) / DNS(qd=DNSQR(qname="Bad.Example.org")),
        Ether()
        / IP(src="198.51.100.7", dst="192.0.2.1")
        / UDP(sport=53, dport=9)
        / DNS(
            qr=1,
            qd=DNSQR(qname="bad.example.org"),
            an=[
                DNSRR(rrname="bad.example.org", type="CNAME", rdata="else.example.net"),
                DNSRR(rrname="else.example.net", rdata="203.0.113.9"),
            ],
        ),
        Ether() / V4 / UDP(sport=9, dport=53) / b"no dns",
        Ether()
        / V4
        / UDP(sport=9, dport=2055)
        / v9(flow_set(0, template(300, PLAIN)), flow_set(300, plain_record())),
    ]
    for number, packet in enumerate(packets):
        packet.time = 1_800_000_000.25 + number
    write(str(path), packets)
    return path


def wrpacked(path, packets):
    wrpcap(path, packets, gz=True)


@pytest.mark.parametrize("write", [wrpcap, wrpcapng, wrpacked])
def test_a_capture_gives_flows_messages_and_the_exports_in_it(tmp_path, write):
    flows, messages, counts = seen(story(tmp_path / "capture", write))
    assert counts == {"packets": 7, "packets_not_ip": 1, "dns_unreadable": 1}
    assert [(flow.protocol, flow.octets) for flow in flows[:2]] == [(6, 40), (1, 28)]
    assert flows[0].first_ms == flows[0].last_ms == 1_800_000_000_250
    assert flows[-1].octets == 1000  # the export's own
    assert [message.qname.text for message in messages] == ["bad.example.org"] * 2
    assert messages[0].reply is None
    assert [link.text for link in messages[1].links] == ["else.example.net"]
    assert messages[1].addresses == (IPv4Address("203.0.113.9"),)
    assert messages[1].reply.has_answer


def test_a_cut_capture_says_so(tmp_path):
    path = story(tmp_path / "capture", wrpcap)
    whole = path.read_bytes()
    for octets in (len(whole) - 1, len(whole) - 90, 30):
        path.write_bytes(whole[:octets])
        assert seen(path)[2]["cut"] == 1


def test_what_is_no_capture_is_refused(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(b"\xd4\xc3\xb2\xa1\0\0")
    with pytest.raises(InputError, match="no capture"):
        seen(path)
    with pytest.raises(UnavailableError):
        seen(tmp_path / "nowhere")


def test_dns_over_tcp_is_read_where_it_stands_alone(tmp_path):
    message = bytes(DNS(qd=DNSQR(qname="bad.example.org")))
    framed = len(message).to_bytes(2, "big") + message
    packets = [
        Ether() / V4 / TCP(dport=53, flags="PA") / payload for payload in (framed, framed[:9], b"")
    ]
    wrpcap(str(tmp_path / "capture"), packets)
    flows, messages, counts = seen(tmp_path / "capture")
    assert (len(flows), len(messages), counts["dns_unreadable"]) == (3, 1, 1)


def test_hints_and_service_names_are_what_a_response_leads_to():
    import dns.message
    import dns.rrset

    query = dns.message.make_query("www.example.org", "SVCB")
    for kind in ("SVCB", "HTTPS"):
        response = dns.message.make_response(query)
        text = "1 pool.example.net. ipv4hint=192.0.2.7 ipv6hint=2001:db8::7"
        response.answer.append(dns.rrset.from_text("www.example.org.", 60, "IN", kind, text))
        message = read_message(response.to_wire(), 5)
        assert [name.text for name in message.links] == ["pool.example.net"]
        assert message.addresses == (IPv4Address("192.0.2.7"), IPv6Address("2001:db8::7"))


def test_hostile_messages_are_read_or_left_out():
    from pathlib import Path

    folder = Path(__file__).parent.parent / "vectors" / "packets"
    results = [read_message(path.read_bytes(), 1) for path in sorted(folder.glob("*.pkt"))]
    assert any(each is None for each in results)


# Files and datagrams of exports.


def test_a_file_of_exports_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("enforcer.backends.flow_exports.CHUNK_OCTETS", 1000)
    data = flow_set(300, plain_record() * 20)
    run = v9(flow_set(0, template(300, PLAIN))) + b"".join(
        v9(data, sequence=number) for number in range(2, 400)
    )
    path = tmp_path / "exports"
    path.write_bytes(run)
    exports = Exports()
    assert sum(len(read(each)) for each in exports.file(path)) == 398 * 20
    counts = exports.counts()
    assert (counts["export_messages"], counts["gaps"]) == (399, 0)


def test_datagrams_are_received_until_there_are_enough():
    exports, ready, (port,) = Exports(), threading.Event(), free_ports(1)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            message = v9(flow_set(0, template(300, PLAIN)), flow_set(300, plain_record()))
            while not ready.wait(0.01):
                sending.sendto(message, ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        flows = [flow for got in exports.listen("127.0.0.1", port, 60, 3) for flow in read(got)]
    finally:
        ready.set()
        thread.join()
    assert len(flows) == 3
    assert exports.counts()["export_messages"] == 3


def test_waiting_ends_with_its_time_and_a_taken_port_is_said():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"port {port}"):
            list(Exports().listen("127.0.0.1", port, 0.01, 1))
    assert list(Exports().listen("::1", port, 0.01, 1)) in ([], [b""])


# Lines.

HEAD = "source,target,first_ms,last_ms,octets,packets,protocol,tcp_flags\n"


def lines_of(path, text):
    path.write_text(text)
    lines = FlowLines(path)
    return [flow for packed in lines.read() for flow in read(packed)], lines


def test_csv_and_json_lines_are_flows(tmp_path):
    by_csv, _ = lines_of(
        tmp_path / "flows.csv",
        HEAD + "192.0.2.1,2001:db8::7,5,9,100,2,tcp,18\n::ffff:192.0.2.9,192.0.2.1,7,,1,,17,\n",
    )
    assert [(f.source, f.target, f.first_ms, f.last_ms, f.packets, f.marks) for f in by_csv] == [
        ("192.0.2.1", "2001:db8::7", 5, 9, 2, 5),
        ("192.0.2.9", "192.0.2.1", 7, 7, 1, 4),
    ]
    value = {"source": "192.0.2.1", "target": "2001:db8::7", "first_ms": 5, "last_ms": 9}
    more = {"octets": 100, "packets": 2, "protocol": 6, "tcp_flags": 18}
    by_json, _ = lines_of(tmp_path / "flows.jsonl", json.dumps(value | more) + "\n")
    assert by_json == by_csv[:1]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("192.0.2.300,192.0.2.1,5,,1,1,6,", "source is no IP address"),
        ("192.0.2.1,192.0.2.1,x,,1,1,6,", "first_ms is no number"),
        ("192.0.2.1,192.0.2.1,5,4,1,1,6,", "last_ms is before first_ms"),
        ("192.0.2.1,192.0.2.1,5,,1,1,256,", "protocol is over 255"),
        ("192.0.2.1,192.0.2.1,5,,-1,1,6,", "octets is no number"),
        ("192.0.2.1,,5,,1,1,6,", "it has no target"),
        ("192.0.2.1", "it has no target"),
    ],
)
def test_a_wrong_line_is_left_out_and_told_without_its_content(tmp_path, line, problem):
    good = "192.0.2.1,192.0.2.2,5,,1,1,6,\n"
    flows, lines = lines_of(tmp_path / "flows", HEAD + good + line + "\n" + good)
    assert len(flows) == 2
    assert (lines.bad_lines, lines.first_bad) == (1, (3, problem))


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", "garbage\n"])
def test_a_file_without_a_head_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="names no column"):
        lines_of(tmp_path / "flows", text)


@pytest.mark.parametrize("line", ['{"source": 1', "[1]", "[" * 3000, '{"source":"x"}'])
def test_json_lines_that_are_no_flows_are_counted(tmp_path, line):
    _, lines = lines_of(tmp_path / "flows", '{"source": "192.0.2.1"}\n' + line + "\n")
    assert lines.bad_lines == 2


def test_too_many_wrong_lines_are_refused(tmp_path):
    with pytest.raises(InputError, match="first line 2"):
        lines_of(tmp_path / "flows", HEAD + "x\n" * (BAD_LINES_MAX + 1))
