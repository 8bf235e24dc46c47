"""A fleet on one machine: from an answered approval, or a stop, to every node.

A real `enforcer control`, one node with a gate that real queries probe, and FLEET_NODES light
nodes (the real `enforcer node` without a gate), all processes here; gRPC with mTLS, Redis over TLS
to the nodes. An order of a million made-up names is loaded. FLEET_ORDERS orders of 1 to 1,000 names
come and go, one at a time; before, a quarter as many while the node with the gate is alone, and a
quarter with none preferred. Light nodes have machines of their own elsewhere, and take nothing
there from the one that is measured: so for the main part they come last here (SCHED_IDLE, all
programs in one session; at nice 10, or in sessions of their own, fifty of them can take three
quarters of each processor). They still share one disk. Rows say which.
Processor time is told, too. In force at the gate: it answers a query for one of the names so. At a
light node: it has proven the entry, it is on its disk, its plan is made; it says itself when.
Octets are on the wire, with TLS's own. The floor is XADD to XREAD in the same Redis. Before the
answer counts as 0. FLEET_NAMES says how many names; FLEET_QUICK=1 is a look: 10 nodes, 20 orders.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from statistics import median, quantiles
from threading import Thread

import redis

from bench import Row, median_row
from bench._fleet import Fleet, Peak, cpu_seconds, memory_mb
from bench._moments import first
from bench.path import SETTLING_SECONDS
from enforcer.core.order import OrderRef
from tests.e2e.dns import query

IS_QUICK = os.environ.get("FLEET_QUICK") == "1"
NODES = int(os.environ.get("FLEET_NODES", "10" if IS_QUICK else "50"))
ORDERS = int(os.environ.get("FLEET_ORDERS", "20" if IS_QUICK else "200"))
NAMES = int(os.environ.get("FLEET_NAMES", "100000" if IS_QUICK else "1000000"))
TARGETS_MAX = 1_000
IDLE_SECONDS = 10.0
ALONE = EVEN = max(ORDERS // 4, 2)
REST_SECONDS = 0.15
PROBE_SECONDS = 0.001
FLOOR_ROUNDS = 200
NEGATIVE_RCODES = (0, 3)


class Probe:
    """Asks the gate for names, as quickly as one client can."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(5.0)
        self._socket.connect(("127.0.0.1", port))

    def is_blocked(self, name: str) -> bool:
        """Ask once: what is not blocked has an address here, and what is has none."""
        self._socket.send(query(name))
        return self._socket.recv(4_096)[6:8] == b"\0\0"

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Clock:
    """Processor time of the programs, and what Redis has counted, between two looks."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.begin()

    def begin(self) -> None:
        """Look for the first time."""
        self._at = time.monotonic()
        self._cpu, self._traffic = self._look()

    def _look(self) -> tuple[dict[str, float], tuple[int, int]]:
        pids = {name: each.pid for name, each in self._fleet.programs.items()}
        assert self._fleet.redis.pid is not None
        pids["redis"] = self._fleet.redis.pid
        return {name: cpu_seconds(pid) for name, pid in pids.items()}, self._fleet.traffic()

    def rows(self, said: str, parts: int, unit: str) -> list[Row]:
        """Say what was used since, for each of `parts`."""
        cpu, traffic = self._look()
        used = {name: 1e3 * (seconds - self._cpu[name]) / parts for name, seconds in cpu.items()}
        light = [used.pop(name) for name in self._fleet.light]
        rows = [Row(f"{said}: processor, {who}", ms, f"ms {unit}") for who, ms in used.items()]
        rows.append(median_row(f"{said}: processor, a light node", light, f"ms {unit}"))
        for what, now, then in zip(("from", "to"), traffic, self._traffic, strict=True):
            a_node = (now - then) / parts / (len(light) + 1)
            rows.append(Row(f"{said}: octets {what} Redis, a node", a_node, unit))
        return rows


class Times:
    """How long changes took, in milliseconds: at the gate, and at each light node."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.call: list[float] = []
        self.gate: list[float] = []
        self.light: list[float] = []
        self.last: list[float] = []

    def rows(self) -> list[Row]:
        """Return medians, percentiles and the longest."""
        rows = []
        for said, values in (
            (f"{self._what}: call answered", self.call),
            (f"{self._what} answered → in force at the gate", self.gate),
            (f"{self._what} answered → at a light node", self.light),
            (f"{self._what} answered → at the last of them", self.last),
        ):
            if not values:
                continue
            rows.append(Row(f"{said}: p50", median(values), "ms", len(values)))
            rows.append(
                Row("… p99", quantiles(values, n=100, method="inclusive")[-1], "ms", len(values))
            )
            rows.append(Row("… longest", max(values), "ms", len(values)))
        return rows


def run() -> list[Row]:
    began = time.monotonic()
    tell(f"founding an installation with {NODES} light nodes; {ORDERS} orders, {NAMES:,} names")
    with Fleet(NODES) as fleet:
        tell(f"all in step after {time.monotonic() - began:.0f} s")
        probe = Probe(fleet.dns_port)
        try:
            rows = measured(fleet, probe)
        finally:
            probe.close()
        fleet.audit()
        fleet.check_answers()
    tell(f"done after {time.monotonic() - began:.0f} s")
    return rows


def measured(fleet: Fleet, probe: Probe) -> list[Row]:
    """Measure everything, in one installation."""
    rows = [Row("light nodes", NODES, ""), *floor(fleet)]
    large, names = load(fleet, probe, rows)
    begun, ended = Times("one node alone: approval"), Times("one node alone: stop")
    chance = random.Random(6)
    for at in range(ALONE):
        small(fleet, probe, at, round(TARGETS_MAX ** chance.random()), begun, ended)
    rows += begun.rows() + ended.rows()
    tell("starting the light nodes")
    began = time.monotonic()
    fleet.start_light()
    rows.append(Row("light nodes started at once: all in step", time.monotonic() - began, "s"))
    clock = Clock(fleet)
    time.sleep(IDLE_SECONDS)
    rows += clock.rows("at rest", int(IDLE_SECONDS), "a second")
    rows += memory(fleet)
    sizes = [round(TARGETS_MAX ** chance.random()) for _ in range(EVEN + ORDERS)]
    rows += together(fleet, probe, "none preferred", ALONE, sizes[:EVEN])
    fleet.yield_to_others()
    rows += together(fleet, probe, "light nodes last", ALONE + EVEN, sizes[EVEN:])
    rows.append(Row("attestation of a light node", attested_octets(fleet), "octets"))
    rows += stop_large(fleet, probe, large, names)
    return rows


def together(
    fleet: Fleet, probe: Probe, said: str, first_at: int, sizes: Sequence[int]
) -> list[Row]:
    """Have orders of these sizes come and go beside all light nodes."""
    begun, ended = Times(f"{said}: approval"), Times(f"{said}: stop")
    clock, began = Clock(fleet), time.monotonic()
    for at, targets in enumerate(sizes):
        if at % 20 == 0:
            tell(f"{said}: order {at} of {len(sizes)}")
        small(fleet, probe, first_at + at, targets, begun, ended)
    seconds = (time.monotonic() - began) / len(sizes)
    rows = clock.rows(f"{said}: a proposal, approval and stop", len(sizes), "each")
    rows.append(Row(f"{said}: from one proposal to the next", seconds, "s"))
    return rows + begun.rows() + ended.rows()


def load(fleet: Fleet, probe: Probe, rows: list[Row]) -> tuple[OrderRef, list[str]]:
    """Have the large order in force; return it and some of its names."""
    names = sorted(f"{sha256(b'%d' % at).hexdigest()[:14]}.com" for at in range(NAMES))
    with Peak(fleet.programs["node"].pid) as peak:
        ref = load_now(fleet, probe, names, rows)
    said = "memory: the full node's agent with its workers, while it reads and compiles them, PSS"
    rows.append(Row(f"{said}, highest", peak.mb, "MB"))
    return ref, names


def load_now(fleet: Fleet, probe: Probe, names: list[str], rows: list[Row]) -> OrderRef:
    """Propose and approve the large order, and wait until all have it."""
    tell(f"proposing {NAMES:,} names")
    ref = fleet.propose(b"".join(f"exact {name}\n".encode() for name in names))
    fleet.await_step("every node has read the proposal", 120)
    fleet.wait_until(lambda: not fleet.node_status()["missing_lists"], "the list is there", 120)
    time.sleep(SETTLING_SECONDS)  # the approver reads
    tell("approving them")
    fleet.approve(ref)
    answered = time.time()
    blocked = first(partial(probe.is_blocked, names[-1]))
    rows.append(Row("names in force", len(names), ""))
    rows.append(Row("approval of them answered → in force at the gate", blocked - answered, "s"))
    fleet.await_step("every node is in step", 120)
    return ref


def small(fleet: Fleet, probe: Probe, at: int, targets: int, begun: Times, ended: Times) -> None:
    """Have one small order come and go."""
    names = [f"n{number:04}.f{at}.example.org" for number in range(targets)]
    ref = fleet.propose(b"".join(f"exact {name}\n".encode() for name in names))
    fleet.await_step("every node has read the proposal")
    fleet.wait_until(lambda: not fleet.node_status()["missing_lists"], "the list is there")
    time.sleep(REST_SECONDS)
    change(fleet, probe, names[-1], begun, lambda: fleet.approve(ref), is_blocked=True)
    change(fleet, probe, names[-1], ended, lambda: fleet.stop(ref), is_blocked=False)


def change(
    fleet: Fleet,
    probe: Probe,
    name: str,
    times: Times,
    act: Callable[[], object],
    *,
    is_blocked: bool,
) -> None:
    """Act, and note when gate and light nodes had it; before the answer is 0."""
    size = fleet.ledger_size()
    seen: list[float] = []

    def watch() -> None:
        while probe.is_blocked(name) is not is_blocked:
            time.sleep(PROBE_SECONDS)
        seen.append(time.time())

    watching = Thread(target=watch)
    watching.start()
    began = time.time()
    act()
    answered = time.time()
    watching.join()
    time.sleep(REST_SECONDS)
    late = [max(at_ms - answered * 1e3, 0.0) for at_ms in fleet.planned_at_ms(size + 1)]
    times.call.append(1e3 * (answered - began))
    times.gate.append(1e3 * max(seen[0] - answered, 0.0))
    times.light += late
    times.last += [max(late)] if late else []


def stop_large(fleet: Fleet, probe: Probe, ref: OrderRef, names: list[str]) -> list[Row]:
    """Stop the large order."""
    tell("stopping the large order")
    size = fleet.ledger_size()
    fleet.stop(ref)
    answered = time.time()
    passed = first(lambda: not probe.is_blocked(names[-1]))
    last = max(fleet.planned_at_ms(size + 1)) / 1e3
    said = f"stop of {NAMES:,} names answered →"
    return [
        Row(f"{said} passed at the gate", max(passed - answered, 0.0), "s"),
        Row(f"{said} at the last light node", max(last - answered, 0.0), "s"),
    ]


def memory(fleet: Fleet) -> list[Row]:
    """Say what the programs have, by PSS of each with its children."""
    light = [memory_mb(fleet.programs[name].pid) for name in fleet.light]
    resident = [memory_mb(fleet.programs[name].pid, "Rss") for name in fleet.light]
    rows = [
        median_row("memory: a light node, PSS", light, "MB"),
        median_row("memory: a light node, resident", resident, "MB"),
        Row("memory: the largest of them, resident", max(resident), "MB"),
    ]
    for name, said in (("node", "the full node's agent"), ("gate", "gate"), ("control", "control")):
        pid = fleet.programs[name].pid
        rows.append(Row(f"memory: {said} with its workers, PSS", memory_mb(pid), "MB"))
        rows.append(
            Row("… resident, what is shared counted each time", memory_mb(pid, "Rss"), "MB")
        )
    assert fleet.redis.pid is not None
    rows.append(Row("memory: Redis", memory_mb(fleet.redis.pid), "MB"))
    return rows


def floor(fleet: Fleet) -> list[Row]:
    """Measure XADD to XREAD with nothing around them, in the same Redis."""
    path = str(fleet.directory / "redis.sock")
    taken: list[float] = []
    with (
        redis.Redis(unix_socket_path=path) as adding,
        redis.Redis(unix_socket_path=path) as reading,
    ):
        after = "0-0"
        for _ in range(FLOOR_ROUNDS):
            began = time.perf_counter()
            adding.xadd("bench-floor", {"entry": os.urandom(2_048)})
            ((_, ((identity, _),)),) = reading.xread({"bench-floor": after}, block=1_000)
            after = identity
            taken.append(1e3 * (time.perf_counter() - began))
        adding.delete("bench-floor")
    return [median_row("floor: XADD → XREAD", taken, "ms")]


def attested_octets(fleet: Fleet) -> int:
    """Return how long the attestation of a light node is."""
    place = fleet.files.directory / "nodes" / fleet.light[0]
    return (place / "state" / "attestation.json").stat().st_size


def tell(words: str) -> None:
    """Show how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)
