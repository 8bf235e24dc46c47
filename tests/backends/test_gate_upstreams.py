"""Several resolvers behind the gate: which is asked, what happens when one dies, and how."""

import struct
import threading

import pytest
from dnslib import QTYPE, RR, A, DNSRecord

from tests.backends.gate_client import query
from tests.backends.gate_resolver import Resolver
from tests.waiting import WAIT_SECONDS, eventually

SERVFAIL, FORMERR = 2, 1


@pytest.fixture
def second():
    made = Resolver()
    yield made
    made.close()


@pytest.fixture
def two(start_gate, resolver, second):
    """Start a gate with the resolver and a second one."""
    return lambda **settings: start_gate(upstreams=[resolver.place, second.place], **settings)


def silent(_):
    return []


def has_opt(wire):
    return wire[10:12] != b"\0\0"


def rcode(reply):
    return reply[3] & 0x0F


def is_asked_again(asking, resolver):
    """Tell whether the resolver gets a new question, which is answered in any case."""
    before = len(resolver.seen)
    assert rcode(asking.ask(query(f"{before}-{next(NUMBERS)}.example"))) == 0
    return len(resolver.seen) > before


NUMBERS = iter(range(1_000_000))


def place_text(resolver):
    """Return how a gate's report names a resolver."""
    return "{} port {}".format(*resolver.place)


def test_only_the_first_that_lives_is_asked(two, resolver, second):
    asking = two().asking()
    for number in range(20):
        assert rcode(asking.ask(query(f"{number}.example"))) == 0
    assert (len(resolver.seen), len(second.seen)) == (20, 0)


@pytest.mark.parametrize("is_stream", [False, True])
def test_one_that_refuses_loses_no_query_and_is_asked_again_once_it_lives(
    two, resolver, second, is_stream
):
    gate = two(upstream_try_ms=600)  # a probe that was refused is given up then
    resolver.die()
    asking = gate.streaming() if is_stream else gate.asking()
    for qid in range(60):
        asking.send(query(f"{qid}.example", qid=qid))
    replies = [asking.receive() for _ in range(60)]
    assert {struct.unpack("!H", reply[:2])[0] for reply in replies} == set(range(60))
    assert {rcode(reply) for reply in replies} == {0}
    assert len(second.seen) + len(second.seen_tcp) == 60
    counters = gate.counters()
    assert (counters["upstream_unsent"], counters["upstream_none"]) == (0, 0)
    resolver.live()
    eventually(lambda: is_asked_again(gate.asking(), resolver))


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_a_silent_one_does_not_answer_is_asked_elsewhere(two, resolver, second, is_stream):
    def tries():
        return [each.seen + each.seen_tcp for each in (resolver, second)]

    gate = two(upstream_try_ms=250)
    resolver.respond, resolver.is_alive = silent, False
    asking = gate.streaming() if is_stream else gate.asking()
    assert rcode(asking.ask(query("free.example"))) == 0
    assert all(tries())
    # A second one that halts is not waited for either: the first is asked again, and it.
    eventually(lambda: gate.counters()["upstream_retried"] == sum(map(len, tries())) - 1)
    eventually(lambda: gate.status().upstreams_down == (place_text(resolver),))
    asked = len(resolver.seen)
    assert rcode(gate.asking().ask(query("other.example"))) == 0
    assert len(resolver.seen) == asked  # it is known to be down
    resolver.respond, resolver.is_alive = resolver.honest, True
    eventually(lambda: is_asked_again(gate.asking(), resolver))


@pytest.mark.parametrize("is_stream", [False, True])
def test_when_all_are_down_what_is_cached_is_served_and_the_rest_fails_at_once(
    two, resolver, second, is_stream
):
    def brief(wire):
        asked = DNSRecord.parse(wire)
        reply = asked.reply(ra=1, aa=0)
        reply.add_answer(RR(asked.q.qname, QTYPE.A, ttl=1, rdata=A("192.0.2.1")))
        yield reply.pack()

    def is_stale():
        reply = DNSRecord.parse(asking.ask(query("cached.example")))
        assert [str(record.rdata) for record in reply.rr] == ["192.0.2.1"]
        return [option.data for record in reply.ar for option in record.rdata] == [b"\0\3"]

    gate = two()
    resolver.respond = brief
    asking = gate.streaming() if is_stream else gate.asking()
    asking.ask(query("cached.example"))
    resolver.die()
    second.die()
    for qid in range(80):
        asking.send(query(f"{qid}.example", qid=qid))
    assert {rcode(asking.receive()) for _ in range(80)} == {SERVFAIL}
    eventually(is_stale)
    assert gate.counters()["cache_stale"] == 1


def test_what_one_has_no_room_for_goes_to_the_next(two, resolver, second):
    gate = two(inflight_max=128)
    may_answer = threading.Event()

    def held(wire):
        assert may_answer.wait(WAIT_SECONDS)
        return resolver.honest(wire)

    resolver.respond = held
    asking = gate.asking()
    for qid in range(70):
        asking.send(query(f"{qid}.example", qid=qid))
    spilled = {struct.unpack("!H", asking.receive()[:2])[0] for _ in range(6)}
    assert min(spilled) >= 62  # a probe may take a place
    may_answer.set()
    for _ in range(64):
        assert rcode(asking.receive()) == 0
    assert gate.counters()["evicted"] == 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_one_that_refuses_edns_is_asked_without_and_so_from_then_on(
    start_gate, resolver, is_stream
):
    def old(wire):
        if has_opt(wire):
            return [wire[:2] + b"\x81\x81" + bytes(8)]
        return resolver.honest(wire)

    gate = start_gate()
    resolver.respond = old
    asking = gate.streaming() if is_stream else gate.asking()
    for name in ("one.example", "two.example"):
        reply = DNSRecord.parse(asking.ask(query(name)))
        assert (reply.header.rcode, len(reply.rr), len(reply.ar)) == (0, 1, 1)
    assert [has_opt(wire) for wire in resolver.seen + resolver.seen_tcp] == [True, False, False]
    counters = gate.counters()
    assert (counters["upstream_plain"], counters["upstream_answered"]) == (1, 2)


def test_an_error_with_edns_is_an_answer(start_gate, resolver):
    resolver.respond = lambda wire: [wire[:3] + b"\x81" + wire[4:]]
    gate = start_gate()
    resolver.respond = lambda wire: [wire[:2] + b"\x81\x81" + wire[4:]]
    assert rcode(gate.asking().ask(query("free.example"))) == FORMERR
    assert gate.counters()["upstream_plain"] == 0


def test_ids_and_source_ports_are_spread(start_gate, resolver):
    asking = start_gate().asking()
    for number in range(200):
        asking.ask(query(f"{number}.example", qid=1))
    ids = [struct.unpack("!H", wire[:2])[0] for wire in resolver.seen]
    assert len(set(ids)) > 190
    assert max(ids) - min(ids) > 1 << 15
    assert len({port for _, port in resolver.sources}) > 24  # of 32 sockets
