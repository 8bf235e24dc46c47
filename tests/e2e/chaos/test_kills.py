"""Everything killed -9 at random moments under load: nothing answered is lost, blocking goes on.

A few rounds run with all tests, a thousand with ``make long``, on one new installation for each
fifty; every second one has a standby control plane. CHAOS_SEED is the first one's seed, and those
after it count on; without it each draws its own. CHAOS_ROUNDS says how many rounds in all. Most of
a round is waiting, so several installations may be at it side by side.
"""

import os
import random

import pytest

from tests.e2e.chaos.rounds import chosen_seed, run, times
from tests.e2e.chaos.standby import WithStandby
from tests.e2e.installation import Installation

ROUNDS_LONG = 1_000
ROUNDS_OF_ONE = 50
"""Rounds that one installation goes through: a longer ledger takes longer to start from."""
AUDIT_EVERY_LONG = 10
HERE = "tests/e2e/chaos/test_kills.py"


def test_killed_wiped_and_robbed_nothing_answered_is_lost(installation: Installation):
    run(
        installation,
        chosen_seed(),
        lambda chaos: (
            chaos.killer.strike,
            chaos.thief.strike,
            lambda: chaos.killer.kill("control", "redis", "node", "gate"),
            chaos.accidents.strike,
            chaos.killer.strike,
        ),
        again=f"python -m pytest {HERE}",
    )


def installations() -> list[tuple[int, int]]:
    """Return each installation's number and how many rounds it goes through."""
    left = int(os.environ.get("CHAOS_ROUNDS", ROUNDS_LONG))
    rounds = [min(ROUNDS_OF_ONE, left - begun) for begun in range(0, left, ROUNDS_OF_ONE)]
    return list(enumerate(rounds))


def seed_of(number: int) -> int:
    """Return an installation's seed; whether it is odd decides on the standby."""
    if named := os.environ.get("CHAOS_SEED"):
        return int(named) + number
    return random.SystemRandom().randrange(1 << 31) * 2 + number % 2


@pytest.mark.long
@pytest.mark.parametrize(("number", "rounds"), installations())
def test_killed_a_thousand_times_nothing_answered_is_lost(
    number: int, rounds: int, capsys: pytest.CaptureFixture[str]
):
    seed = seed_of(number)
    with capsys.disabled(), (WithStandby if seed % 2 else Installation)() as installation:
        run(
            installation,
            seed,
            times(rounds, lambda chaos: chaos.any),
            audit_every=AUDIT_EVERY_LONG,
            again=f"CHAOS_ROUNDS={rounds} python -m pytest -m long {HERE}",
        )
        installation.audit()
        installation.check_privacy()
