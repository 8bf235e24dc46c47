"""What the project holds itself to beside its peers (DESIGN section 9), and whether it is met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench._report import number
from bench.peers.report import Found, middle

FLOOR, GATE = "echo", "gate"
LOAD_SECONDS_MAX = 1.0
OVER_EMPTY_MB_MAX = 40.0


@dataclass(frozen=True)
class Aim:
    """One comparison; `value` must not be over `limit`, or must be below it if `is_strict`."""

    what: str
    value: float | None
    limit: float
    is_strict: bool = False

    def line(self) -> str:
        """Say plainly whether it is met."""
        relation = "<" if self.is_strict else "≤"
        if self.value is None:
            return f"UNKNOWN  {self.what}: not measured; aim {relation} {self.limit:g}"
        is_met = self.value < self.limit if self.is_strict else self.value <= self.limit
        word = "MET    " if is_met else "MISSED "
        return f"{word}  {self.what}: {number(self.value)}; aim {relation} {self.limit:g}"


def aims(peers: Sequence[str], found: Found) -> Iterator[Aim]:
    """Yield the aims that the servers' figures decide."""
    for workload, of_floor, of_best, is_strict in (
        ("blocked", 1.2, 0.75, False),
        ("cached", 1.3, 1.0, True),
    ):
        gate = middle(found, GATE, workload, "cpu_us")
        floor = middle(found, FLOOR, workload, "cpu_us")
        best, name = best_of(peers, found, workload)
        yield Aim(f"{workload}: CPU of gate / floor", ratio(gate, floor), of_floor)
        what = f"{workload}: CPU of gate / best peer ({name})"
        yield Aim(what, ratio(gate, best), of_best, is_strict)
    gate = middle(found, GATE, "uncached", "cpu_us")
    best, name = best_of([each for each in peers if "dnsdist" in each], found, "uncached")
    yield Aim(f"uncached: CPU of gate / dnsdist ({name})", ratio(gate, best), 1.0, is_strict=True)
    load = middle(found, GATE, "", "load_seconds")
    yield Aim("gate: load of a million names, s", load, LOAD_SECONDS_MAX)
    full, empty = middle(found, GATE, "", "memory_mb"), middle(found, GATE, "", "empty_mb")
    over = full - empty if full and empty else None
    yield Aim("gate: resident over empty, MB", over, OVER_EMPTY_MB_MAX)


def best_of(peers: Sequence[str], found: Found, workload: str) -> tuple[float | None, str]:
    """Return the least processor time of the peers, and whose it is."""
    times = [(middle(found, peer, workload, "cpu_us"), peer) for peer in peers]
    there = [(value, peer) for value, peer in times if value is not None]
    return min(there) if there else (None, "none")


def ratio(value: float | None, other: float | None) -> float | None:
    """Return how many times `other` fits into `value`, if both are known."""
    return value / other if value is not None and other else None
