"""Streams to upstreams: single ones end, dead ones are left, idle ones are given back."""

import time

import pytest

from tests.backends.gate_client import query
from tests.native.loops import World, honest

NOERROR, SERVFAIL = 0, 2


def rcode(reply):
    return reply[3] & 0x0F


def started(opened, **options):
    """Return a world that serves streams alone: nobody probes an upstream, and none is given up."""
    world = World(opened, **options)
    return world.start(world.gate.run_streams)


def test_a_stream_for_one_query_that_nobody_answered_is_closed(opened):
    world = started(opened, proxy_to_upstream=True, timeout_ms=30)
    client, upstream = world.stream(), world.upstreams[0]
    for qid in range(3):
        client.send(query("free.example", qid=qid))
        stream = upstream.stream()
        assert rcode(client.receive()) == SERVFAIL
        while stream.carrier.recv(2_048):  # the query, then the end
            pass


def test_a_stream_for_one_query_that_was_asked_elsewhere_is_closed(opened):
    world = started(opened, upstreams=2, proxy_to_upstream=True, try_ms=30)
    client, (first, second) = world.stream(), world.upstreams
    client.send(query("free.example"))
    silent = first.stream(), second.stream()
    last = first.stream()  # there is no fourth try
    for each in silent:
        while each.carrier.recv(2_048):
            pass
    head_octets = 28
    wire = last.carrier.recv(head_octets) and last.receive()
    last.send(honest(wire))
    assert rcode(client.receive()) == NOERROR
    assert world.count("upstream_failed_over") == world.count("upstream_retried") == 2


def test_where_no_query_can_wait_no_stream_is_opened_for_it(opened):
    room = 64
    world = started(opened, proxy_to_upstream=True, inflight_max=room)
    client, upstream = world.stream(), world.upstreams[0]
    client.send(*(query(f"{qid}.example", qid=qid) for qid in range(room + 20)))
    assert {rcode(client.receive()) for _ in range(20)} == {SERVFAIL}
    for _ in range(room):
        upstream.stream()
    assert upstream.has_no_stream()


@pytest.fixture
def silenced(opened):
    """A world whose upstream has answered one query over a stream, and says nothing any more."""

    def make(**options):
        world = started(opened, **options)
        client, upstream = world.stream(), world.upstreams[0]
        client.send(query("first.example"))
        stream = upstream.stream()
        stream.send(honest(stream.receive()))
        assert rcode(client.receive()) == NOERROR
        return world, client, stream

    return make


def test_a_stream_that_brought_nothing_while_a_query_waited_in_vain_is_left(silenced):
    world, client, dead = silenced(timeout_ms=500, try_ms=100)
    assert rcode(client.ask(query("second.example"))) == SERVFAIL
    client.send(query("third.example"))
    stream = world.upstreams[0].stream()
    stream.send(honest(stream.receive()))
    assert rcode(client.receive()) == NOERROR
    assert dead.receive() != b"" == dead.receive()


def test_a_stream_that_another_upstream_had_to_stand_in_for_is_left_too(opened):
    world = started(opened, upstreams=2, try_ms=400)
    client, (first, second) = world.stream(), world.upstreams
    client.send(query("first.example"))
    dead, other = first.stream(), second.stream()
    other.send(honest(other.receive()))
    assert rcode(client.receive()) == NOERROR
    client.send(query("second.example"))
    alive = first.stream()
    alive.send(honest(alive.receive()))
    assert rcode(client.receive()) == NOERROR
    assert dead.receive() != b"" == dead.receive()


def test_one_that_brings_something_is_only_slow(silenced):
    """What comes may be anything: the peer is there."""
    world, client, slow = silenced(timeout_ms=700)
    client.send(query("second.example"))
    slow.receive()
    slow.send(honest(query("other.example", qid=1)))
    assert rcode(client.receive()) == SERVFAIL
    client.send(query("third.example"))
    slow.send(honest(slow.receive()))
    assert rcode(client.receive()) == NOERROR
    assert world.upstreams[0].has_no_stream()


def test_what_waits_for_a_dead_stream_is_asked_over_another(silenced):
    world, client, dead = silenced(timeout_ms=1_500)
    upstream = world.upstreams[0]
    client.send(query("0.example"))
    assert b"\0010" in dead.receive()
    time.sleep(0.8)  # what follows has so long from the first one's end to its own
    beside = world.stream()
    others = []
    for number in range(1, 4):  # as many as there may be, each with something to do
        beside.send(query(f"{number}.example"))
        others.append(upstream.stream())
        others[-1].receive()
    late = world.stream()
    late.send(query("late.example"))
    assert b"\4late" in dead.receive()
    for each in others:
        each.send(b"\0")  # they live
    assert rcode(client.receive()) == SERVFAIL
    moved = upstream.stream()
    moved.send(honest(moved.receive()))
    assert rcode(late.receive()) == NOERROR


def test_a_stream_over_which_nothing_goes_is_given_back(silenced):
    world, client, stream = silenced(upstream_idle_ms=50)
    assert stream.receive() == b""
    client.send(query("second.example"))
    again = world.upstreams[0].stream()
    again.send(honest(again.receive()))
    assert rcode(client.receive()) == NOERROR


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_query_is_given_up_when_its_time_is_over_and_not_a_try_later(opened, is_stream):
    world = World(opened, timeout_ms=200).start()
    if is_stream:
        assert rcode(world.stream().ask(query("free.example"))) == SERVFAIL
    else:
        client = world.client()
        client.send(query("free.example"))
        assert rcode(client.recv(2_048)) == SERVFAIL
    assert world.count("timed_out") == 1
