"""Hostile packets, from clients and from the upstream: each is answered or counted, none harms."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import DNSRecord

from tests.backends.gate_client import query
from tests.backends.gate_resolver import Resolver
from tests.backends.gate_tables import compiled, order
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.waiting import eventually

SLICE = Path(__file__).resolve().parent.parent / "vectors" / "packets"
DATAGRAM_OCTETS_MAX = 65_507
CANARY = query("canary.free.example", qid=0xCA9A)
REFUSALS = {"formerr": 1, "notimp": 4, "refused": 5}


@pytest.fixture
def resolver():
    made = Resolver()
    yield made
    made.close()


@pytest.fixture
def gate(tmp_path, resolver):
    with gate_folder(tmp_path) as folder:
        gate = GateUnderTest(folder, resolver.place).start()
        gate.load(compiled(tmp_path / "t", order()))
        yield gate
        gate.open.close()
        assert gate.end() == 0, gate.log.read_text()


def slice_of_packets() -> list[bytes]:
    files = sorted(SLICE.glob("*.pkt"))
    assert len(files) > 20
    return [path.read_bytes() for path in files]


def corpus(data_dir: Path) -> list[bytes]:
    folder = data_dir / "packets" / "bind9-fuzz"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 100
    return [path.read_bytes()[:DATAGRAM_OCTETS_MAX] for path in files]


def captured(data_dir: Path) -> list[bytes]:
    """Return what UDP port 53 carried in the captures, queries and answers."""
    scapy = pytest.importorskip("scapy.all")
    payloads = []
    for path in sorted((data_dir / "packets" / "pcap" / "corpus").glob("*.pcap")):
        with scapy.PcapReader(str(path)) as packets:
            payloads += [
                bytes(packet[scapy.UDP].payload)
                for packet in packets
                if scapy.UDP in packet and 53 in (packet[scapy.UDP].sport, packet[scapy.UDP].dport)
            ]
    assert len(payloads) > 20
    return payloads


def mutants(packets: list[bytes]) -> Iterator[bytes]:
    """Yield each packet, cut in places, and with its header made a plain query's."""
    for packet in packets:
        yield packet
        yield packet[: len(packet) // 2]
        yield packet[:13]
        yield packet[:2] + b"\1\0\0\1" + packet[6:]
        yield packet[:2] + b"\1\0\0\1" + bytes(6) + packet[12:]


def send_as_queries(gate: GateUnderTest, resolver: Resolver, packets: list[bytes]) -> None:
    """Send each as a client would; then every one is accounted for by an answer or a counter."""
    resolver.respond = resolver.mirror
    asking = gate.asking()
    answers = 0
    for packet in packets:
        asking.send(packet)
        asking.send(CANARY)
        # What the gate answers by itself or relays may come before or after the canary's.
        while (reply := asking.receive())[:2] != CANARY[:2]:
            answers += 1
            assert reply[2] & 0x80
    counters = eventually(lambda: settled(gate))
    assert counters["received"] == 2 * len(packets)
    dropped = counters["dropped_runt"] + counters["dropped_response"]
    canaries = len(packets)
    for _ in range(len(packets) - dropped - answers):
        assert asking.receive()[2] & 0x80
    asking.ask(query())
    assert asking.is_silent()
    assert counters["upstream_wrong_question"] == 0
    assert counters["passed"] >= canaries
    assert counters["replies_unsent"] == counters["undecided"] == 0


def settled(gate: GateUnderTest) -> dict[str, int] | None:
    """Return the counters once nothing is in flight."""
    counters = gate.counters()
    return counters if counters["in_flight"] == 0 else None


def send_as_answers(gate: GateUnderTest, resolver: Resolver, packets: list[bytes]) -> None:
    """Let the upstream send each, raw and ever closer to a true answer, before the true one."""
    asking = gate.asking()
    question_end = 12 + len("free.example") + 2 + 4
    sent = 0
    for packet in packets:
        asked = query("free.example", flags=0)  # RD=0: past the cache

        def respond(wire: bytes, packet: bytes = packet) -> Iterator[bytes]:
            nonlocal sent
            forged = [
                packet,
                wire[:2] + packet[2:],
                wire[:2] + b"\x81\x80" + packet[4:],
                wire[:2] + b"\x81\x80" + packet[4:12] + wire[12 : question_end - 1],
            ]
            sent += len(forged) + 1
            yield from forged
            yield from resolver.honest(wire)

        resolver.respond = respond
        reply = asking.ask(asked)
        assert reply[:2] == asked[:2]
        assert reply[2] & 0x80
    assert asking.is_silent()
    counters = eventually(lambda: settled(gate))
    assert counters["relayed"] == len(packets)
    eventually(
        lambda: (
            (counted := gate.counters())["upstream_received"] - counted["upstream_probed"] == sent
        )
    )


def send_as_tails(gate: GateUnderTest, resolver: Resolver, packets: list[bytes]) -> None:
    """Put each behind the header and question of a true answer: it is read, or waited past."""
    asking = gate.asking()
    asked = query("free.example", edns=None, flags=0)
    for packet in packets:
        resolver.respond = lambda wire, packet=packet: [
            wire[:2] + b"\x80\x80" + wire[4:6] + packet[6:12].ljust(6, b"\0") + wire[12:] + packet,
            *resolver.honest(wire),
        ]
        reply = asking.ask(asked)
        assert reply[:2] == asked[:2]
        assert reply[2] & 0x80
    assert asking.is_silent()
    counters = eventually(lambda: settled(gate))
    answered = ("relayed", "chain_broken", "blocked_chain", "blocked_address")
    assert sum(counters[name] for name in answered) == len(packets)


ROLES = pytest.mark.parametrize("send", [send_as_queries, send_as_answers, send_as_tails])


@ROLES
def test_every_packet_of_the_slice_is_answered_or_counted(gate, resolver, send):
    send(gate, resolver, slice_of_packets())


@ROLES
def test_every_packet_of_the_corpus_is_answered_or_counted(gate, resolver, send, data_dir):
    send(gate, resolver, corpus(data_dir))


@ROLES
def test_every_captured_packet_is_answered_or_counted(gate, resolver, send, data_dir):
    send(gate, resolver, captured(data_dir))


def test_packets_cut_and_made_to_look_like_queries_are_answered_or_counted(gate, resolver):
    send_as_queries(gate, resolver, list(mutants(slice_of_packets())))


def test_every_cut_and_every_flipped_bit_of_a_query_is_answered_or_counted(gate, resolver):
    wire = query(dnssec_ok=True)
    cuts = [wire[:length] for length in range(len(wire))]
    flips = [
        wire[:at] + bytes([wire[at] ^ 1 << bit]) + wire[at + 1 :]
        for at in range(2, len(wire))
        for bit in range(8)
    ]
    send_as_queries(gate, resolver, cuts + flips)


def test_a_flood_of_garbage_does_not_stop_answers(gate, resolver):
    asking, flood = gate.asking(), gate.asking()
    packets = slice_of_packets()
    for number in range(200):
        for packet in packets:
            flood.send(packet)
        reply = DNSRecord.parse(asking.ask(query(qid=number)))
        assert (reply.header.id, reply.header.rcode) == (number, 3)
    assert gate.counters()["blocked_nxdomain"] >= 200


def test_a_query_from_port_zero_harms_nobody(gate):
    """An answer to it cannot be sent; the answers behind it in the batch still are."""
    socket = pytest.importorskip("socket")
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("only root can send from port 0")
    asking, wire = gate.asking(), query()
    with raw:
        for _ in range(3):
            header = struct.pack("!4H", 0, gate.place[1], 8 + len(wire), 0)
            raw.sendto(header + wire, ("127.0.0.1", 0))
            assert DNSRecord.parse(asking.ask(wire)).header.rcode == 3
    eventually(lambda: gate.counters()["replies_unsent"] == 3)
    assert gate.counters()["blocked_nxdomain"] == 6
