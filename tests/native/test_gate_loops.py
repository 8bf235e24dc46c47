"""Both loops in this process, where the test itself is the upstream and every client."""

import socket
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from enforcer._native.gate import Gate, GateOptions
from enforcer.backends.gate_stats import GateStats, map_counts
from tests.backends.gate_world import (
    WAIT_SECONDS,
    Resolver,
    compiled,
    eventually,
    order,
    query,
)

ENFORCE, BYPASS = 1, 3
NXDOMAIN = 3
ROOT_PROBE = b"\0\0\2\0\1"


def bound(kind):
    made = socket.socket(socket.AF_INET, kind)
    made.settimeout(WAIT_SECONDS)
    made.bind(("127.0.0.1", 0))
    return made


def framed(wire):
    return struct.pack("!H", len(wire)) + wire


def honest(wire):
    (reply,) = Resolver.honest(wire)
    return reply


class Upstream:
    """UDP and TCP at one address; what comes is the test's to answer."""

    def __init__(self, opened):
        self.udp = opened.enter_context(bound(socket.SOCK_DGRAM))
        self.tcp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.tcp.settimeout(WAIT_SECONDS)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind(self.udp.getsockname())
        self.tcp.listen(64)
        self.ours = opened.enter_context(bound(socket.SOCK_DGRAM))
        self.ours.connect(self.udp.getsockname())

    def query(self):
        """Return the next query and where it came from; probes are answered on the way."""
        while True:
            wire, place = self.udp.recvfrom(2_048)
            if wire[12:17] != ROOT_PROBE:
                return wire, place
            self.udp.sendto(honest(wire), place)


class World:
    """A gate with its threads, counted."""

    def __init__(self, opened, upstreams=1, **options):
        self.upstreams = [Upstream(opened) for _ in range(upstreams)]
        self.served = opened.enter_context(bound(socket.SOCK_DGRAM))
        self.listening = opened.enter_context(bound(socket.SOCK_STREAM))
        self.listening.listen(64)
        self.stats = GateStats.create()
        opened.callback(self.stats.close)
        self.gate = Gate(
            [self.served.fileno()],
            [self.listening.fileno()],
            [[each.ours.fileno()] for each in self.upstreams],
            GateOptions(**{"drain_ms": 0} | options),
            map_counts(self.stats.fd),
            self.stats.region_of(0),
        )
        self._opened = opened

    def start(self):
        for loop in (self.gate.run_datagrams, self.gate.run_streams):
            thread = threading.Thread(target=loop)
            thread.start()
            self._opened.callback(thread.join, WAIT_SECONDS)
            self._opened.callback(self.gate.stop)
        return self

    def client(self):
        made = self._opened.enter_context(bound(socket.SOCK_DGRAM))
        made.connect(self.served.getsockname())
        return made

    def stream(self):
        made = socket.create_connection(self.listening.getsockname(), WAIT_SECONDS)
        return self._opened.enter_context(made)

    def count(self, name):
        return self.stats.counters()[name]


@pytest.fixture
def opened():
    with ExitStack() as stack:
        yield stack


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
    world = World(opened, upstreams=2, try_ms=50, timeout_ms=5_000).start()
    first, second = world.upstreams
    client = world.client()
    first.ours.shutdown(socket.SHUT_WR)  # the kernel refuses whatever is sent: EPIPE
    eventually(lambda: world.gate.state().upstreams_down == (0,))
    client.send(query("free.example"))
    wire, place = second.query()
    second.udp.sendto(honest(wire), place)
    assert client.recv(2_048)[3] & 0x0F == 0


@pytest.mark.parametrize("is_draining", [False, True])
def test_a_probe_that_is_waited_for_costs_nothing(opened, is_draining):
    """A second in which nothing happens takes next to none of the processor's time."""
    world = World(opened, try_ms=60_000, timeout_ms=60_000, drain_ms=2_000 * is_draining).start()
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
