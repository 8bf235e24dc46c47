"""Following the feed: from what a path offers to the node's own proven copy, and no further.

Refused updates change nothing; their valid stops are obeyed all the same, and the next path is
followed. Entries recorded too far ahead of this machine's clock wait for it, all but stops. What
two paths brought is never put together: what was not proven when a path fails is asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import structlog

from enforcer.errors import EnforcerError, IntegrityError, UnavailableError
from enforcer.ports import FeedUpdate
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Backoff, Pace
from enforcer.services.path_watch import PathWatch
from enforcer.services.paths import COPIES, FeedPath, FeedPaths, PathState, no_head
from enforcer.services.reading import BEHIND_MIN, Reading
from enforcer.services.replica import AHEAD_MS_MAX, Replica, Taken
from enforcer.services.split_views import SplitViews
from enforcer.services.stop_paths import StopPaths

CONTRADICTIONS: Final = frozenset({"another tree", "split view", "rolled back"})
"""Problems of an update that may be the log's word against its own."""

_log: Final = structlog.get_logger(__name__)


class FeedState(IntEnum):
    """How it stands with the feed."""

    UNSPECIFIED = 0
    OK = 1
    STALE = 2
    """It is away, empty, or lacks something, on all paths; or it may be withheld on all of them."""
    WAITING = 3
    """What it has is recorded in the future."""
    REFUSING = 4
    """It offers what cannot be true."""


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """The feed's state, why, and since when (the node's time)."""

    state: FeedState
    reason: str
    since_ms: int


class Follower:
    """Brings one replica forward.

    `on_progress` is called after each step, `on_health` when `health` has changed.
    """

    def __init__(
        self,
        *,
        replica: Replica,
        time: NodeTime,
        paths: FeedPaths,
        stops: StopPaths,
        on_progress: Callable[[], None],
        on_health: Callable[[], None],
        split_views: SplitViews,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._replica = replica
        self._time = time
        self._paths = paths
        self._path: FeedPath | None = None
        self._stops = stops
        self._on_progress = on_progress
        self._on_health = on_health
        self._split_views = split_views
        self._pace = pace
        self._backoff = Backoff(pace.feed_retry_seconds, pace.feed_retry_seconds_max)
        self.reading = Reading()
        self._lacking_at: int | None = None
        """The size at which entries were missing that the head covers, when that was looked at."""
        self._looks: set[asyncio.Future[None]] = set()
        self._watch = PathWatch(
            paths=paths,
            replica=replica,
            time=time,
            contradiction=self._contradicted,
            pace=pace,
        )
        self.health = FeedHealth(FeedState.STALE, "nothing was read yet", time.now_ms())

    async def run(self) -> None:
        """Follow, and look at the paths that are not followed; it never returns."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._watch.run())
            loops.create_task(self._follow())
            loops.create_task(self._tell_unheard())

    async def _follow(self) -> None:
        while True:
            path = self._paths.choose(stays=self._watch.is_midway)
            if self._path not in (None, path):
                await asyncio.to_thread(self._replica.give_up)
                self._watch.begins()
            self._path = path
            try:
                update = await path.source.next(
                    self._replica.next_index, int(self._pace.feed_wait_seconds * 1_000)
                )
                if update is None:
                    # Meanwhile it may have been given up, for one that is ahead of it.
                    if path.is_usable or not self._paths.has_usable:
                        await self._look_at_head(path)
                    continue
                self._watch.brings(update)
            except IntegrityError as error:
                await self._fails(path, PathState.REFUSED, error.message)
                continue
            except EnforcerError as error:
                await self._fails(path, PathState.AWAY, error.message)
                continue
            await self._take_or_say(update, path)

    async def _tell_unheard(self) -> None:
        """Say that it may be withheld, whatever the path that is followed brings or does not."""
        while True:
            await asyncio.sleep(self._pace.path_look_seconds)
            if self.health.state is FeedState.OK and (unheard := self._watch.unheard):
                self._is(FeedState.STALE, unheard)

    async def _take_or_say(self, update: FeedUpdate, path: FeedPath) -> None:
        try:
            if await self._take(update, path):
                await self._look_ahead(len(update.leaves), path)
            else:
                await asyncio.sleep(self._pace.clock_wait_seconds)
        except IntegrityError as error:
            await self._fails(path, PathState.REFUSED, error.message)
        except EnforcerError as error:  # such as a full disk, which is no path's fault
            self._is(FeedState.STALE, error.message)
            await asyncio.sleep(self._pace.feed_retry_seconds)

    async def _take(self, update: FeedUpdate, path: FeedPath) -> bool:
        """Prove an update and go on from it; False when it must wait for the clock."""
        try:
            taken = await asyncio.to_thread(self._take_up, update)
            if taken is not None:
                await self._accept(taken, path)
                self._watch.took(update, is_proven=taken.is_whole)
                return True
            self._is(FeedState.WAITING, "the next entries are recorded ahead of our clock")
        except EnforcerError as error:
            await asyncio.to_thread(self._replica.give_up)
            await self._stops.offer_entries(update.leaves)
            await self._look_into(error, update.checkpoint_note)
            raise
        await self._stops.offer_entries(update.leaves)
        return False

    def _take_up(self, update: FeedUpdate) -> Taken | None:
        """Prove an update and make it durable; None: it must wait for the clock. It blocks."""
        proven = self._replica.prove(update)
        if proven.recorded_at_ms - self._time.own_ms() > AHEAD_MS_MAX:
            return None
        return self._replica.append(proven)

    async def _accept(self, taken: Taken, path: FeedPath) -> None:
        self._replica.accept(taken)
        # Whole or not: no word of ours about an entry is from before it.
        self._time.raise_to(self._replica.state.recorded_at_ms)
        if not taken.is_whole:
            return
        for effect in taken.refused:
            if effect.refusal is not None:
                _log.warning(
                    "an entry has no effect", index=effect.index, problem=effect.refusal.message
                )
        self._on_progress()
        if path.is_usable or not self._paths.has_usable:
            self._paths.brought(path)
            self._works(path)
        # Else it was given up meanwhile, for one that is ahead: what comes late clears nothing.
        await self._stops.review()
        if self._split_views.is_unsettled:
            await asyncio.to_thread(self._split_views.settle)

    async def _look_ahead(self, count: int, path: FeedPath) -> None:
        """See how much there is to read, after an update that may be one of many."""
        done = self._replica.next_index
        total = max(self.reading.total, done)
        if count >= BEHIND_MIN:
            with suppress(IntegrityError, UnavailableError):  # the next update shows what is wrong
                note = await path.source.head()
                total = self._replica.prove_head(note).size if note is not None else total
        was = self.reading.words
        self.reading.saw(done, total)
        if self.reading.words != was:
            self._on_health()
        self._replica.keep(is_at_rest=False)

    async def _look_at_head(self, path: FeedPath) -> None:
        """Tell whether nothing came because there is nothing, or because something is wrong.

        Raises:
            IntegrityError, UnavailableError: it cannot be true, or is not there.
        """
        note = await path.source.head()
        if note is None:
            what = f"{no_head(path, self._replica.size)} (ledger {self._replica.state.origin})"
            await self._fails(path, PathState.STALE, what)
            return
        try:
            checkpoint = self._replica.prove_head(note)
        except IntegrityError as error:
            if path.name in COPIES and error.data.get("problem") == "rolled back":
                what = f"it is an older copy: {error.message}"
                await self._fails(path, PathState.STALE, what)
                return
            await self._look_into(error, note)
            raise
        lacks = checkpoint.size > self._replica.size
        was_lacking, self._lacking_at = self._lacking_at, self._replica.size if lacks else None
        if lacks and was_lacking == self._replica.size:
            what = "the feed lacks entries that its head covers"
            await self._fails(path, PathState.STALE, what)
        if lacks:  # at first they may have come just now
            return
        self._replica.keep(is_at_rest=True)
        self._watch.heard(path)
        self._watch.idles()
        self._works(path)

    def _works(self, path: FeedPath) -> None:
        self._paths.works(path, self._replica.size)
        self._backoff.reset()
        unheard = self._watch.unheard
        self._is(FeedState.STALE if unheard else FeedState.OK, unheard)

    async def _fails(self, path: FeedPath, state: PathState, reason: str) -> None:
        """Say why a path cannot be followed; wait a moment where there is no other."""
        self._paths.fails(path, state, reason)
        if self._paths.has_usable:
            return
        worst, words = self._paths.summary()
        is_refused = worst is PathState.REFUSED
        self._is(FeedState.REFUSING if is_refused else FeedState.STALE, words)
        await asyncio.sleep(self._backoff.pause())

    def _contradicted(self, error: EnforcerError, note: bytes) -> None:
        """Keep what a path shows that is not followed."""
        task = asyncio.ensure_future(self._look_into(error, note))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look_into(self, error: EnforcerError, note: bytes) -> None:
        """Keep a checkpoint that contradicts our history, whatever came with it."""
        if error.data.get("problem") in CONTRADICTIONS:
            await asyncio.to_thread(self._split_views.look, note)

    def _is(self, state: FeedState, reason: str) -> None:
        if (state, reason) == (self.health.state, self.health.reason):
            return
        self.health = FeedHealth(state, reason, self._time.now_ms())
        self._on_health()
        if state is FeedState.OK:
            _log.info("follows the feed", ledger_size=self._replica.size)
        else:
            _log.warning("does not follow the feed", state=state.name, reason=reason)
