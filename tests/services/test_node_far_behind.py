"""A node that has years to read: step by step, saying how far it is, and never twice."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from enforcer.backends import feed_format
from enforcer.core.checkpoint import Checkpoint
from enforcer.services import follow, reading
from enforcer.services.reading import Reading
from tests.node_world import World
from tests.waiting import until


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A world with much to read, and a waypoint after each ten entries."""
    monkeypatch.setattr(feed_format, "WAYPOINT_ENTRIES", 10)
    for module in (follow, reading):
        monkeypatch.setattr(module, "BEHIND_MIN", 5)
    world = World(tmp_path)
    for _ in range(20):
        world.land.propose()
    return world


async def published(world: World) -> None:
    await world.publish()
    for size in range(10, world.book.size, 10):
        root = world.book.root_at(size)
        world.feed.waypoints[size] = world.log.seal(Checkpoint(world.land.origin, size, root))


async def test_a_node_that_is_killed_in_the_middle_goes_on_where_it_was(far):
    await published(far)
    last = far.feed.waypoints.pop(20)
    # What comes behind the first waypoint cannot be read yet.
    far.feed.bundles.clear()
    kept = {at: far.feed.log.pop(at) for at in list(far.feed.log) if at >= 10}
    async with far.running() as node:
        said = "reads the ledger: 10 of 27"
        await until(lambda: far.status.get("ledger", {}).get("reads") == said)
        assert far.status["ledger"]["size"] == 10
        assert node.view().ledger_size_known == 27
        assert node.view().ledger_size == 10
    far.feed.log |= kept
    far.feed.waypoints[20] = last
    for at in range(10):
        del far.feed.log[at]
    async with far.running() as node:
        assert node.state.size == 10
        await until(lambda: far.status["ledger"]["size"] == 27)
        await until(lambda: far.status["ledger"]["reads"] is None)
        assert node.view().ledger_size_known == 27


async def test_a_forged_waypoint_changes_nothing_and_is_refused(far):
    await published(far)
    right = far.feed.waypoints[10]
    root = b"\1" * 32
    far.feed.waypoints[10] = far.log.seal(Checkpoint(far.land.origin, 10, root))
    async with far.running():
        await until(lambda: far.status.get("feed", {}).get("state") == "REFUSING")
        assert far.status["ledger"]["size"] == 0
        far.feed.waypoints[10] = right
        await until(lambda: far.status["ledger"]["size"] == 27)


def test_how_far_it_is_is_logged_now_and_then():
    now = 0.0
    seen = Reading(lambda: now)
    with capture_logs() as logs:
        for done in range(0, 100_000, 100):
            now = done / 4_000
            seen.saw(done, 100_000)
    assert [each["done"] for each in logs] == [0, 20_000, 40_000, 60_000, 80_000]
    assert seen.words is None
    seen.saw(41_216, 100_000)
    assert seen.words == "reads the ledger: 41,216 of 100,000"
    seen.saw(100_001, 100_000)
    assert (seen.total, seen.words) == (100_001, None)
