"""The loop by itself, in this process: what it does with tables while it works."""

import mmap
import socket
import threading
import time
from itertools import pairwise

import pytest

from enforcer._native.gate import Gate, GateOptions
from enforcer._native.probe import body_sha256
from enforcer.backends.gate_messages import sealed_copy
from enforcer.backends.gate_stats import GateStats, map_counts
from enforcer.errors import InputError, IntegrityError
from tests.backends.gate_client import query
from tests.backends.gate_tables import compiled, order
from tests.ports import HeldPort
from tests.tables import compile_bytes, compile_overlay_bytes
from tests.waiting import WAIT_SECONDS, eventually

ROUNDS, QUEUED, SWAPS = 5, 5_000, 200


def udp():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(WAIT_SECONDS)
    return made


@pytest.fixture
def sockets():
    """A client's socket of the gate, an upstream socket, and a client before it."""
    served, upstream, client = udp(), udp(), udp()
    upstream.connect(upstream.getsockname())
    client.connect(served.getsockname())
    with served, upstream, client:
        yield served, upstream, client


@pytest.fixture
def stats():
    made = GateStats.create()
    yield made
    made.close()


@pytest.fixture
def gate_on(stats):
    """Make a gate on two sockets, with small bounds."""

    def make(served, upstream, **bounds):
        options = GateOptions(**{"inflight_max": 64, "timeout_ms": 1_000, "drain_ms": 0} | bounds)
        counts = map_counts(stats.fd)
        return Gate(
            [served.fileno()], [], [[upstream.fileno()]], options, counts, stats.region_of(0)
        )

    return make


def mapped(octets):
    fd = sealed_copy(octets, "test")
    with open(fd, "rb") as file:
        return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)


@pytest.mark.parametrize("_", range(ROUNDS))
def test_a_table_is_let_go_when_no_query_is_judged_by_it_and_not_before(
    sockets, gate_on, stats, tmp_path, _
):
    """Each is unmapped as soon as it is let go: reading it once more would end this process."""
    served, upstream, client = sockets
    served.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    octets = [compiled(tmp_path / "t", order(index)).read_bytes() for index in (7, 8)]
    tables = [mapped(octets[number % 2]) for number in range(SWAPS)]
    gate = gate_on(served, upstream)
    slots = stats.slots([7, 8])
    gate.swap(tables[0], order_slots=slots)
    wire = query()
    for _ in range(QUEUED):  # what keeps the loop judging while tables come and go
        client.send(wire)
    loop = threading.Thread(target=gate.run_datagrams)
    loop.start()
    until = time.monotonic() + WAIT_SECONDS
    while stats.counters()["received"] == 0 and time.monotonic() < until:
        time.sleep(0)  # gives the loop the GIL that it needs to begin
    for before, following in pairwise(tables):
        gate.swap(following, order_slots=slots)
        before.close()  # BufferError, were it not let go
    gate.stop()
    loop.join(WAIT_SECONDS)
    counters = stats.counters()
    counted = sum(each["blocked_nxdomain"] for each in stats.order_counts().values())
    assert counted == counters["received"] == counters["blocked_nxdomain"] > 0
    with pytest.raises(BufferError):
        tables[-1].close()


def test_a_broken_table_leaves_the_one_before_in_use(sockets, gate_on, tmp_path):
    served, upstream, client = sockets
    octets = compiled(tmp_path / "t", order()).read_bytes()
    gate = gate_on(served, upstream)
    gate.swap(octets)
    for broken in (b"", octets[:-1], octets[:512], bytes(len(octets))):
        with pytest.raises(IntegrityError, match="structure is broken"):
            gate.swap(broken)
    loop = threading.Thread(target=gate.run_datagrams)
    loop.start()
    client.send(query())
    assert client.recv(1_232)[3] & 0x0F == 3
    gate.stop()
    loop.join(WAIT_SECONDS)


@pytest.mark.parametrize(
    "bounds",
    [
        {"inflight_max": 63},
        {"inflight_max": 1 << 21},
        {"timeout_ms": 0},
        {"page4": b"192"},
        {"cache_octets_max": 5},
        {"responses_per_second_max": 1 << 21},
        {"tcp_connections_max": 0},
        {"dns64_prefixes": ("2001:db8::/33",)},
    ],
)
def test_bounds_that_it_cannot_keep_are_refused(sockets, gate_on, bounds):
    with pytest.raises(InputError):
        gate_on(*sockets[:2], **bounds)


def test_a_descriptor_that_is_no_socket_to_wait_for_is_an_error(sockets, gate_on, tmp_path):
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="not permitted"):
        gate_on(file, sockets[1])


def names_row(index, names):
    row, _ = order(index, names)
    return row, names


def test_overlays_lie_over_the_base_in_use_and_over_no_other(sockets, gate_on):
    served, upstream, client = sockets
    one, two = names_row(7, b"subtree one.example\n"), names_row(8, b"subtree two.example\n")
    octets = compile_bytes([one])
    base, other = mapped(octets), mapped(compile_bytes([two]))
    over = compile_overlay_bytes(body_sha256(octets), [one[0], two[0]], [two])
    alone = compile_overlay_bytes(body_sha256(octets), [two[0]], [two])
    gate = gate_on(served, upstream)

    def blocked():
        found = []
        for name in ("one.example", "two.example"):
            client.send(query(name, flags=0))
            found.append(client.recv(1_232)[3] & 0x0F == 3)
        return found

    loop = threading.Thread(target=gate.run_datagrams)
    loop.start()
    gate.swap(base)
    seen = [blocked()]
    for overlay in (over, alone, None, over):
        gate.swap(base, overlay)
        seen.append(blocked())
    with pytest.raises(IntegrityError, match="another table"):
        gate.swap(other, over)
    with pytest.raises(IntegrityError, match="structure is broken"):
        gate.swap(base, over[:-1])
    seen.append(blocked())
    gate.swap(other)
    seen.append(blocked())
    gate.swap(base, alone)
    seen.append(blocked())
    gate.stop()
    loop.join(WAIT_SECONDS)
    assert seen == [
        [True, False], [True, True], [False, True], [True, False], [True, True], [True, True],
        [False, True], [False, True],
    ]  # fmt: skip


def test_an_upstream_that_refuses_a_whole_batch_costs_no_query(stats):
    """The kernel tells of a refusal at the next packet, in the middle of what is being sent."""
    served, client, refusing, living = udp(), udp(), udp(), udp()
    client.connect(served.getsockname())
    with served, client, HeldPort() as nobody, refusing, living:
        refusing.connect(nobody.place)
        living.connect(living.getsockname())  # what it is asked comes back, as a query: dropped
        gate = Gate(
            [served.fileno()],
            [],
            [[refusing.fileno()], [living.fileno()]],
            GateOptions(inflight_max=256, timeout_ms=600_000, try_ms=600_000, drain_ms=0),
            map_counts(stats.fd),
            stats.region_of(0),
        )
        for qid in range(60):
            client.send(query(f"{qid}.example", qid=qid))
        loop = threading.Thread(target=gate.run_datagrams)
        loop.start()
        eventually(lambda: stats.counters()["upstream_retried"] == 60)
        counters = stats.counters()
        gate.stop()
        loop.join(WAIT_SECONDS)
    assert (counters["in_flight"], counters["upstream_down"]) == (60, 1)
    assert (counters["upstream_unsent"], counters["upstream_none"]) == (0, 0)
