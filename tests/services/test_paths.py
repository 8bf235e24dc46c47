"""Several paths to the ledger: which one feeds a node, what the others do, and what is said."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from enforcer.backends import feed_format, memory_feed
from enforcer.backends.memory_feed import (
    MemoryFeed,
    MemoryFeedPublisher,
    MemoryFeedSource,
    StreamEntry,
)
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.entry import Entry, encode
from enforcer.ports import FeedUpdate
from enforcer.services import path_watch
from enforcer.services.pace import Backoff, jittered
from enforcer.services.paths import COPIES, SYNC, FeedPath, FeedPaths, PathState
from tests.node_world import BAD, MINUTE_MS, QUICK, WORSE, World, blocking
from tests.people import seal
from tests.waiting import stays, until

TRICKLE_SECONDS = 0.05
LENIENT = replace(QUICK, path_lag_seconds=3_600.0, path_slow_seconds=3_600.0)
"""No path is given up for what it does not bring in time."""

BAD_NAME, WORSE_NAME = "bad.example.org", "worse.example.org"


class Paths:
    """A world whose node has two paths, both of memory, and what stands in either."""

    def __init__(self, world: World, name: str = SYNC) -> None:
        self.world = world
        self.second = MemoryFeed()
        self.is_withheld = False
        """What is new stands in the second alone."""
        self.publisher = MemoryFeedPublisher(self.second)
        world.paths = (FeedPath(name, MemoryFeedSource(self.second, poll_interval_ms=5)),)

    async def publish(self) -> None:
        """Publish what the land recorded since, by each path that is not away."""
        world = self.world
        world.clock.ms = max(world.clock.ms, world.land.now_ms)
        first = world.book.size
        leaves = world.land.leaves[first:]
        note = world.book.append(leaves, world.log.seal)
        ways = ((world.feed, world.publisher), (self.second, self.publisher))
        for feed, publisher in ways[self.is_withheld :]:
            if not feed.is_away and max(feed.log, default=-1) == first - 1:
                await publisher.publish(first, leaves, note)

    async def block(self, targets: bytes = BAD, name: str = BAD_NAME, **changes):
        """Have an order in force, and see it enforced."""
        for feed in (self.world.feed, self.second):
            self.world.bring(targets)
            feed.lists |= self.world.feed.lists
        ref = self.world.land.in_force_order(targets, **changes)
        await self.publish()
        await until(lambda: self.world.gate.blocks(name))
        return ref

    def path(self, name: str) -> dict:
        return self.world.status.get("feed", {}).get("paths", {}).get(name, {})

    async def are(self, redis: str, second: str, *, feed: str = "OK", why: str = "") -> None:
        """Wait until the node shows its paths so, and the first for that reason.

        It may have gone that way for another before, such as that the second was ahead of it.
        """
        name = self.world.paths[0].name
        states = redis, second, feed

        def is_so() -> bool:
            shown = self.world.status["feed"]
            first, other = shown["paths"]["redis"], shown["paths"][name]
            are = first["state"], other["state"], shown["state"]
            return are == states and why in first["reason"]

        try:
            await until(is_so)
        except AssertionError:
            told = f"{self.world.status['feed']}, not {states} {why}"
            raise AssertionError(told) from None


@pytest.fixture
def paths(world):
    return Paths(world)


async def test_redis_feeds_while_it_works_and_the_other_path_is_ready(paths, world):
    async with world.running():
        await paths.block()
        await paths.are("FEEDS", "READY")
        await until(lambda: paths.path("sync")["size"] == world.book.size)
        await until(lambda: paths.path("redis")["size"] == world.book.size)


async def test_when_redis_is_away_the_next_path_feeds_and_redis_again_when_it_is_back(paths, world):
    async with world.running():
        await paths.block()
        world.feed.is_away = True
        await paths.block(WORSE, WORSE_NAME)
        await paths.are("AWAY", "FEEDS", why="away")
        world.feed.is_away = False  # it comes back without what was recorded meanwhile
        await paths.are("STALE", "FEEDS", why="behind")
        await world.mend()
        await paths.are("FEEDS", "READY")


async def test_a_redis_that_was_rolled_back_is_left_and_named(paths, world):
    async with world.running():
        await paths.block()
        old = world.land.leaves[:5]
        world.feed.clear()
        world.feed.head = world.log.note(old)
        await paths.block(WORSE, WORSE_NAME)
        await paths.are("STALE", "FEEDS", why="behind")  # and a moment before: refused


async def test_a_control_plane_that_lost_its_ledger_is_left_and_named(paths, world):
    async with world.running():
        await paths.block()
        paths.second.clear()
        await paths.are("FEEDS", "STALE")
        await until(lambda: "rolled back" in paths.path("sync")["reason"])


async def test_a_control_plane_that_lost_its_ledger_feeds_nobody(paths, world):
    async with world.running():
        world.feed.is_away = True
        await paths.block()
        await paths.are("AWAY", "FEEDS")
        paths.second.clear()
        await paths.are("AWAY", "STALE", feed="STALE")
        await until(lambda: "rolled back" in paths.path("sync")["reason"])
        assert world.gate.blocks(BAD_NAME)


async def test_a_forged_entry_in_redis_delays_nobody(paths, world):
    async with world.running():
        await paths.block()
        size, note = world.book.size, world.book.checkpoint_note
        leaf = encode(Entry(world.land.now_ms, seal(world.land.order(WORSE), world.land.node.key)))
        fake = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
        world.feed.log[size] = StreamEntry(size, leaf, fake)
        world.feed.wake()
        await paths.are("REFUSED", "FEEDS", why="signature")
        await paths.block(WORSE, WORSE_NAME)
        del world.feed.log[size]
        await world.mend()
        await paths.are("FEEDS", "READY")


async def test_garbage_everywhere_in_redis_is_passed_over_and_told(paths, world):
    async with world.running():
        await paths.block()
        world.feed.clear()
        world.feed.head = world.feed.cosigned = b"\xff" * 10_000
        world.feed.log = {at: StreamEntry(at, b"\x00", b"x") for at in range(50)}
        world.feed.bundles = {0: b"\x00" * 100}
        world.feed.stops = [b"garbage", b"{}", b"\x00" * 70_000]
        await paths.block(WORSE, WORSE_NAME)
        await paths.are("STALE", "FEEDS", why="no head")
        await until(lambda: world.status["feed"]["faults"]["the head is no checkpoint"] > 0)


async def test_a_redis_that_withholds_what_another_path_proves_is_left(paths, world):
    async with world.running():
        await paths.block()
        paths.is_withheld = True
        await paths.block(WORSE, WORSE_NAME)
        await paths.are("STALE", "FEEDS")
        reason = paths.path("redis")["reason"]
        assert "brings nothing" in reason or "behind" in reason


def trickling(monkeypatch):
    """Have the first path give one entry at a time, under a checkpoint that covers them all."""
    whole = MemoryFeedSource._look

    async def one(self, size):
        update = await whole(self, size)
        if self._feed.is_trickling and update is not None:
            await asyncio.sleep(TRICKLE_SECONDS)
            return replace(update, leaves=update.leaves[:1])
        return update

    monkeypatch.setattr(MemoryFeed, "is_trickling", False, raising=False)
    monkeypatch.setattr(MemoryFeedSource, "_look", one)


def failures(monkeypatch) -> list[str]:
    """Return where it is noted which path cannot be followed, each time, and why."""
    failed: list[str] = []
    fails = FeedPaths.fails

    def noted(feeds, path, state, reason, **how):
        failed.append(f"{path.name} {state.name}: {reason}")
        fails(feeds, path, state, reason, **how)

    monkeypatch.setattr(FeedPaths, "fails", noted)
    return failed


@pytest.mark.parametrize("when", ["from the start", "later"])
async def test_a_redis_that_gives_entry_after_entry_and_not_the_last_is_left(
    paths, world, monkeypatch, when
):
    trickling(monkeypatch)
    failed = failures(monkeypatch)
    # It is left for that alone, and not as one that is slow.
    world.pace = replace(LENIENT, path_lag_seconds=QUICK.path_lag_seconds)

    async def trickle() -> None:
        world.feed.is_trickling = True
        for _ in range(450):  # so that it brings the last of them long after it is left
            world.land.propose(WORSE)
        await paths.publish()

    if when == "from the start":
        await trickle()
    async with world.running():
        if when == "later":
            await paths.block()
            await paths.are("FEEDS", "READY")
            await trickle()
        await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
    assert any(each.startswith("redis STALE: it brings nothing, and sync has") for each in failed)


PART, ENTRIES, WAY = 4, 300, 20


class Parts:
    """A world with much to read, whose feeds give it in parts; which of them were given up."""

    def __init__(self, paths: Paths, monkeypatch) -> None:
        self.world = paths.world
        self.forges = False
        """Redis gives what nobody recorded, under the genuine head."""
        self.failed = failures(monkeypatch)
        self.brought = 0
        """How many parts any path gave."""
        for _ in range(ENTRIES):
            paths.world.land.propose(WORSE)
        whole = MemoryFeedSource._look
        forged = (paths.world.land.leaves[-1],) * PART

        async def part(source, size):
            update = await whole(source, size)
            if update is None:
                return None
            await asyncio.sleep(TRICKLE_SECONDS / 5)
            self.brought += 1
            is_forged = self.forges and source._feed is paths.world.feed
            leaves = forged if is_forged else update.leaves
            return replace(update, leaves=leaves[: min(PART, len(update.leaves))])

        monkeypatch.setattr(MemoryFeedSource, "_look", part)
        monkeypatch.setattr(path_watch, "PART_ENTRIES_MIN", PART)

    async def are_read(self) -> None:
        size = len(self.world.land.leaves)
        await until(lambda: self.world.status.get("ledger", {}).get("size") == size)


@pytest.mark.parametrize("bound", ["entries", "octets", "seconds"])
async def test_a_redis_that_brings_much_and_no_proof_of_it_is_left_and_not_gone_back_to_midway(
    paths, world, monkeypatch, bound
):
    parts = Parts(paths, monkeypatch)
    parts.forges = True
    world.pace = LENIENT
    if bound == "entries":
        monkeypatch.setattr(path_watch, "UNPROVEN_ENTRIES_MAX", WAY)
    elif bound == "octets":
        monkeypatch.setattr(path_watch, "UNPROVEN_BYTES_MAX", 1 << 14)
    else:
        world.pace = replace(LENIENT, path_proof_seconds=0.2)
    await paths.publish()
    async with world.running():
        await parts.are_read()
    assert "s that nothing proves, and sync has 3" in parts.failed[0]
    assert all(each.startswith("redis STALE") for each in parts.failed)


async def test_a_redis_that_brings_years_in_parts_from_waypoint_to_waypoint_is_followed(
    paths, world, monkeypatch
):
    parts = Parts(paths, monkeypatch)
    monkeypatch.setattr(feed_format, "WAYPOINT_ENTRIES", WAY)
    monkeypatch.setattr(path_watch, "UNPROVEN_ENTRIES_MAX", WAY)
    await paths.publish()
    for size in range(WAY, world.book.size, WAY):
        root = world.book.root_at(size)
        world.feed.waypoints[size] = world.log.seal(Checkpoint(world.land.origin, size, root))
    async with world.running() as node:
        # By parts, not by the time that a busy machine needs: as slow as one may be, and no slower.
        node._shown.paths.seconds = lambda: parts.brought * QUICK.path_lag_seconds / 2
        await parts.are_read()
    assert not parts.failed


async def test_it_is_said_that_it_may_be_withheld_while_entries_trickle(paths, world, monkeypatch):
    trickling(monkeypatch)
    async with world.running():
        await paths.block()
        await paths.are("FEEDS", "READY")
        paths.second.is_away = world.feed.is_trickling = True
        for _ in range(400):  # so that it does not bring the last of them meanwhile
            world.land.propose(WORSE)
        t_ms = world.clock.ms
        await paths.publish()
        world.clock.ms = max(world.clock.ms, t_ms + 16 * MINUTE_MS)
        await paths.are("FEEDS", "AWAY", feed="STALE")
        assert "idle or withheld" in world.status["feed"]["reason"]
        assert world.status["ledger"]["size"] < len(world.land.leaves)


async def test_a_second_path_that_claims_more_than_the_log_signed_is_refused_alone(paths, world):
    async with world.running():
        await paths.block()
        note = world.book.checkpoint_note
        size = world.book.size
        paths.second.head = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 7))
        await paths.are("FEEDS", "REFUSED")
        await paths.block(WORSE, WORSE_NAME)
        await paths.are("FEEDS", "READY")


async def test_with_every_path_away_orders_go_on_and_end_and_a_dropped_stop_is_obeyed(paths, world):
    soon = world.land.now_ms + MINUTE_MS
    async with world.running():
        await paths.block(expires_at_ms=soon, review_due_at_ms=soon)
        ref = await paths.block(WORSE, WORSE_NAME)
        world.feed.is_away = paths.second.is_away = True
        await paths.are("AWAY", "AWAY", feed="STALE")
        assert world.status["feed"]["reason"].startswith("redis: ")
        assert world.gate.blocks(BAD_NAME)
        world.clock.ms = soon
        await until(lambda: not world.gate.blocks(BAD_NAME))
        assert world.gate.blocks(WORSE_NAME)
        folder = world.state_dir / "stops"
        folder.mkdir(exist_ok=True)
        (folder / "stop.json").write_bytes(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks(WORSE_NAME))
        paths.second.is_away = False
        await paths.are("AWAY", "FEEDS")


async def test_a_stop_counts_by_a_path_that_is_not_followed(paths, world):
    async with world.running():
        ref = await paths.block()
        await paths.are("FEEDS", "READY")
        await paths.publisher.push_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks(BAD_NAME))
        await paths.are("FEEDS", "READY")


async def test_a_stop_counts_by_a_path_whose_entries_are_refused(paths, world):
    async with world.running():
        ref = await paths.block()
        world.feed.clear()
        world.feed.head = world.log.note([*world.land.leaves[:-1], b"another"])
        await paths.are("REFUSED", "FEEDS")
        await world.publisher.push_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks(BAD_NAME))


async def test_what_one_path_left_unproven_is_never_held_against_the_next(
    paths, world, monkeypatch
):
    world.pace = LENIENT
    for _ in range(20):
        world.land.propose(WORSE)
    await paths.publish()
    monkeypatch.setattr(memory_feed, "UPDATE_LEAVES_MAX", 3)
    entry = world.feed.log[1]
    world.feed.log[1] = StreamEntry(1, world.feed.log[4].leaf, entry.checkpoint)
    async with world.running():
        # A part of the forged history is taken, unproven; then Redis falls silent.
        await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
        # Redis may have been tried again.
        await until(lambda: paths.path("sync")["state"] in ("FEEDS", "READY"))
        assert not world.status["ledger"]["split_views"]


async def test_an_older_copy_is_stale_and_no_contradiction(world):
    paths = Paths(world, COPIES[0])
    async with world.running():
        await paths.block()
        paths.second.head = world.log.note(world.land.leaves[:5])
        await paths.are("FEEDS", "STALE")
        await until(lambda: "older copy" in paths.path(COPIES[0])["reason"])
        world.feed.is_away = True
        await paths.are("AWAY", "STALE", feed="STALE")
        await stays(lambda: world.gate.blocks(BAD_NAME), looks=5)
        assert not world.status["ledger"]["split_views"]


async def test_it_is_said_when_nobody_but_redis_has_told_for_long_that_there_is_no_more(
    paths, world
):
    async with world.running():
        await paths.block()
        paths.second.is_away = True
        await paths.are("FEEDS", "AWAY")
        world.clock.advance(16 * MINUTE_MS)
        await paths.are("FEEDS", "AWAY", feed="STALE")
        assert "idle or withheld" in world.status["feed"]["reason"]
        assert world.gate.blocks(BAD_NAME)
        paths.second.is_away = False
        await paths.are("FEEDS", "READY")


async def test_an_idle_ledger_of_which_the_control_plane_is_heard_is_no_alarm(paths, world):
    async with world.running() as node:
        await paths.block()
        watch = node._follower._watch
        for _ in range(3):
            world.clock.advance(9 * MINUTE_MS)
            t_ms = world.clock.ms
            await until(lambda t_ms=t_ms: watch._heard_ms >= t_ms)
            await until(lambda t_ms=t_ms: world.status["t_ms"] >= t_ms)
            await stays(lambda: world.status["feed"]["state"] == "OK", looks=5)


async def test_lists_come_from_the_path_that_is_followed(paths, world):
    async with world.running():
        await paths.block()
        world.feed.is_away = True
        await paths.are("AWAY", "FEEDS")
        paths.second.lists |= {world.bring(WORSE): WORSE}
        world.feed.lists.clear()
        world.land.in_force_order(WORSE)
        await paths.publish()
        await until(lambda: world.gate.blocks(WORSE_NAME))


async def test_a_path_that_is_refused_again_and_again_is_tried_again_within_seconds(world):
    paths = Paths(world)
    async with world.running() as node:
        await paths.block()
        feeds = node._shown.paths
        feeds.pace = replace(feeds.pace, path_retry_seconds_max=600.0)
        world.feed.clear()
        world.feed.head = world.log.note([*world.land.leaves[:-1], b"another"])
        await paths.are("REFUSED", "FEEDS")
        redis, tried = feeds.paths[0], set()

        def was_tried_often() -> bool:
            tried.add(redis.retry_at_seconds)
            return len(tried) >= 6

        await until(was_tried_often)
        assert redis.retry_at_seconds - feeds.seconds() <= feeds.pace.path_retry_seconds * 1.2


async def test_a_path_that_withholds_again_and_again_is_tried_ever_more_rarely(paths, world):
    async with world.running() as node:
        feeds = node._shown.paths
        redis, now_seconds = feeds.paths[0], feeds.seconds()
        feeds.seconds = lambda: now_seconds
        for times in range(1, 7):
            redis.retry_at_seconds = 0.0
            feeds.fails(redis, PathState.STALE, "it brings nothing", is_withholding=True)
            pause_seconds = redis.retry_at_seconds - now_seconds
            expected = min(feeds.pace.path_retry_seconds * 2 ** (times - 1), 0.2)
            assert 0.7 * expected <= pause_seconds <= 1.2 * expected
        feeds.brought(redis)
        assert redis.withheld == 0


async def test_a_redis_that_is_slow_is_left_for_a_path_that_is_ahead(paths, world, monkeypatch):
    whole = MemoryFeedSource._look

    async def slow(self, size):
        update = await whole(self, size)
        if not self._feed.is_slow or update is None:
            return update
        await asyncio.sleep(TRICKLE_SECONDS)
        leaves = (*world.land.leaves[:size], update.leaves[0])
        return FeedUpdate(size, update.leaves[:1], world.log.note(list(leaves)))

    monkeypatch.setattr(MemoryFeed, "is_slow", False, raising=False)
    monkeypatch.setattr(MemoryFeedSource, "_look", slow)
    failed = failures(monkeypatch)
    world.pace = replace(LENIENT, path_slow_seconds=QUICK.path_slow_seconds)
    async with world.running():
        await paths.block()
        await paths.are("FEEDS", "READY")
        world.feed.is_slow = True
        for _ in range(450):  # each alone and whole, so that it is always behind
            world.land.propose(WORSE)
        await paths.publish()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        assert any(each.startswith("redis STALE: it is slow") for each in failed)


async def test_with_redis_alone_it_is_said_when_nothing_was_recorded_for_long(world):
    async with world.running():
        await blocking(world)
        for _ in range(3):  # what the control plane records of its nodes each ten minutes
            world.clock.advance(10 * MINUTE_MS)
            world.land.now_ms = world.clock.ms
            world.land.propose(WORSE)
            await world.publish()
            await until(lambda: world.status["ledger"]["size"] == world.book.size)
            await stays(lambda: world.status["feed"]["state"] == "OK", looks=5)
        world.clock.advance(16 * MINUTE_MS)  # Redis is a replica of which nobody writes any more
        await until(lambda: world.status["feed"]["state"] == "STALE")
        assert "16 min nothing new was recorded" in world.status["feed"]["reason"]
        assert world.gate.blocks(BAD_NAME)
        world.land.now_ms = world.clock.ms
        world.land.propose(WORSE)
        await world.publish()
        await until(lambda: world.status["feed"]["state"] == "OK")


@pytest.mark.parametrize(("minutes", "is_said"), [(144 * 60, False), (169 * 60, True)])
async def test_a_copy_may_be_a_week_old(world, minutes, is_said):
    paths = Paths(world, COPIES[0])
    async with world.running() as node:
        await paths.block()
        feeds = node._shown.paths
        feeds.paths = feeds.paths[1:]
        feeds.current = None
        await until(lambda: world.status["feed"]["paths"].keys() == {COPIES[0]})
        world.clock.advance(minutes * MINUTE_MS)
        t_ms = world.clock.ms
        await until(lambda: world.status["t_ms"] >= t_ms)
        if is_said:
            await until(lambda: world.status["feed"]["state"] == "STALE")
        else:
            await stays(lambda: world.status["feed"]["state"] == "OK", looks=5)


async def test_a_path_whose_head_is_told_now_and_then_is_not_behind_for_that(world):
    paths = Paths(world)
    world.paths[0].head_seconds_max = 600.0
    async with world.running():
        await paths.block()
        await paths.are("FEEDS", "READY")
        paths.second.head = world.log.note(world.land.leaves[:5])
        await stays(lambda: paths.path(SYNC)["state"] == "READY", looks=10)


async def test_paths_that_are_all_away_are_asked_ever_more_rarely(world):
    world.pace = replace(QUICK, feed_retry_seconds_max=10.0)
    world.feed.is_away = True
    async with world.running():
        await asyncio.sleep(1.5)
        await until(lambda: world.feed.refused >= 6)
    # By who follows the entries and who waits for stops; each every 20 ms it would be 150.
    assert world.feed.refused <= 24


def test_pauses_grow_to_their_bound_and_begin_anew():
    backoff = Backoff(1.0, 5.0)
    for expected in (1, 2, 4, 5, 5):
        assert 0.8 * expected <= backoff.pause() <= 1.2 * expected
    backoff.reset()
    assert backoff.pause() <= 1.2
    assert len({jittered(1.0) for _ in range(10)}) > 1  # no two nodes at one moment
