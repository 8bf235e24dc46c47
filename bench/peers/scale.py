"""The gate alone: a table of ten million names beside one of a hundred thousand.

The names are made up, for there are not so many real ones at hand; a table places them by a
keyed hash, so their shape does not matter to it. Blocked queries, drawn from all of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from bench.peers.asking import wait_until_blocked
from bench.peers.dnsperf import drive
from bench.peers.gate import Gate
from bench.peers.made_tables import Tables
from bench.peers.plan import Plan
from bench.peers.progress import note

COUNTS = (100_000, 10_000_000)
ORDER_TARGETS_MAX = 1_000_000
QUERIES = 1_000_000


class Scale(Gate):
    """A gate with `count` made-up names."""

    name = "gate"

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder)
        self.count = count
        self.queries = folder / "queries"
        self.sample = [name_of(0), name_of(count - 1)]

    def prepare_names(self) -> None:
        """Compile the table, hand it over, and draw what is asked."""
        self.hand_over(Tables().base(list(lists(self.count))), self.sample)
        draw = random.Random(3)
        with self.queries.open("w") as file:
            drawn = (draw.randrange(self.count) for _ in range(QUERIES))
            file.writelines(f"{name_of(number)} A\n" for number in drawn)

    def cpu_us(self, plan: Plan) -> float:
        """Start it, drive it, end it; return the processor time of a blocked query."""
        started = time.monotonic()
        self.start()
        try:
            wait_until_blocked(self, self.sample, started)
            drive(self.queries, self.port, seconds=plan.seconds / 4)
            before = self.cpu_seconds()
            run = drive(self.queries, self.port, seconds=plan.seconds)
            if set(run.rcodes) != {"NXDOMAIN"}:
                raise SystemExit(f"gate with {self.count} names: wrong answers: {run.rcodes}")
            return (self.cpu_seconds() - before) * 1e6 / run.completed
        finally:
            self.stop()


def measure(folder: Path, plan: Plan) -> dict[int, list[float]]:
    """Return for each count of names the processor time of a blocked query, in µs, by round."""
    gates = []
    for count in COUNTS:
        note(f"a table of {count:,} names")
        (folder / f"scale-{count}").mkdir()
        gates.append(Scale(folder / f"scale-{count}", count))
        gates[-1].prepare_names()
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(plan.rounds):
        for gate in gates[:: 1 if number % 2 else -1]:
            note(f"round {number + 1} of {plan.rounds}: {gate.count:,} names")
            found[gate.count].append(gate.cpu_us(plan))
    return found


def name_of(number: int) -> str:
    """Return a name; of one width, so that numbers sort as names do."""
    return f"n{number:08}.{number % 1000:03}.net"


def lists(count: int) -> Iterator[bytes]:
    """Yield canonical target lists of `count` names together."""
    for first in range(0, count, ORDER_TARGETS_MAX):
        numbers = range(first, min(count, first + ORDER_TARGETS_MAX))
        yield b"".join(b"subtree %s\n" % name_of(number).encode() for number in numbers)
