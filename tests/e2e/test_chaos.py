"""Everything killed -9 at random moments under load: nothing answered is lost, blocking goes on.

A few rounds run with all tests, a few hundred with ``make long``. CHAOS_SEED and CHAOS_ROUNDS
repeat a run; what each round did is printed, and shown when it fails.
"""

import os
import random
import time

import pytest

from tests.e2e.chaos import BLOCKED, FREE, Actors, Killer, Watch
from tests.e2e.installation import Installation

ROUNDS = 6
ROUNDS_LONG = 300
AUDIT_EVERY_LONG = 10


def test_killed_at_random_moments_nothing_answered_is_lost(installation: Installation):
    run(installation, rounds=ROUNDS, audit_every=1)


@pytest.mark.long
def test_killed_hundreds_of_times_nothing_answered_is_lost(
    installation: Installation, capsys: pytest.CaptureFixture[str]
):
    rounds = int(os.environ.get("CHAOS_ROUNDS", ROUNDS_LONG))
    with capsys.disabled():
        run(installation, rounds=rounds, audit_every=AUDIT_EVERY_LONG)


def run(installation: Installation, *, rounds: int, audit_every: int) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"CHAOS_SEED={seed}", flush=True)
    watch = Watch()
    killer = Killer(installation, watch, seed)
    always = b"".join(f"exact {name}\n".encode() for name in BLOCKED)
    installation.order(always)
    installation.wait_until(lambda: installation.is_blocked(*BLOCKED), "blocking begins")
    asked = 0
    with (
        Actors(installation, seed) as actors,
        installation.questions([*BLOCKED, *FREE], on_answer=watch.see) as questions,
    ):
        for round_number in range(1, rounds + 1):
            began = time.monotonic()
            actors.go()
            deed = killer.strike()
            actors.rest()
            installation.mend()
            check_rest(installation, actors, watch)
            if round_number % audit_every == 0:
                installation.audit()
            asked = len(questions.asked)
            if audit_every == 1 or round_number % 10 == 0:
                print(
                    f"round {round_number}: {deed}; {installation.ledger_size()} entries, "
                    f"{len(installation.answered)} answers, {asked} queries, "
                    f"{time.monotonic() - began:.1f} s",
                    flush=True,
                )
    lost = [each for each in questions.unanswered if not watch.is_excused(each.at)]
    assert not lost, f"{len(lost)} queries lost while the gate ran: {lost[:5]}"
    assert not watch.wrong
    assert asked > rounds * 20


def check_rest(installation: Installation, actors: Actors, watch: Watch) -> None:
    """Check what must hold whenever everything has come to rest."""
    installation.check_answers()
    distinct = {recorded.index for recorded in installation.answered}
    assert len(distinct) == installation.ledger_size(), "an act was recorded twice, or unasked"
    for name, is_blocked in actors.expected().items():
        # The node may have read an order before it had fetched its list: that is soon done.
        installation.wait_until(
            lambda name=name, is_blocked=is_blocked: installation.is_blocked(name) == is_blocked,
            f"{name} blocked: {is_blocked}",
        )
    assert not watch.wrong, watch.wrong[:5]
