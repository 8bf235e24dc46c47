"""Checkpoints that contradict a node's copy: what time settles, and what stays proven."""

from __future__ import annotations

from enforcer.backends.feed_format import StreamEntry
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import verify
from enforcer.core.checkpoint import Checkpoint
from enforcer.services import split_views
from enforcer.services.split_views import SplitViews
from tests.node_world import BAD, WORSE, in_the_ledger, open_copy, trust_of
from tests.waiting import until


async def test_a_true_head_over_forged_entries_is_no_split_view_once_the_true_ones_came(world):
    """Whoever may write into the feed could else have every node cry that the log has lied."""
    async with world.running() as node:
        await in_the_ledger(world, BAD)
        size = len(world.land.leaves)
        world.land.propose(WORSE)
        world.land.propose(WORSE)
        forged = [*world.land.leaves[size:][::-1]]
        note = world.log.note(world.land.leaves)
        world.feed.log |= {at: StreamEntry(at, leaf, note) for at, leaf in enumerate(forged, size)}
        world.feed.head = note
        world.feed.wake()
        await until(lambda: world.status["ledger"]["split_views"])
        assert not world.status["ledger"]["split_views"][0]["is_proven"]
        await world.mend()
        await world.publish()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        await until(lambda: not node.view().split_views)
    async with world.running() as node:
        assert not node.view().split_views


async def test_a_head_of_another_history_is_proven_once_ours_is_as_long(world):
    async with world.running() as node:
        await in_the_ledger(world, BAD)
        size = len(world.land.leaves)
        world.feed.head = world.log.seal(Checkpoint(world.land.origin, size + 1, bytes(32)))
        world.feed.log[size] = StreamEntry(size, world.land.leaves[-1], world.feed.head)
        world.feed.wake()
        await until(lambda: node.view().split_views == 1)
        world.land.propose(WORSE)
        await world.mend()
        await world.publish()
        await until(lambda: world.status["ledger"]["split_views"])
        await until(lambda: world.status["ledger"]["split_views"][0]["is_proven"])
        assert node.view().split_views == 1


def test_what_is_proven_is_kept_before_what_is_not(world, monkeypatch):
    """Else whoever may write into the feed could fill it before the log lies."""
    monkeypatch.setattr(split_views, "SPLIT_VIEWS_MAX", 2)
    with open_copy(world.directory / "copy", world.log) as ledger:
        ledger.append(world.land.leaves, world.log.seal)
        trust = trust_of(world.land, world.log)
        views = SplitViews(trust, verify, ledger, KeptFiles(world.directory))
        for size in (ledger.size + 1, ledger.size + 2, ledger.size + 3, ledger.size):
            views.look(world.log.seal(Checkpoint(world.land.origin, size, bytes(32))))
        assert [view.is_proven for view in views.views] == [False, True]
