"""The acts on orders, as the control plane takes them, and reading orders back.

What the ledger's rules cannot see is checked here: that the list is here and is what the order
says, that the reasons came along. A stop is never lost to a full disk: nodes get the signed
stop through the feed, and the ledger gets it when it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import structlog

from enforcer.core.entry import AnyPayload, parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.key import KeyRegistered, KeyRevoked
from enforcer.core.order import OrderApproved, OrderExtended, OrderProposed, OrderStopped
from enforcer.core.policy import PolicyAdopted
from enforcer.core.standing import Standing, standing
from enforcer.core.state import OrderRecord, PolicyRecord
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import (
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import Contents
from enforcer.services import side_files
from enforcer.services.ledger import Ledger, Recorded
from enforcer.services.publication import Publication
from enforcer.services.uploads import Uploads

STOP_WAIT_SECONDS_MAX: Final = 2
"""A stop that the ledger has not taken by then goes to the nodes first."""
STOPS_UNLOGGED_MAX: Final = 1_024
ROOT_ACTS: Final = (PolicyAdopted, KeyRegistered, KeyRevoked)

log: Final = structlog.get_logger()

P = TypeVar("P", bound=AnyPayload)


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, and where it stood when it was read."""

    record: OrderRecord
    standing: Standing
    at_ms: int


class Orders:
    """The desk where signed acts come in."""

    def __init__(
        self, ledger: Ledger, uploads: Uploads, side: Contents, publication: Publication
    ) -> None:
        self._ledger = ledger
        self._uploads = uploads
        self._side = side
        self._publication = publication
        self._unlogged: dict[str, Envelope] = {}
        """Payload hash -> a stop that nodes have and the ledger does not."""

    async def propose(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record a proposal, its documents kept before; None when it was only judged.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: what is wrong with it.
            UnavailableError: it could not be made durable.
        """
        order = _expect(envelope, OrderProposed)
        documents = side_files.check(order, files)
        if self._ledger.recorded_as(envelope, order) is None:
            self._ledger.judge(envelope)
            await self._check_targets(order)
            await side_files.check_reasons(self._side, order, documents)
        if validate_only:
            return None
        await side_files.keep(self._side, documents)
        await self._publication.bring_list(order.target_list_sha256)
        return await self._ledger.record(envelope)

    async def approve(self, envelope: Envelope, *, validate_only: bool) -> Recorded | None:
        """Record an approval; raises as :meth:`propose`."""
        approval = _expect(envelope, OrderApproved)
        if self._ledger.recorded_as(envelope, approval) is None:
            self._ledger.judge(envelope)
            order = self._ledger.state.orders[approval.order.entry_index].payload
            await self._check_targets(order)
        return None if validate_only else await self._ledger.record(envelope)

    async def extend(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record an extension; raises as :meth:`propose`."""
        return await self._record(
            envelope, _expect(envelope, OrderExtended), files, validate_only=validate_only
        )

    async def record_root_act(
        self, envelope: Envelope, files: Sequence[bytes], *, validate_only: bool
    ) -> Recorded | None:
        """Record what the roots signed; lists that a policy pins must be here.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError, UnavailableError: as
                :meth:`propose`.
        """
        payload = _expect(envelope, *ROOT_ACTS)
        if isinstance(payload, PolicyAdopted):
            for name in ("protected_core", "protected_names"):
                sha256 = getattr(payload.pins, name)
                if sha256 is not None:
                    await self._check_pinned(name, sha256)
        return await self._record(envelope, payload, files, validate_only=validate_only)

    async def stop(self, envelope: Envelope, files: Sequence[bytes] = ()) -> Recorded:
        """Record a stop; when the ledger does not take it at once, nodes are told first.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: what is wrong with it.
            UnavailableError: the ledger does not have it; ``nodes_told`` says who else has. It
                is kept, and recorded as soon as the ledger takes it.
        """
        stop = _expect(envelope, OrderStopped)
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

    # Reading.

    def get(self, order_id: str, entry_index: int | None) -> OrderView:
        """Return one order: its newest version, or the one proposed by that entry.

        Raises:
            InputError: neither is given.
            NotFoundError: there is none.
        """
        state = self._ledger.state
        if not order_id and entry_index is None:
            raise InputError(
                "no order is named", advice="Give order_id, entry_index, or both.", field="order_id"
            )
        if entry_index is None:
            entry_index = next(reversed(state.versions.get(order_id, [])), None)
        record = state.orders.get(-1 if entry_index is None else entry_index)
        if record is None or (order_id and record.payload.order_id != order_id):
            raise NotFoundError(
                f"no order {order_id or f'proposed by entry {entry_index}'} is in the ledger",
                advice="Check the order id; `enforcer order list` shows all.",
                field="order_id" if order_id else "entry_index",
            )
        return self._view(record, self._ledger.now_ms())

    def page(self, first_index: int, count: int, wanted: Standing | None) -> list[OrderView]:
        """Return up to `count` orders proposed by entry `first_index` or later, ascending."""
        at_ms = self._ledger.now_ms()
        records = self._ledger.state.orders.values()
        views = (self._view(record, at_ms) for record in records if record.index >= first_index)
        return list(islice((v for v in views if wanted in (None, v.standing)), count))

    def policy(self) -> PolicyRecord:
        """Return the policy in force.

        Raises:
            NotFoundError: none is adopted yet.
        """
        if self._ledger.state.policy is None:
            raise NotFoundError(
                "no policy is adopted yet",
                advice="Have the roots sign a policy, and record that first.",
            )
        return self._ledger.state.policy

    # Parts.

    def _view(self, record: OrderRecord, at_ms: int) -> OrderView:
        return OrderView(record, standing(record, at_ms), at_ms)

    async def _record(
        self,
        envelope: Envelope,
        payload: AnyPayload,
        files: Sequence[bytes],
        *,
        validate_only: bool,
    ) -> Recorded | None:
        documents = side_files.check(payload, files)
        self._ledger.judge(envelope)
        if validate_only:
            return None
        await side_files.keep(self._side, documents)
        return await self._ledger.record(envelope)

    async def _check_targets(self, order: OrderProposed) -> None:
        """Check that the list is here and that the order says of it what it is."""
        summary = await self._uploads.summary(order.target_list_sha256)
        if summary.target_count != order.target_count:
            raise RefusedError(
                f"the list has {summary.target_count} targets, not {order.target_count}",
                advice="Sign an order with the list's own count.",
                field="target_count",
            )
        if summary.name_count != summary.target_count:
            raise RefusedError(
                f"{summary.target_count - summary.name_count} targets of the list are addresses or "
                "prefixes, which cannot be ordered yet",
                advice="Order the names alone.",
                field="target_list_sha256",
            )
        if order.measure.dns is DnsMeasure.NONE or order.measure.ip is not IpMeasure.NONE:
            raise RefusedError(
                "the list has names only, and the measure does not say so",
                advice="Give measure.dns NEGATIVE or BLOCK_PAGE, and measure.ip NONE.",
                field="measure",
            )

    async def _check_pinned(self, name: str, sha256: str) -> None:
        try:
            await self._uploads.summary(sha256)
        except NotFoundError as error:
            raise NotFoundError(
                error.message,
                advice="Upload the list first: nodes must be able to read what a policy pins.",
                field=f"pins.{name}",
            ) from error

    async def _tell_nodes(self, envelope: Envelope) -> bool:
        """Show nodes a stop that was judged; tell whether the feed took it."""
        try:
            await self._publication.push_stop(envelope)
        except EnforcerError as error:
            log.warning("stop_not_pushed", problem=error.message)
            return False
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


def _expect(envelope: Envelope, *kinds: type[P]) -> P:
    """Return the payload if it is of a kind that this method takes."""
    payload = parse_payload(envelope)
    if not isinstance(payload, kinds):
        taken = ", ".join(kind.TYPE for kind in kinds)
        raise InputError(
            f"this method does not take the payload type {envelope.payload_type}",
            advice=f"Send {taken} here, or call the method for that act.",
            field="payloadType",
        )
    return payload
