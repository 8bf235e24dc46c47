"""Following the feed: from what it offers to the node's own proven copy, and no further.

Refused updates change nothing and are told in `health`; their valid stops are obeyed all the
same. Entries recorded too far ahead of this machine's clock wait for it, all but stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import structlog

from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import FeedSource, FeedUpdate
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.reading import BEHIND_MIN, Reading
from enforcer.services.replica import AHEAD_MS_MAX, Proven, Replica
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
    """It is away, empty, or lacks something."""
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
        source: FeedSource,
        stops: StopPaths,
        on_progress: Callable[[], None],
        on_health: Callable[[], None],
        split_views: SplitViews,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._replica = replica
        self._time = time
        self._source = source
        self._stops = stops
        self._on_progress = on_progress
        self._on_health = on_health
        self._split_views = split_views
        self._pace = pace
        self.reading = Reading()
        self.health = FeedHealth(FeedState.STALE, "nothing was read yet", time.now_ms())

    async def run(self) -> None:
        """Follow; it never returns."""
        while True:
            try:
                update = await self._source.next(
                    self._replica.next_index, int(self._pace.feed_wait_seconds * 1_000)
                )
                if update is None:
                    await self._look_at_head()
                elif await self._take(update):
                    await self._look_ahead(len(update.leaves))
                    continue
                else:
                    await asyncio.sleep(self._pace.feed_retry_seconds)
            except IntegrityError as error:
                self._is(FeedState.REFUSING, error.message)
                await asyncio.sleep(self._pace.feed_retry_seconds)
            except EnforcerError as error:
                self._is(FeedState.STALE, error.message)
                await asyncio.sleep(self._pace.feed_retry_seconds)

    async def _take(self, update: FeedUpdate) -> bool:
        """Prove an update and go on from it; False when it must wait for the clock."""
        try:
            proven = await asyncio.to_thread(self._replica.prove, update)
            ahead_ms = proven.recorded_at_ms - self._time.own_ms()
            if ahead_ms <= AHEAD_MS_MAX:
                await self._accept(proven)
                return True
            self._is(FeedState.WAITING, "the next entries are recorded ahead of our clock")
        except EnforcerError as error:
            await asyncio.to_thread(self._replica.give_up)
            await self._stops.offer_entries(update.leaves)
            await self._look_into(error, update.checkpoint_note)
            raise
        await self._stops.offer_entries(update.leaves)
        return False

    async def _accept(self, proven: Proven) -> None:
        taken = await asyncio.to_thread(self._replica.append, proven)
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
        self._is(FeedState.OK, "")
        await self._stops.review()
        if self._split_views.is_unsettled:
            await asyncio.to_thread(self._split_views.settle)

    async def _look_ahead(self, count: int) -> None:
        """See how much there is to read, after an update that may be one of many."""
        done = self._replica.next_index
        total = max(self.reading.total, done)
        if count >= BEHIND_MIN:
            note = await self._source.head()
            with suppress(IntegrityError):  # the next update shows what is wrong
                total = self._replica.prove_head(note).size if note is not None else total
        was = self.reading.words
        self.reading.saw(done, total)
        if self.reading.words != was:
            self._on_health()
        self._replica.keep(is_at_rest=False)

    async def _look_at_head(self) -> None:
        """Tell whether nothing came because there is nothing, or because something is wrong."""
        note = await self._source.head()
        if note is None:
            self._is(
                FeedState.STALE, f"the feed has no head of the ledger {self._replica.state.origin}"
            )
            return
        try:
            checkpoint = self._replica.prove_head(note)
        except IntegrityError as error:
            await self._look_into(error, note)
            raise
        if checkpoint.size > self._replica.size:
            self._is(FeedState.STALE, "the feed lacks entries that its head covers")
        else:
            self._replica.keep(is_at_rest=True)
            self._is(FeedState.OK, "")

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
