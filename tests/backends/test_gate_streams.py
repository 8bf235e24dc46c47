"""Queries over TCP (RFC 7766): in any order, in any pieces, within bounds."""

import socket
import struct
import threading

import pytest
from dnslib import DNSRecord

from tests.backends.gate_client import framed, query
from tests.backends.gate_tables import compiled, order
from tests.waiting import WAIT_SECONDS, eventually

NXDOMAIN = 3
PER_CLIENT_MAX = 100


def ids(replies):
    return {struct.unpack("!H", reply[:2])[0] for reply in replies}


@pytest.fixture
def gate(start_gate, tmp_path):
    gate = start_gate()
    gate.load(compiled(tmp_path / "t", order()))
    return gate


def test_many_queries_at_once_are_all_answered(gate):
    stream = gate.streaming()
    names = ["www.blocked.example", "free.example", "a.free.example"]
    stream.send(*(query(names[qid % 3], qid=qid) for qid in range(1_500)))
    replies = [stream.receive() for _ in range(1_500)]
    assert ids(replies) == set(range(1_500))
    for reply in replies:
        qid = struct.unpack("!H", reply[:2])[0]
        assert reply[3] & 0x0F == (0 if qid % 3 else NXDOMAIN)
    assert gate.counters()["received"] == 1_500


def test_answers_come_as_they_are_ready(gate, resolver):
    may_answer = threading.Event()

    def respond(wire):
        if b"slow" in wire:
            assert may_answer.wait(WAIT_SECONDS)
        return resolver.honest(wire)

    resolver.respond = respond
    stream = gate.streaming()
    stream.send(query("slow.example", qid=1), query("fast.example", qid=2), query(qid=3))
    assert ids([stream.receive(), stream.receive()]) == {2, 3}
    may_answer.set()
    assert ids([stream.receive()]) == {1}


def test_a_query_in_single_octets_is_one(gate):
    stream = gate.streaming()
    for octet in framed(query("free.example"), query()):
        stream.socket.send(bytes([octet]))
    assert {stream.receive()[3] & 0x0F for _ in range(2)} == {0, NXDOMAIN}


def test_who_sends_no_more_still_gets_all_answers(gate, resolver):
    may_answer = threading.Event()

    def respond(wire):
        assert may_answer.wait(WAIT_SECONDS)
        return resolver.honest(wire)

    resolver.respond = respond
    stream = gate.streaming()
    # More than one stream may have waiting: some are read, and held back.
    stream.send(*(query(f"{qid}.example", qid=qid) for qid in range(150)))
    stream.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: gate.counters()["in_flight"] == 100)
    may_answer.set()
    assert ids(stream.receive() for _ in range(150)) == set(range(150))
    assert stream.receive() == b""


def test_one_that_idles_is_hung_up_on_and_one_that_waits_is_not(start_gate, resolver):
    gate = start_gate(tcp_idle_ms=1_000)
    may_answer = threading.Event()
    resolver.respond = lambda wire: [*resolver.honest(wire)] * may_answer.wait(WAIT_SECONDS)
    waiting = gate.streaming()
    waiting.send(query("free.example"))
    idle, slow = gate.streaming(), gate.streaming()
    slow.socket.sendall(framed(query())[:5])  # what never becomes a query is idle too
    assert idle.receive() == slow.receive() == b""
    may_answer.set()
    assert waiting.receive()[3] & 0x0F == 0
    assert gate.counters()["tcp_closed_idle"] == 2


def test_when_all_places_are_taken_the_idlest_gives_way_and_who_waits_does_not(
    start_gate, resolver
):
    gate = start_gate(tcp_connections_max=3)
    resolver.respond = lambda wire: [] if b"slow" in wire else resolver.honest(wire)
    streams = [gate.streaming() for _ in range(3)]
    for stream in streams:
        assert stream.ask(query("free.example"))[3] & 0x0F == 0
    assert gate.streaming().ask(query("free.example"))[3] & 0x0F == 0
    assert streams[0].receive() == b""
    for number in range(3):
        gate.streaming().send(query("slow.example"))
        eventually(lambda waiting=number + 1: gate.counters()["in_flight"] == waiting)
    assert gate.streaming().receive() == b""
    counters = gate.counters()
    assert (counters["tcp_closed_idle"], counters["tcp_refused_full"]) == (4, 1)


def test_one_address_has_so_many_and_others_have_theirs(gate):
    for _ in range(PER_CLIENT_MAX):
        gate.streaming(source="127.0.0.7")
    assert gate.streaming(source="127.0.0.7").receive() == b""
    assert gate.streaming(source="127.0.0.8").ask(query())[3] & 0x0F == NXDOMAIN
    assert gate.counters()["tcp_refused_full"] == 1


def test_one_that_does_not_read_holds_nobody_up_and_gets_everything_later(gate):
    count = 20_000
    slow = gate.streaming(receive_octets=4_096)
    octets = framed(*(query(qid=qid) for qid in range(count)))
    sending = threading.Thread(target=slow.socket.sendall, args=(octets,))
    sending.start()
    eventually(lambda: gate.counters()["received"] > 100)
    for qid in range(100):
        assert gate.streaming(source="127.0.0.8").ask(query(qid=qid))[3] & 0x0F == NXDOMAIN
    assert gate.counters()["received"] < count  # it is not read when it does not read
    assert ids(slow.receive() for _ in range(count)) == set(range(count))
    sending.join(WAIT_SECONDS)
    assert gate.counters()["received"] == count + 100


def test_what_is_no_query_ends_the_stream(gate):
    for octets in (framed(b"x"), framed(query(flags=0x8180)), b"\xff\xff" + bytes(8_192)):
        stream = gate.streaming()
        stream.socket.sendall(octets)
        assert stream.receive() == b""
    assert gate.counters()["tcp_malformed"] == 3


def test_an_answer_of_any_length_comes_whole(gate, resolver):
    def respond(wire):
        reply = DNSRecord.parse(next(iter(resolver.honest(wire))))
        for _ in range(2_000):
            reply.add_answer(reply.rr[0])
        return [reply.pack()]

    resolver.respond = respond
    reply = DNSRecord.parse(gate.streaming().ask(query("free.example")))
    assert (len(reply.rr), reply.header.tc) == (2_001, 0)
