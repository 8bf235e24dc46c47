"""The ways by which a signed stop reaches a node, and the way on to the control plane (law 1).

A stop is obeyed from whichever path it came: the feed, gRPC, a file put into a folder on this
host, an update that was refused for another reason. Refusals are logged, or raised to whoever
waits for the answer. Always true: what is obeyed is passed on until the control plane answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final

import structlog

from enforcer.errors import ConflictError, EnforcerError, IntegrityError, UnavailableError
from enforcer.ports import ControlLink, FeedSource, KeptFiles
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.replica import Replica
from enforcer.services.stops import StopKeeper, StopOutcome

DROP_FOLDER: Final = "stops"
DROPS_REMEMBERED_MAX: Final = 1_000

_log: Final = structlog.get_logger(__name__)


class StopPaths:
    """All paths of one node; `on_obeyed` is called when one more order is stopped."""

    def __init__(
        self,
        *,
        stops: StopKeeper,
        replica: Replica,
        time: NodeTime,
        source: FeedSource,
        control: ControlLink,
        files: KeptFiles,
        on_obeyed: Callable[[], None],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._stops = stops
        self._replica = replica
        self._time = time
        self._source = source
        self._control = control
        self._files = files
        self._on_obeyed = on_obeyed
        self._pace = pace
        self._relay_wanted = asyncio.Event()
        self._refused_drops: dict[str, tuple[int, bytes]] = {}

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

    async def save(self) -> None:
        """Keep what changed on disk, as far as the disk allows: obeying does not wait for it."""
        try:
            await asyncio.to_thread(self._stops.save)
        except UnavailableError as error:
            _log.error("cannot keep a stop", problem=error.message, advice=error.advice)

    async def follow_feed(self) -> None:
        """Obey what comes through the feed; it never returns."""
        while True:
            try:
                async for envelope in self._source.stops():
                    await self._try(envelope, "feed")
            except EnforcerError:  # whoever follows the entries tells of it
                await asyncio.sleep(self._pace.feed_retry_seconds)

    async def watch_drops(self) -> None:
        """Obey what is put as a file into the drop folder, and remove it; it never returns."""
        while True:
            try:
                for name in await asyncio.to_thread(self._files.names, DROP_FOLDER):
                    if name.endswith(".json"):
                        await self._take_drop(name)
            except EnforcerError as error:
                _log.error("cannot look for stops", problem=error.message, advice=error.advice)
            await asyncio.sleep(self._pace.drop_poll_seconds)

    async def relay(self) -> None:
        """Pass on to the control plane what is obeyed and not logged; it never returns."""
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
            self._relay_wanted.clear()

    def _obeyed(self) -> None:
        self._on_obeyed()
        self._relay_wanted.set()

    async def _try(self, envelope: bytes, path: str) -> bool:
        """Take a stop for which nobody waits; tell whether it needs not be tried again."""
        try:
            await self.offer(envelope)
        except ConflictError:
            return True  # the order has ended already
        except EnforcerError as error:
            _log.warning("did not obey a stop", path=path, problem=error.message)
            return False
        return True

    async def _take_drop(self, name: str) -> None:
        """Take one file; a refused one stays for its owner to see."""
        try:
            data = (await asyncio.to_thread(self._files.read, name) or b"").strip()
        except IntegrityError:
            data = b""  # larger than any stop
        # It is tried again when it, or what the node knows, is another.
        attempt = (self._replica.size, sha256(data).digest())
        if self._refused_drops.get(name) == attempt:
            return
        if await self._try(data, "file"):
            await asyncio.to_thread(self._files.remove, name)
        else:
            if len(self._refused_drops) >= DROPS_REMEMBERED_MAX:
                self._refused_drops.clear()
            self._refused_drops[name] = attempt
