"""Both loops of a gate in this process; the test itself is the upstream and every client."""

import socket
import threading

from enforcer._native.gate import Gate, GateOptions
from enforcer.backends.gate_stats import GateStats, map_counts
from tests.backends.gate_client import framed
from tests.backends.gate_resolver import Resolver
from tests.ports import bound_pair
from tests.waiting import NEVER_MS, WAIT_SECONDS

ROOT_PROBE = b"\0\0\2\0\1"


def bound(kind):
    made = socket.socket(socket.AF_INET, kind)
    made.settimeout(WAIT_SECONDS)
    made.bind(("127.0.0.1", 0))
    return made


def honest(wire):
    (reply,) = Resolver.honest(wire)
    return reply


class Upstream:
    """UDP and TCP at one address; what comes is the test's to answer."""

    def __init__(self, opened, sockets):
        self._opened = opened
        self.probes_answered = 0
        self.udp, self.tcp = map(opened.enter_context, bound_pair())
        for each in (self.udp, self.tcp):
            each.settimeout(WAIT_SECONDS)
        self.tcp.listen(256)
        self.each_of_ours = [opened.enter_context(bound(socket.SOCK_DGRAM)) for _ in range(sockets)]
        for each in self.each_of_ours:
            each.connect(self.udp.getsockname())
        self.ours = self.each_of_ours[0]

    def query(self):
        """Return the next query and where it came from; probes are answered on the way."""
        while True:
            wire, place = self.udp.recvfrom(2_048)
            if wire[12:17] != ROOT_PROBE:
                return wire, place
            self._answer_probe(wire, place)

    def answer_probe(self):
        """Answer the next datagram, which is a probe."""
        wire, place = self.udp.recvfrom(2_048)
        assert wire[12:17] == ROOT_PROBE
        self._answer_probe(wire, place)

    def _answer_probe(self, wire, place):
        self.probes_answered += 1
        self.udp.sendto(honest(wire), place)

    def stream(self):
        """Return the next stream that the gate opens."""
        made, _ = self.tcp.accept()
        return Carried(self._opened.enter_context(made))

    def has_no_stream(self):
        """Tell whether the gate has opened no other; what it was asked must be answered."""
        self.tcp.setblocking(False)
        try:
            self.tcp.accept()[0].close()
        except BlockingIOError:
            return True
        finally:
            self.tcp.settimeout(WAIT_SECONDS)
        return False


class Carried:
    """Messages over a stream, whoever has opened it."""

    def __init__(self, carrier):
        self.carrier = carrier
        carrier.settimeout(WAIT_SECONDS)

    def send(self, *wires):
        self.carrier.sendall(framed(*wires))

    def receive(self):
        """Return the next message, or b"" at the end."""
        length = self._exactly(2)
        return self._exactly(int.from_bytes(length)) if length else b""

    def _exactly(self, count):
        octets = b""
        while len(octets) < count and (more := self.carrier.recv(count - len(octets))):
            octets += more
        return octets

    def ask(self, *wires):
        self.send(*wires)
        return self.receive()


class World:
    """A gate with its threads, counted; it gives up nothing unless a test says when."""

    def __init__(self, opened, upstreams=1, sockets=1, **options):
        self.upstreams = [Upstream(opened, sockets) for _ in range(upstreams)]
        self.served = opened.enter_context(bound(socket.SOCK_DGRAM))
        self.listening = opened.enter_context(bound(socket.SOCK_STREAM))
        self.listening.listen(64)
        self.stats = GateStats.create()
        opened.callback(self.stats.close)
        self.gate = Gate(
            [self.served.fileno()],
            [self.listening.fileno()],
            [[ours.fileno() for ours in each.each_of_ours] for each in self.upstreams],
            GateOptions(**{"drain_ms": 0, "timeout_ms": NEVER_MS, "try_ms": NEVER_MS} | options),
            map_counts(self.stats.fd),
            self.stats.region_of(0),
        )
        self._opened = opened

    def start(self, *loops):
        """Run both loops, or what is given in their place."""
        for loop in loops or (self.gate.run_datagrams, self.gate.run_streams):
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
        return Carried(self._opened.enter_context(made))

    def count(self, name):
        return self.stats.counters()[name]
