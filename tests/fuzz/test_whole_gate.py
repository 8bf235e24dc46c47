"""Hostile octets through the whole gate, from both sides and over both transports.

Whatever comes in, the gate goes on answering, its counters add up, and no client is given a
blocked address or led to a blocked name.
"""

from contextlib import suppress
from itertools import islice

import dns.message
import dns.rcode
import pytest

from enforcer._native import packets
from tests.backends.gate_tables import order
from tests.conformance.client import Client, Stream, answers, question
from tests.conformance.upstream import Upstream, ordinary
from tests.conformance.world import gate_before
from tests.fuzz.mutate import mutants
from tests.fuzz.targets import ALL, TARGETS, harmless
from tests.waiting import eventually

DATAGRAMS = 2_000
MESSAGES_A_STREAM = 25
STREAMS = 40
FORGED = 2_000


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A gate and the resolver behind it."""
    with (
        Upstream() as upstream,
        gate_before(
            tmp_path_factory.mktemp("whole"),
            upstream.place,
            orders=[order(1, TARGETS)],
            cache_bytes_max=0,  # else it is asked once for each name
        ) as gate,
    ):
        yield gate, upstream


@pytest.fixture
def gate(both):
    gate, upstream = both
    upstream.otherwise = ordinary
    yield gate
    assert gate.process.poll() is None
    assert eventually(lambda: gate.counters()["in_flight"] == 0)  # and the sums hold
    assert gate.counters()["workers_started"] == 1
    assert Client(gate.place).ask("www.blocked.example").rcode() == dns.rcode.NXDOMAIN


def test_datagrams(gate):
    client = Client(gate.place)
    corpus = ALL["query"][1]()
    with client.socket() as udp:
        for number, wire in enumerate(islice(mutants(3, corpus), DATAGRAMS)):
            canary = question("canary.example")
            canary.id = number & 0xFFFF
            udp.send(wire[:60_000])
            udp.send(canary.to_wire())
            while (reply := udp.recv(65_535))[:2] != canary.to_wire()[:2]:
                assert reply[2] & 0x80


@pytest.mark.parametrize("seed", range(STREAMS))
def test_streams(gate, seed):
    """What is malformed may end its connection; nobody else's."""
    wires = list(islice(mutants(seed, ALL["query"][1]()), MESSAGES_A_STREAM))
    with Stream(gate.place) as stream, suppress(EOFError, ConnectionError):
        canary = question("canary.example").to_wire()
        stream.send(*wires, canary)
        while stream.receive()[:2] != canary[:2]:
            pass
    assert answers(Client(gate.place).ask("canary.example", tcp=True))


@pytest.mark.parametrize("tcp", [False, True])
def test_answers(both, gate, tcp):
    upstream = both[1]
    client = Client(gate.place)
    good = [wire for wire in ALL["response"][1]() if asked_by(wire) is not None]
    assert len(good) > 30
    for wire in islice(mutants(4, good), FORGED):
        if (asked := asked_by(wire)) is None:
            continue

        def script(query, is_tcp, wire=wire):
            head = query.to_wire()[:2]
            yield head + wire[2:]
            yield dns.message.make_response(query)

        upstream.otherwise = script
        harmless(client.exchange(asked, tcp=tcp), is_block=True)


def asked_by(wire: bytes) -> bytes | None:
    """Return the query whose answer `wire` may be; None if it is nobody's that passes."""
    if len(wire) < 17 or b"\0" not in wire[12:]:
        return None
    end = wire.index(b"\0", 12) + 5
    asked = b"\x12\x34\1\0\0\1" + bytes(6) + wire[12:end]
    reading, fields = packets.read(asked)
    if reading != "QUERY" or b"\7blocked\7example\0" in fields["name"]:
        return None
    return asked
