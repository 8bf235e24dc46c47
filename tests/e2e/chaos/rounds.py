"""Rounds of load and chaos on one installation, each ending with everything in step again.

CHAOS_SEED, told when a run begins, repeats all choices of one. A run that fails leaves its
folder, and says where it is and how to run it again. What is told goes to standard error, and to
build/chaos/SEED.log, where several runs at once can be followed and none is lost.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.chaos.accidents import Accidents
from tests.e2e.chaos.invariants import Invariants
from tests.e2e.chaos.killer import Killer
from tests.e2e.chaos.load import Actors
from tests.e2e.chaos.thief import Thief
from tests.e2e.installation import Installation

Deed = Callable[[], str]
LOGS = Path(__file__).resolve().parents[3] / "build" / "chaos"
TOLD_MAX = 2_000
"""Characters of a failure that are told; pytest tells all of it."""


@dataclass(frozen=True)
class Chaos:
    """Those who do what a round is about, on one installation under load."""

    installation: Installation
    chance: random.Random
    killer: Killer
    accidents: Accidents
    thief: Thief

    def any(self) -> str:
        """Do one deed of those that there are, killing four times in five."""
        return self.chance.choices((self.killer, self.accidents, self.thief), weights=(8, 1, 1))[
            0
        ].strike()


def chosen_seed() -> int:
    return int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))


def tell(seed: int, words: str) -> None:
    """Say a line of one run, on the screen and in its log."""
    words = f"{seed}: {words}"
    print(words, file=sys.stderr, flush=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{seed}.log").open("a") as log:
        log.write(words + "\n")


def run(
    installation: Installation,
    seed: int,
    deeds: Callable[[Chaos], Iterable[Deed]],
    *,
    audit_every: int = 0,
    clocks_apart_ms: int = 0,
    again: str = "",
) -> None:
    """Have one round for each deed; `again` is the command line that runs this seed once more.

    What ends within `clocks_apart_ms` more than usual is not looked at.
    """
    tell(seed, f"{os.environ.get('PYTEST_CURRENT_TEST', '')} CHAOS_SEED={seed}")
    try:
        _run(installation, seed, deeds, audit_every, clocks_apart_ms)
    except BaseException as error:
        installation.is_kept = True
        tell(seed, f"failed: {str(error)[:TOLD_MAX]}")
        tell(seed, f"left for you to look at: {installation.directory}")
        tell(seed, f"once more: CHAOS_SEED={seed} {again}")
        raise


def _run(
    installation: Installation,
    seed: int,
    deeds: Callable[[Chaos], Iterable[Deed]],
    audit_every: int,
    clocks_apart_ms: int,
) -> None:
    invariants = Invariants(installation)
    always, proposed = invariants.begin()
    chance = random.Random(seed)
    chaos = Chaos(
        installation,
        chance,
        Killer(installation, invariants, chance),
        Accidents(installation, chance),
        Thief(installation, always, proposed, chance),
    )
    rounds = 0
    actors = Actors(installation, invariants, seed)
    actors.undecided_ms += clocks_apart_ms
    with actors, invariants.watched():
        for rounds, deed in enumerate(deeds(chaos), 1):
            began = time.monotonic()
            actors.go()
            done = deed()
            actors.rest()
            installation.mend()
            invariants.check_rest(actors)
            if audit_every and rounds % audit_every == 0:
                installation.audit()
            seconds = time.monotonic() - began
            tell(
                seed,
                f"round {rounds}: {done}; {installation.ledger_size()} entries, "
                f"{len(installation.answered)} answers, {seconds:.1f} s",
            )
    assert invariants.asked > rounds * 20


def times(count: int, deed: Callable[[Chaos], Deed]) -> Callable[[Chaos], Iterator[Deed]]:
    """Return the deed so many times."""
    return lambda chaos: (deed(chaos) for _ in range(count))
