"""Small orders that come and go over a million names: from a node that knows to a gate that blocks.

A node in this process with its ledger and lists on the disk, real signatures and proofs, and the
real gate as a process; the feed alone is in memory. Known: the approval, or the stop, is proven,
folded and on the disk. In force: the gate has answered that every worker judges by it; a query is
asked each time to see it. Each order has a thousand targets that no other has. UPDATES_NAMES and
UPDATES say how many names and how many changes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from random import Random
from statistics import median, quantiles
from time import perf_counter

from dnslib import DNSRecord

from bench import ROOT, Row, median_row
from bench.path import made_up
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.gate_socket import GateClient
from enforcer.core.order import OrderRef
from enforcer.ports import GateReport, SealedTable
from enforcer.services.replica import Replica, Taken
from tests.backends.gate_client import query
from tests.backends.gate_resolver import Resolver
from tests.backends.gate_world import GateUnderTest, gate_folder
from tests.e2e.programs import rss_mb
from tests.node_world import World
from tests.people import Land
from tests.waiting import until

NAMES = int(os.environ.get("UPDATES_NAMES", "1000000"))
UPDATES = int(os.environ.get("UPDATES", "1000"))
TARGETS = 1_000
MEASURED = 60
PART = 100
ROUNDS_OF_WAITING = 10
QUIET_SECONDS = 15.0
UPDATES_A_MINUTE = 1_000
ASKED = 2_000


class TimedReplica(Replica):
    """Notes when the node knew what it knows."""

    known_at = 0.0

    def accept(self, taken: Taken) -> None:
        super().accept(taken)
        type(self).known_at = perf_counter()


class TimedGate(GateClient):
    """Notes when the gate answered that it judges by something else."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.report: GateReport | None = None
        self.changed_at = 0.0
        self.overlays = 0
        self.bases = 0

    async def load(self, base: SealedTable, overlay: SealedTable | None = None) -> GateReport:
        self.bases += 1
        return self._noted(await super().load(base, overlay))

    async def overlay(self, overlay: SealedTable) -> GateReport:
        self.overlays += 1
        return self._noted(await super().overlay(overlay))

    def _noted(self, report: GateReport) -> GateReport:
        self.report, self.changed_at = report, perf_counter()
        return report

    def knows(self, size: int) -> bool:
        """Tell whether the gate judges by what so many entries say."""
        return self.report is not None and self.report.ledger_size >= size

    def enforces(self, ref: OrderRef) -> bool:
        """Tell whether the gate has the order among those that count."""
        rows = self.report.rows if self.report is not None else ()
        return any(row.index == ref.entry_index for row in rows)


class Bench:
    """A node, its gate, and what they are told."""

    def __init__(self, world: World, gate: GateUnderTest, timed: TimedGate) -> None:
        self.world = world
        self.gate = gate
        self.timed = timed
        self.client = gate.asking()
        self._at = 0

    async def propose(self) -> tuple[OrderRef, str]:
        """Have an order proposed, and its list at the node; return it and one of its names."""
        self._at += 1
        names = [f"n{number:04}.u{self._at}.example.org" for number in range(TARGETS)]
        targets = b"".join(f"exact {name}\n".encode() for name in names)
        digest = self.world.bring(targets)
        ref = self.world.land.propose(targets)
        await self.world.publish()
        await until((self.world.state_dir / "ledger" / "lists" / digest).exists)
        await until(lambda: self.world.status["ledger"]["size"] == self.world.book.size)
        await until(lambda: not self.world.status["missing_lists"])
        return ref, names[-1]

    async def begin(self, ref: OrderRef, name: str) -> float:
        """Approve the order; return the milliseconds until the gate enforced it."""
        self.world.land.approve(ref)
        return await self._publish(lambda: self.timed.enforces(ref), name, True)

    async def end(self, ref: OrderRef, name: str) -> float:
        """Stop the order; return the milliseconds until the gate did not enforce it."""
        self.world.land.stop(ref)
        return await self._publish(lambda: not self.timed.enforces(ref), name, False)

    async def _publish(self, is_so: Callable[[], bool], name: str, is_blocked: bool) -> float:
        size = len(self.world.land.leaves)
        await self.world.publish()
        await until(lambda: self.timed.knows(size) and is_so())
        if self.is_blocked(name) is not is_blocked:
            raise SystemExit(f"the gate says that {name} changed, and answers otherwise")
        return (self.timed.changed_at - TimedReplica.known_at) * 1e3

    def is_blocked(self, name: str) -> bool:
        """Ask the gate over UDP."""
        return not DNSRecord.parse(self.client.ask(query(name))).rr

    def resident_mb(self) -> float:
        """Return what the gate's processes have resident, shared memory of each counted."""
        assert self.gate.process is not None
        return sum(rss_mb(pid) for pid in family(self.gate.process.pid))


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, gate_folder(Path(folder)) as gate_dir:
        return asyncio.run(measured(Path(folder), gate_dir))


async def measured(folder: Path, gate_dir: Path) -> list[Row]:
    names = made_up(NAMES)
    async with started(folder, gate_dir) as bench:
        empty_mb, began = bench.resident_mb(), perf_counter()
        targets = b"".join(f"exact {name}\n".encode() for name in names)
        bench.world.bring(targets)
        ref = bench.world.land.in_force_order(targets)
        await bench.world.publish()
        await settled(bench, lambda: bench.timed.enforces(ref))
        rows = [
            Row("names in the base", len(names), ""),
            Row("first order of them all: entry published → in force", perf_counter() - began, "s"),
            Row("gate: resident over empty", bench.resident_mb() - empty_mb, "MB"),
        ]
        begins, ends = [], []
        for _ in range(MEASURED):
            order = await bench.propose()
            begins.append(await bench.begin(*order))
            ends.append(await bench.end(*order))
        for what, values in (("an order of 1,000 targets", begins), ("its stop", ends)):
            rows.append(median_row(f"{what}: known → in force", values, "ms"))
            rows.append(Row("… the 95th percentile", quantiles(values, n=20)[-1], "ms", MEASURED))
        rows += await under_load(bench, Random(1).sample(names, ASKED))
        rows += await memory(bench)
        rows.append(Row("overlays handed over in all", bench.timed.overlays, ""))
        rows.append(Row("bases handed over in all", bench.timed.bases, ""))
        return rows


async def under_load(bench: Bench, names: list[str]) -> list[Row]:
    """Ask for blocked names, quietly and while updates come."""
    quiet = await asked(bench, names, None)
    busy = await asked(bench, names, 60 / UPDATES_A_MINUTE)
    rows = []
    for said, found in (("quiet", quiet), (f"{UPDATES_A_MINUTE:,} updates a minute", busy)):
        rows.append(Row(f"blocked query, {said}: median", found[0], "µs", int(found[3])))
        rows.append(Row(f"blocked query, {said}: 99th percentile", found[2], "µs", int(found[3])))
    return rows


async def asked(bench: Bench, names: list[str], every_seconds: float | None) -> list[float]:
    """Have another process ask one query after the other; return what it found."""
    command = [sys.executable, "-m", "bench._asking", str(bench.gate.place[1]), str(QUIET_SECONDS)]
    client = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    done = asyncio.ensure_future(client.communicate("\n".join(names).encode()))
    ready: list[tuple[OrderRef, str]] = []
    begun: list[tuple[OrderRef, str]] = []
    due = perf_counter()
    while not done.done():
        if every_seconds is None:
            await asyncio.sleep(0.05)
            continue
        due += every_seconds
        await asyncio.sleep(max(due - perf_counter(), 0))
        if not begun:
            begun = ready or [await bench.propose()]
            ready = []
            await bench.begin(*begun[0])
        else:
            await bench.end(*begun.pop())
            ready = [await bench.propose()]
    for each in begun:
        await bench.end(*each)
    output, _ = await done
    return [float(part) for part in output.split()]


async def memory(bench: Bench) -> list[Row]:
    """Say what is resident over the first and over the last hundred updates."""
    gate, node = [], []
    for _ in range(UPDATES // 2):
        order = await bench.propose()
        await bench.begin(*order)
        await bench.end(*order)
        gate.append(bench.resident_mb())
        node.append(rss_mb(os.getpid()))
    half = PART // 2
    return [
        Row(f"{who}: resident, {part} {PART} of {UPDATES:,} updates", median(values), "MB", half)
        for who, found in (("gate", gate), ("node and this bench", node))
        for part, values in (("first", found[:half]), ("last", found[-half:]))
    ]


async def settled(bench: Bench, holds: Callable[[], bool]) -> None:
    """Wait until it holds, and all that the node has to do is done: longer than tests do."""
    for _ in range(ROUNDS_OF_WAITING):
        with suppress(AssertionError):
            await until(lambda: holds() and bench.world.status["gate"]["state"] == "HOLDS_TABLE")
            return
    raise SystemExit("the gate did not take the table")


@asynccontextmanager
async def started(folder: Path, gate_dir: Path) -> AsyncIterator[Bench]:
    """Yield a gate with an empty table, and its node."""
    async with AsyncExitStack() as stack:
        world = World(folder, Land.founded())
        resolver = stack.enter_context(closing(Resolver()))
        made = GateUnderTest(gate_dir, resolver.place, is_patient=False, origin=world.land.origin)
        gate = made.start()
        stack.callback(gate.end)
        stack.callback(gate.open.close)
        timed = TimedGate(gate.control)
        world.gate, world.replica = timed, TimedReplica
        world.work = await stack.enter_async_context(ListWorker())
        await stack.enter_async_context(world.running())
        await world.publish()
        await settled(Bench(world, gate, timed), lambda: timed.bases > 0)
        yield Bench(world, gate, timed)


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
