"""Stops, as the control plane takes them: no stop is ever lost to a full disk or a slow one.

When the ledger does not take a stop at once, nodes get it first, signed, through the feed, and
obey it; the ledger gets it as soon as it can. Only a stop that the rules allow is shown to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from enforcer.core.envelope import Envelope
from enforcer.core.order import OrderStopped
from enforcer.errors import EnforcerError, IntegrityError, UnavailableError
from enforcer.ports import Contents
from enforcer.services import side_files
from enforcer.services.ledger import Ledger, Recorded
from enforcer.services.orders import expect
from enforcer.services.publication import Publication

STOP_WAIT_SECONDS_MAX: Final = 2
"""A stop that the ledger has not taken by then goes to the nodes first."""
STOPS_UNLOGGED_MAX: Final = 1_024

log: Final = structlog.get_logger()


class Stopping:
    """The way of a stop into one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        side: Contents,
        publication: Publication,
        show: Callable[[Envelope], bool] = lambda _: False,
    ) -> None:
        """Take the feed, and what shows a stop to nodes beside it and tells whether any saw it."""
        self._ledger = ledger
        self._side = side
        self._publication = publication
        self._show = show
        self._unlogged: dict[str, Envelope] = {}
        """Payload hash -> a stop that nodes have and the ledger does not."""

    async def stop(self, envelope: Envelope, files: Sequence[bytes] = ()) -> Recorded:
        """Record a stop; when the ledger does not take it at once, nodes are told first.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: what is wrong with it.
            UnavailableError: the ledger does not have it; ``nodes_told`` says who else has. It
                is kept, and recorded as soon as the ledger takes it.
        """
        stop = expect(envelope, OrderStopped)
        documents = side_files.check(stop, files)
        self._ledger.judge(envelope)
        recording = asyncio.ensure_future(self._ledger.record(envelope))
        timeout = 0 if self._publication.is_mending else STOP_WAIT_SECONDS_MAX
        await asyncio.wait([recording], timeout=timeout)
        if not recording.done():
            await self._tell_nodes(envelope)
        try:
            recorded = await recording
        except (UnavailableError, IntegrityError) as error:
            raise await self._unlogged_error(envelope, error) from error
        try:
            await side_files.keep(self._side, documents)
        except UnavailableError as error:  # the stop stands; its reason can be brought again
            log.warning("reason_not_kept", index=recorded.index, problem=error.message)
        return recorded

    async def record_unlogged(self) -> None:
        """Try again to record the stops that the ledger did not take; to be called at times."""
        for payload_sha256, envelope in tuple(self._unlogged.items()):
            try:
                recorded = await self._ledger.record(envelope)
                log.info("stop_recorded_late", index=recorded.index)
            except UnavailableError:
                return
            except EnforcerError as error:  # such as: the order has been stopped by another
                log.info("stop_needless", problem=error.message)
            del self._unlogged[payload_sha256]

    async def _tell_nodes(self, envelope: Envelope) -> bool:
        """Show nodes a stop that was judged, by every path; tell whether one took it."""
        is_shown = self._show(envelope)
        try:
            await self._publication.push_stop(envelope)
        except EnforcerError as error:
            log.warning("stop_not_pushed", problem=error.message)
            return is_shown
        return True

    async def _unlogged_error(
        self, envelope: Envelope, error: UnavailableError | IntegrityError
    ) -> UnavailableError:
        """Hand an unrecorded stop to the nodes, keep it, and say what has become of it."""
        is_told = await self._tell_nodes(envelope)
        if len(self._unlogged) < STOPS_UNLOGGED_MAX:
            self._unlogged[envelope.payload_sha256] = envelope
        log.error("stop_unlogged", nodes_told=is_told, problem=error.message)
        if is_told:
            return UnavailableError(
                f"nodes have the stop, and the ledger does not yet: {error.message}",
                advice="Send the same stop again later for its receipt; it is tried meanwhile.",
                nodes_told=True,
            )
        return UnavailableError(
            f"neither the ledger nor the feed took the stop: {error.message}",
            advice="Push it to the nodes directly (enforcer order stop --node), and send it again.",
            nodes_told=False,
        )
