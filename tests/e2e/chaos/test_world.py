"""A world of two nodes and three Redis servers that loses its middle in one burst, again and again.

Three sentinels watch a primary and two replicas, a standby stands beside the control plane, and
each of the two nodes has a gate, which is asked all the time. While people act the primary, the
control plane that serves, and a node are killed within a moment; all that is killed comes back
when the rest has gone on without it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial

import pytest

from enforcer.app.status import standby_status
from tests.e2e.chaos.behind import Behind
from tests.e2e.chaos.rounds import Chaos, Deed, chosen_seed, run
from tests.e2e.chaos.standby import WithStandby
from tests.e2e.two_nodes import TwoNodes

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("redis-server") is None or shutil.which("redis-cli") is None,
        reason="the package redis-server is not installed",
    ),
]
HERE = "tests/e2e/chaos/test_world.py"
ROUNDS = 8
BEFORE_SECONDS_MAX = 0.6
BETWEEN_SECONDS_MAX = 0.4
DEAD_SECONDS_MAX = 2.0
CONTROLS = ("control", "standby")
NODES = (("node",), ("node-2",), ("node", "node-2"))


class World(TwoNodes, WithStandby, Behind):
    """The installation."""

    replicas = 2

    def serving(self) -> str:
        """Return which control plane serves; empty while none does."""
        said = standby_status(self.files.ledger).get("serves", "")
        controls = [each for each in CONTROLS if f"process {self.programs[each].pid}:" in said]
        return controls[0] if controls else ""


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[World]:
    with World() as installation:
        yield installation


def bursts(chaos: Chaos) -> Iterator[Deed]:
    """Kill the primary, the control plane that serves, and a node or both, in any order."""
    world, chance = chaos.installation, chaos.chance

    def burst(nodes: tuple[str, ...]) -> str:
        time.sleep(chance.uniform(0.0, BEFORE_SECONDS_MAX))
        serving = world.wait_until(world.serving, "one serves")
        victims = chance.sample(("redis", serving, *nodes), 2 + len(nodes))
        for victim in victims:
            world.kill(victim)
            time.sleep(chance.uniform(0.0, BETWEEN_SECONDS_MAX))
        time.sleep(chance.uniform(0.0, DEAD_SECONDS_MAX))
        world.wait_until(lambda: world.serving() not in ("", serving), "the standby serves")
        for victim in chance.sample(victims, len(victims)):
            world.start(victim)
        return f"{', '.join(victims)} killed"

    for number in range(ROUNDS):
        yield partial(burst, NODES[number % len(NODES)])


def test_primary_control_plane_and_node_die_in_one_burst_and_nothing_answered_is_lost(
    installation: World,
):
    run(installation, chosen_seed(), bursts, again=f"python -m pytest -m long {HERE}")
    installation.wait_until(
        lambda: len({status["table_digest"] for status in installation.statuses()}) == 1,
        "both nodes have the same table",
    )
