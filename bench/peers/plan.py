"""How long and how often: the whole bench, and the quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The bounds of one run of the bench."""

    rounds: int
    seconds: float
    """As hard as dnsperf can, for each workload of each server in each round."""
    steady_seconds: float
    steady_rate: int
    """Queries a second that every server can bear: BIND's 47 µs make 21,000."""
    update_seconds: float
    """Of each quiet and each updated part."""


WHOLE = Plan(rounds=3, seconds=4.0, steady_seconds=2.0, steady_rate=10_000, update_seconds=10.0)
QUICK = Plan(rounds=1, seconds=1.0, steady_seconds=0.5, steady_rate=10_000, update_seconds=2.0)
