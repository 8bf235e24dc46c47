"""A feed behind sentinels: failovers in a burst, lost writes, old histories."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from enforcer.backends.feed_format import FeedKeys
from tests.e2e.chaos.behind import Behind
from tests.e2e.chaos.rounds import Chaos, chosen_seed, run
from tests.e2e.installation import ORIGIN

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("redis-server") is None or shutil.which("redis-cli") is None,
        reason="the package redis-server is not installed",
    ),
]
KEYS = FeedKeys(ORIGIN)
HERE = "tests/e2e/chaos/test_sentinels.py"
ROUNDS = 4


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[Behind]:
    with Behind() as installation:
        yield installation


class Failovers:
    """What goes wrong with a primary and its replica, under load."""

    def __init__(self, installation: Behind, chance: random.Random) -> None:
        self._cluster, self._installation = installation.redis, installation
        self._chance = chance

    def primary_killed(self) -> str:
        """The primary is gone with what it had not copied."""
        time.sleep(self._chance.uniform(0.0, 0.5))
        self._installation.kill("redis")
        return "primary killed"

    def failed_over(self) -> str:
        """The primary becomes a replica, and lives; what it took meanwhile is lost."""
        time.sleep(self._chance.uniform(0.0, 0.5))
        self._cluster.fail_over()
        return "failed over"

    def old_replica_promoted(self) -> str:
        """The replica has stood still for a while when it becomes the primary."""
        with self._cluster.client(self._cluster.replica_port) as replica:
            before = {key: replica.dump(key) for key in replica.scan_iter(KEYS.prefix + "*")}
        time.sleep(self._chance.uniform(0.3, 1.0))
        self._installation.kill("redis")
        with self._cluster.client(self._cluster.port) as promoted, promoted.pipeline() as turn:
            turn.flushall()
            for key, value in before.items():
                turn.restore(key, 0, value)
            turn.execute()
        return "an old replica promoted"

    def empty_replica_promoted(self) -> str:
        """Both are started anew, and have nothing."""
        self._installation.kill("redis")
        with self._cluster.client(self._cluster.port) as promoted:
            promoted.flushall()
        return "an empty replica promoted"


def deeds(kind: str) -> Callable[[Chaos], Iterator[Callable[[], str]]]:
    def made(chaos: Chaos) -> Iterator[Callable[[], str]]:
        failovers = Failovers(chaos.installation, chaos.chance)
        for _ in range(ROUNDS):
            yield getattr(failovers, kind)

    return made


@pytest.mark.parametrize(
    "kind",
    ["primary_killed", "failed_over", "old_replica_promoted", "empty_replica_promoted"],
)
def test_lost_writes_are_refilled_and_nodes_go_on(installation: Behind, kind: str):
    run(installation, chosen_seed(), deeds(kind), again=f"python -m pytest -m long {HERE}")
