"""An intruder with the publisher's Redis password: every move that he has, and many at random.

Nothing answered is lost, nothing unlawful is blocked, nothing lawful freed, no query unanswered;
the node refuses and counts what it is shown, and the control plane says that the feed was forged.
"""

import os
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.e2e.chaos.rounds import Chaos, chosen_seed, run, times
from tests.e2e.installation import Installation

pytestmark = pytest.mark.long
HERE = "tests/e2e/chaos/test_thief.py"
ROUNDS = 30
TIMES = 2
SEEN_SECONDS = 1.1
"""A node looks once a second."""


def test_each_move_of_a_thief_is_borne_counted_and_told(installation: Installation):
    def unmended(chaos: Chaos, kind: Callable[[], None]) -> str:
        """Have nobody mend the feed until the node has seen it."""
        installation.kill("control")
        for _ in range(TIMES):
            chaos.thief.move(kind)
            time.sleep(SEEN_SECONDS)
        installation.start("control")
        return kind.__name__

    run(
        installation,
        chosen_seed(),
        lambda chaos: (partial(unmended, chaos, kind) for kind in chaos.thief.moves),
        again=f"python -m pytest -m long {HERE}",
    )
    assert "feed_was_forged" in installation.programs["control"].text()
    node = installation.programs["node"].text()
    assert '"REFUSING"' in node
    assert "did not obey a stop" in node
    assert "passed over garbage in the feed" in node
    faults = installation.node_status()["feed"]["faults"]
    assert faults["a key is of another kind"]
    assert faults["the head is no checkpoint"]


def test_many_moves_of_a_thief_cost_nothing(installation: Installation):
    run(
        installation,
        chosen_seed(),
        times(int(os.environ.get("CHAOS_ROUNDS", ROUNDS)), lambda chaos: chaos.thief.strike),
        again=f"python -m pytest -m long {HERE}",
    )
