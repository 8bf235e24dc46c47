"""Wall clocks that are stepped, forward and back, under load: at control plane, node and gate.

By a clock that is two minutes off nothing is recorded, no block comes back, and none stays; when
it is set right everything goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.wall_clock import WallClock, can_be_made
from tests.e2e.chaos.rounds import Chaos, Deed, chosen_seed, run
from tests.e2e.installation import PROGRAMS, Installation, now_ms

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not can_be_made(), reason="no C compiler to make a clock with"),
]
HERE = "tests/e2e/chaos/test_clocks.py"
ROUNDS = 12
SMALL_SECONDS_MAX = 50
"""Twice that is still below what makes a clock unbelievable."""
LARGE_SECONDS = (130, 250)
KEPT_MS = 120_000 + SMALL_SECONDS_MAX * 1_000
"""So much of a clock that ran ahead can stay in a node's time and in the ledger's."""


class Clocked(Installation):
    """An installation in which each program has a wall clock of its own."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        self.clocks = {}
        for name in PROGRAMS:
            folder = self.directory / f"{name}-clock"
            folder.mkdir()
            folder.chmod(0o755)
            self.clocks[name] = WallClock(folder)
        super()._prepare(changes)

    def _env(self, name: str) -> dict[str, str]:
        return self.clocks[name].env

    def audit(self, ahead_ms: int = KEPT_MS):
        return super().audit(ahead_ms)


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[Clocked]:
    with Clocked() as installation:
        yield installation


def steps(chaos: Chaos) -> Iterator[Deed]:
    """Step one clock or all, by little or by much, and set it right after a while."""
    clocks, chance = chaos.installation.clocks, chaos.chance

    def step() -> str:
        time.sleep(chance.uniform(0.0, 0.5))
        which = chance.choice((*PROGRAMS, "all"))
        seconds = chance.choice(
            (chance.randint(1, SMALL_SECONDS_MAX), chance.randint(*LARGE_SECONDS))
        ) * chance.choice((1, -1))
        names = PROGRAMS if which == "all" else (which,)
        for name in names:
            clocks[name].set_seconds_ahead(seconds)
        time.sleep(chance.uniform(0.2, 1.5))
        for name in names:
            clocks[name].set_seconds_ahead(0)
        return f"clock of {which} stepped by {seconds:+d} s"

    for _ in range(ROUNDS):
        yield step


def test_what_has_ended_stays_so_with_clocks_set_back_and_all_killed(installation: Clocked):
    """Told first: what a clock ahead leaves in a node's time ends such an order early."""
    name = "ended.example.org"
    ends_ms = installation.blocked_until(name, 3.0)
    installation.wait_until(lambda: not installation.is_blocked(name), "it has ended")
    # The gate's disk has the time a moment after the end.
    installation.wait_until(lambda: now_ms() > ends_ms + 1_000, "a second more")
    for program in ("node", "gate"):
        installation.clocks[program].set_seconds_ahead(-100)
    installation.kill("node", "gate")
    installation.start("gate")
    installation.start("node")
    until = time.monotonic() + 5
    installation.wait_until(installation.gate_status, "the gate answers")
    while time.monotonic() < until:
        assert not installation.is_blocked(name)
        time.sleep(0.05)
    for program in ("node", "gate"):
        installation.clocks[program].set_seconds_ahead(0)


def test_clocks_that_are_stepped_bring_nothing_back_and_lose_nothing(installation: Clocked):
    run(
        installation,
        chosen_seed(),
        steps,
        clocks_apart_ms=KEPT_MS,
        again=f"python -m pytest -m long {HERE}",
    )
