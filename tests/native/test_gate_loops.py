"""Both loops in this process, where the test itself is the upstream and every client."""

import os
import resource
import socket
import time
from contextlib import contextmanager

import pytest

from tests.backends.gate_client import query
from tests.backends.gate_tables import compiled, order
from tests.native.loops import ROOT_PROBE, Carried, World, honest
from tests.waiting import eventually

ENFORCE, BYPASS = 1, 3
NXDOMAIN = 3


def test_a_query_let_pass_by_the_bypass_is_judged_when_its_answer_comes_after_it(opened, tmp_path):
    """What one mode let pass is not proven in another, and least of all for those to come."""
    world = World(opened).start()
    world.gate.swap(compiled(tmp_path / "t", order()).read_bytes())
    client, upstream = world.client(), world.upstreams[0]
    world.gate.set_mode(BYPASS)
    client.send(query())
    wire, place = upstream.query()
    world.gate.set_mode(ENFORCE)
    upstream.udp.sendto(honest(wire), place)
    assert client.recv(2_048)[3] & 0x0F == NXDOMAIN
    client.send(query())
    assert client.recv(2_048)[3] & 0x0F == NXDOMAIN


def test_a_query_that_makes_an_upstream_refuse_edns_takes_it_from_no_other(opened):
    """A client may know names and types that a resolver refuses in any form."""
    world = World(opened).start()
    client, upstream = world.client(), world.upstreams[0]
    client.send(query("odd.example", 249))
    for has_opt in (1, 0):
        wire, place = upstream.query()
        assert wire[11] == has_opt
        refusal = wire[:2] + b"\x81\x81\0\1\0\0\0\0\0\0" + wire[12:29]
        upstream.udp.sendto(refusal, place)
    assert client.recv(2_048)[3] & 0x0F == 1
    client.send(query("other.example", dnssec_ok=True))
    wire, place = upstream.query()
    assert wire[11] == 1


def test_an_upstream_that_nothing_can_be_sent_to_gives_way_to_the_next(opened):
    world = World(opened, upstreams=2)
    first, second = world.upstreams
    client = world.client()
    first.ours.shutdown(socket.SHUT_WR)  # the kernel refuses whatever is sent: EPIPE
    world.start()
    eventually(lambda: world.gate.state().upstreams_down == (0,))
    client.send(query("free.example"))
    wire, place = second.query()
    second.udp.sendto(honest(wire), place)
    assert client.recv(2_048)[3] & 0x0F == 0


@pytest.mark.parametrize("is_draining", [False, True])
def test_a_probe_that_is_waited_for_costs_nothing(opened, is_draining):
    """A second in which nothing happens takes next to none of the processor's time."""
    world = World(opened, drain_ms=2_000 * is_draining).start()
    upstream = world.upstreams[0]
    world.client().send(query("free.example"))
    seen = {upstream.udp.recv(2_048)[12:17] for _ in range(2)}
    assert ROOT_PROBE in seen
    if is_draining:
        world.gate.stop()
    time.sleep(1.1)  # until the next probe would be due
    began = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("octets", [128 << 10, 512 << 10])
def test_the_smallest_cache_is_enough_for_both_loops(opened, octets):
    World(opened, cache_octets_max=octets)


@contextmanager
def no_descriptor_left():
    """Have this process open nothing more for a while."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_a_descriptor_nothing_spins_and_who_waits_is_served_when_there_is_one(opened):
    world = World(opened).start()
    client, upstream = world.client(), world.upstreams[0]
    made = opened.enter_context(socket.socket())
    with no_descriptor_left():
        made.connect(world.listening.getsockname())
        waiting = Carried(made)
        waiting.send(query("free.example"))
        eventually(lambda: world.count("tcp_accept_paused"))
        paused = world.count("tcp_accept_paused")
        time.sleep(0.6)
        assert world.count("tcp_accept_paused") - paused < 20
        client.send(query("other.example"))
        wire, place = upstream.query()
        upstream.udp.sendto(honest(wire), place)
        assert client.recv(2_048)[3] & 0x0F == 0
    stream = upstream.stream()
    stream.send(honest(stream.receive()))
    assert waiting.receive()[3] & 0x0F == 0
    assert world.count("tcp_connections") == 1
