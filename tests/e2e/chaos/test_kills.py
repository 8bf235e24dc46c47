"""Everything killed -9 at random moments under load: nothing answered is lost, blocking goes on.

A few rounds run with all tests, a thousand with ``make long``, on one new installation for each
fifty; every second one has a standby control plane. CHAOS_SEED and CHAOS_ROUNDS repeat a run; what
each round did is printed.
"""

import os

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


@pytest.mark.long
def test_killed_a_thousand_times_nothing_answered_is_lost(capsys: pytest.CaptureFixture[str]):
    left, seed = int(os.environ.get("CHAOS_ROUNDS", ROUNDS_LONG)), chosen_seed()
    with capsys.disabled():
        while left > 0:
            rounds = min(left, ROUNDS_OF_ONE)
            with (WithStandby if seed % 2 else Installation)() as installation:
                run(
                    installation,
                    seed,
                    times(rounds, lambda chaos: chaos.any),
                    audit_every=AUDIT_EVERY_LONG,
                    again=f"CHAOS_ROUNDS={rounds} python -m pytest -m long {HERE}",
                )
                installation.audit()
                installation.check_privacy()
            left, seed = left - rounds, seed + 1
