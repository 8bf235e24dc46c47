"""The ways by which a signed stop reaches a node, and the way on to the control plane (law 1).

A stop is obeyed from whichever path it came: the feed, gRPC, a file put into a folder on this
host (`drops`), an update that was refused for another reason. Refusals are logged, or raised to
whoever waits for the answer; what came before its signer or its order is tried again when these
are known. Always true: what is obeyed is passed on until the control plane answers.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from enforcer.errors import ConflictError, EnforcerError, UnavailableError
from enforcer.ports import ControlLink
from enforcer.services.kept_stops import EarlyStops
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Backoff, Pace
from enforcer.services.paths import FeedPath, FeedPaths
from enforcer.services.replica import Replica
from enforcer.services.stops import StopKeeper, StopOutcome

_log: Final = structlog.get_logger(__name__)


class StopPaths:
    """All paths of one node; `on_obeyed` is called when one more order is stopped."""

    def __init__(
        self,
        *,
        stops: StopKeeper,
        replica: Replica,
        time: NodeTime,
        paths: FeedPaths,
        control: ControlLink,
        on_obeyed: Callable[[], None],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._stops = stops
        self._replica = replica
        self._time = time
        self._feeds = paths
        self._control = control
        self._on_obeyed = on_obeyed
        self._pace = pace
        self._relay_wanted = asyncio.Event()
        self._early = EarlyStops()

    async def offer(self, envelope: bytes) -> StopOutcome:
        """Take a signed stop; it is obeyed, and kept on disk, before this returns.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not obeyed.
            UnavailableError: its order is not known here, and too many such stops wait.
        """
        outcome = self._stops.offer(self._replica.state, envelope, self._time.moment())
        if outcome is StopOutcome.OBEYED:
            self._obeyed()
        await self.save()
        return outcome

    async def offer_entries(self, leaves: Iterable[bytes]) -> None:
        """Obey the valid stops among entries that could not be taken."""
        if self._stops.offer_entries(self._replica.state, leaves, self._time.moment()):
            self._obeyed()
            await self.save()

    async def review(self) -> None:
        """Judge all stops again, after the ledger went on."""
        before = self._stops.obeyed.keys()
        self._stops.review(self._replica.state)
        if self._stops.obeyed.keys() - before:
            self._obeyed()
        await self.save()
        for path, envelope in self._early.take_ripe(self._replica.state):
            await self._try(envelope, path)

    async def save(self) -> None:
        """Keep what changed on disk, as far as the disk allows: obeying does not wait for it."""
        if not self._stops.has_unsaved:
            return
        try:
            await asyncio.to_thread(self._stops.save)
        except UnavailableError as error:
            _log.error("cannot keep a stop", problem=error.message, advice=error.advice)

    async def follow_feed(self) -> None:
        """Obey what comes by any path to the ledger, followed or not; it never returns."""
        async with asyncio.TaskGroup() as paths:
            for path in self._feeds.paths:
                paths.create_task(self._follow_path(path))

    async def _follow_path(self, path: FeedPath) -> None:
        backoff = Backoff(self._pace.feed_retry_seconds, self._pace.feed_retry_seconds_max)
        loop = asyncio.get_running_loop()
        while True:
            began_seconds = loop.time()
            try:
                async for envelope in path.source.stops():
                    await self._try(envelope, path.name)
            except EnforcerError:  # whoever follows the entries tells of it
                if loop.time() - began_seconds > self._pace.feed_retry_seconds_max:
                    backoff.reset()
                await asyncio.sleep(backoff.pause())

    async def relay(self) -> None:
        """Pass on to the control plane what is obeyed and not logged; it never returns.

        Not at once: nearly every stop comes from there, to all nodes, and is logged a moment later.
        """
        while True:
            for stop in self._stops.to_relay:
                try:
                    await self._control.push_stop(stop.envelope_bytes)
                except UnavailableError:
                    continue
                except EnforcerError as error:  # the ledger will show who was right
                    _log.warning("the control plane refused a stop", problem=error.message)
                self._stops.relayed(stop)
            is_done = not self._stops.to_relay
            try:
                async with asyncio.timeout(None if is_done else self._pace.relay_retry_seconds):
                    await self._relay_wanted.wait()
            except TimeoutError:
                continue
            more = 1 + secrets.randbelow(1_000) / 1_000  # not all nodes in one moment
            await asyncio.sleep(self._pace.relay_after_seconds * more)
            self._relay_wanted.clear()

    def _obeyed(self) -> None:
        self._on_obeyed()
        self._relay_wanted.set()

    async def _try(self, envelope: bytes, path: str) -> None:
        """Take a stop for which nobody waits."""
        try:
            await self.offer(envelope)
        except ConflictError:
            return  # the order has ended already
        except EnforcerError as error:
            self._early.put(path, envelope, self._replica.state)
            _log.warning("did not obey a stop", path=path, problem=error.message)
