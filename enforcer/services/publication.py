"""What keeps the feed in step with the ledger, without the ledger ever waiting for it.

New entries are published as they come; whatever goes wrong is mended by comparing the feed
with the ledger, at once when the feed turns out to hold something else, and again at each
interval. A list is put into the feed before the entry that makes nodes need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Self

import structlog

from enforcer.core import list_delta
from enforcer.core.entry import parse_payload
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.order import OrderApproved
from enforcer.core.policy import DAY_MS, PolicyAdopted
from enforcer.core.state import State
from enforcer.errors import ConflictError, EnforcerError
from enforcer.ports import Contents, FeedPublisher
from enforcer.services.deltas import Deltas
from enforcer.services.ledger import Appended, Ledger
from enforcer.services.waypoints import Waypoints

ENTRIES_UNPUBLISHED_MAX: Final = 1_024
"""More than this are not kept in memory: comparing finds them in the ledger."""

LAST_SECONDS_MAX: Final = 2
TIDY_SECONDS: Final = 3_600.0

log: Final = structlog.get_logger()


class Publication:
    """The feed of one ledger; use it as a context manager, inside that of the ledger."""

    def __init__(
        self,
        feed: FeedPublisher,
        ledger: Ledger,
        lists: Contents,
        deltas: Deltas,
        interval_seconds: float,
    ) -> None:
        self._feed = feed
        self._ledger = ledger
        self._lists = lists
        self._deltas = deltas
        self._waypoints = Waypoints(feed, ledger)
        self._making: asyncio.Task[None] | None = None
        self._tidied_at: float | None = None
        """When the feed was last rid of what nobody needs, by the loop's clock."""
        self._interval_seconds = interval_seconds
        self._waiting: list[Appended] = []
        self._brought: set[str] = set()
        """Lists that were put into the feed by this process.

        It becomes another set whenever some may be gone: what is being put then counts for none.
        """
        self._fresh: set[str] = set()
        """Those of them that were put there since it was last tidied: acts may name them soon."""
        self._tell_mended: list[Callable[[], None]] = []
        self._tell_compared: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._problem = ""
        """Why the feed is away, as it was logged last; empty while it is not."""
        self.task: asyncio.Task[None] | None = None
        """It ends only with this object."""
        self.is_mending = True
        """New entries may wait, because the feed is being compared or is away."""

    async def __aenter__(self) -> Self:
        self._ledger.on_append(self._offer)
        self.task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Publish what was answered, if the feed takes it soon; the next start finds the rest."""
        self._is_closing = True
        self._wake.set()
        if self.task is not None:
            await asyncio.wait([self.task], timeout=LAST_SECONDS_MAX)
        tasks = [task for task in (self.task, self._making) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_mended(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when something was missing or wrong in the feed; it must not wait."""
        self._tell_mended.append(tell)

    def on_compared(self, tell: Callable[[], None]) -> None:
        """Have `tell` called each time that the feed was compared; it must not wait."""
        self._tell_compared.append(tell)

    async def bring_list(self, sha256: str, base_sha256: str | None = None) -> None:
        """Put a list into the feed before anybody needs it; failing is no harm.

        With the list that it follows, also what it differs in.
        """
        if base_sha256 is not None:
            await self._deltas.bring(sha256, base_sha256)
        try:
            await self._put_list(sha256)
        except EnforcerError as error:
            log.warning("list_not_in_feed", target_list_sha256=sha256, problem=error.message)

    async def push_stop(self, envelope: Envelope) -> None:
        """Show nodes a stop that is not in the ledger, or not in the feed, yet.

        Raises:
            UnavailableError: the feed is away.
        """
        await self._feed.push_stop(format_envelope(envelope))

    def _offer(self, appended: Appended) -> None:
        if sum(len(part.leaves) for part in self._waiting) > ENTRIES_UNPUBLISHED_MAX:
            self.is_mending = True
        if not self.is_mending:
            self._waiting.append(appended)
        self._wake.set()

    async def _run(self) -> None:
        while not self._is_closing:
            await self._compare()
            if not self.is_mending:
                await self._tidy()
            await self._publish_for(self._interval_seconds)

    async def _compare(self) -> None:
        """Have the feed compared with the ledger, until it has all of it or is away.

        One that was replaced leaves the feed to the other: the two would never be in step.
        """
        self.is_mending = True
        while self.is_mending and not self._ledger.leaves_feed_alone:
            self._waiting.clear()
            size = self._ledger.files.size
            wanted = wanted_lists(self._ledger.state, self._ledger.now_ms())
            bases = list_delta.bases(self._ledger.state, set(wanted))
            try:
                found = await self._feed.reconcile(
                    self._ledger.files, self._lists, wanted, self._deltas.made(bases)
                )
            except EnforcerError as error:
                self._brought = set()  # it may have mended some of it, and told nobody
                self._is_away(error)
                return
            if self._problem:
                self._problem = ""
                log.info("feed_back")
            for tell in self._tell_compared:
                tell()
            if found.entries or found.bundles or found.lists or found.was_forged:
                self._brought = set()  # what acts may name next may be gone as well
                for tell in self._tell_mended:
                    tell()
            if found.entries or found.bundles or found.lists:
                log.info(
                    "feed_mended", entries=found.entries, bundles=found.bundles, lists=found.lists
                )
            if found.was_forged:
                log.error("feed_was_forged")
            if self._making is None or self._making.done():
                self._making = asyncio.create_task(self._fill(bases))
            # What was appended meanwhile was not kept for publishing.
            self.is_mending = self._ledger.files.size != size

    async def _fill(self, bases: Mapping[str, str]) -> None:
        """Put in the feed what only spares nodes something: nothing waits for it."""
        try:
            await self._waypoints.show()
        except EnforcerError as error:
            log.warning("waypoints_not_in_feed", problem=error.message)
        await self._deltas.bring_all(bases)

    async def _tidy(self) -> None:
        """At times, remove from the feed the lists of orders that ended long ago."""
        now = asyncio.get_running_loop().time()
        if self._tidied_at is not None and now < self._tidied_at + TIDY_SECONDS:
            return
        state, t_ms = self._ledger.state, self._ledger.now_ms()
        kept = kept_lists(state, t_ms) | self._fresh
        bases = list_delta.bases(state, kept)
        self._fresh.clear()
        try:
            await self._deltas.keep_only(bases)
            removed = await self._feed.keep_lists(kept | self._fresh, bases.items())
        except EnforcerError as error:
            self._is_away(error)
            return
        finally:
            # What came meanwhile may be gone, or a part of it: the act brings it again.
            self._brought = self._brought & kept
        self._tidied_at = now
        if removed:
            log.info("feed_tidied", keys=removed)

    async def _publish_for(self, seconds: float) -> None:
        """Publish what comes; return when the time is over, or the feed holds something else."""
        end = asyncio.get_running_loop().time() + seconds
        while self._waiting or not self._is_closing:
            try:
                async with asyncio.timeout_at(end):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()
            try:
                await self._publish()
            except ConflictError as error:
                log.warning("feed_differs", problem=error.message)
                return
            except EnforcerError as error:
                self._is_away(error)
                self.is_mending = True

    def _is_away(self, error: EnforcerError) -> None:
        """Log why, once for each reason: it is tried again every few seconds."""
        if error.message != self._problem:
            self._problem = error.message
            log.warning("feed_away", problem=error.message, advice=error.advice)

    async def _publish(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or self._ledger.replaced is not None:
            return
        for sha256 in _lists_needed(self._ledger.state, waiting):
            if sha256 not in self._brought:
                await self._put_list(sha256)
        leaves = [leaf for part in waiting for leaf in part.leaves]
        await self._feed.publish(waiting[0].first_index, leaves, waiting[-1].checkpoint_note)

    async def _put_list(self, sha256: str) -> None:
        self._fresh.add(sha256)
        brought = self._brought
        await self._feed.put_list(sha256, self._lists.path(sha256))
        brought.add(sha256)


def wanted_lists(state: State, t_ms: int) -> list[str]:
    """Return the lists that nodes need at `t_ms` or later, each once, the policy's first."""
    wanted = _pinned_lists(state.policy.payload) if state.policy is not None else []
    live = (state.orders[index] for index, (until_ms, _) in state.live.items() if until_ms > t_ms)
    return list(dict.fromkeys([*wanted, *(order.payload.list_file_sha256 for order in live)]))


def kept_lists(state: State, t_ms: int) -> set[str]:
    """Return the lists that stay in the feed: each until a day after its last order has ended."""
    ends = (
        (order.until_ms if order.ended_at_ms is None else order.ended_at_ms, order)
        for order in state.orders.values()
    )
    lately = {order.payload.list_file_sha256 for end_ms, order in ends if end_ms > t_ms - DAY_MS}
    return lately | set(wanted_lists(state, t_ms))


def _lists_needed(state: State, appended: Sequence[Appended]) -> Iterator[str]:
    """Yield the lists that nodes need from these entries on."""
    for entry in (entry for part in appended for entry in part.entries):
        payload = parse_payload(entry.envelope)
        if isinstance(payload, OrderApproved):
            yield state.orders[payload.order.entry_index].payload.list_file_sha256
        elif isinstance(payload, PolicyAdopted):
            yield from _pinned_lists(payload)


def _pinned_lists(policy: PolicyAdopted) -> list[str]:
    return list(policy.pins.lists)
