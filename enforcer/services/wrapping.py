"""Who opens which sealed list: a wrap of its secret for each receiver, kept and shown in the feed.

Oversight and control planes get one when an order is proposed, nodes when it is approved, before
that is recorded; whoever is registered later, soon after. A published list needs none. Holds no
secret: what it wraps it gets from :class:`ListSecrets`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import structlog

from enforcer.core.entry import parse_payload
from enforcer.core.hold import HoldLifted
from enforcer.core.key import KeyRegistered, Role
from enforcer.core.order import OrderApproved, OrderProposed
from enforcer.core.state import KeyRecord
from enforcer.errors import EnforcerError
from enforcer.ports import FeedPublisher, Sealing, Wraps
from enforcer.services.keep_up import keep_up
from enforcer.services.ledger import Appended, Ledger
from enforcer.services.list_secrets import ListSecrets

RETRY_SECONDS: Final = 30.0
SHOWN_AGAIN_MAX: Final = 256
"""Wraps that are put into the feed again at a time; all those of one order together."""
_WAKING: Final = frozenset((OrderApproved.__name__, HoldLifted.__name__))

log: Final = structlog.get_logger()


class Wrapping:
    """The wraps of one ledger's sealed lists; `run` it beside everything else."""

    def __init__(
        self,
        ledger: Ledger,
        secrets: ListSecrets,
        wraps: Wraps,
        sealing: Sealing,
        feed: FeedPublisher,
    ) -> None:
        self._ledger = ledger
        self._secrets = secrets
        self._wraps = wraps
        self._sealing = sealing
        self._feed = feed
        self._made: dict[str, set[str]] = {}
        """Sealed list -> key ids that have a wrap on the disk; read once."""
        self._shown: dict[str, set[str]] = {}
        """And in the feed, as far as this process put it there."""
        self._due: set[int] = set()
        """Orders whose receivers may lack a wrap."""
        self._all_due = True
        self._last_again = -1
        """The order whose wraps were put into the feed again last, by entry index."""
        self._wake = asyncio.Event()
        ledger.on_append(self._hear)

    async def wrap_for(self, order: OrderProposed, *, blocks: bool) -> None:
        """Make what receivers lack for an order that is about to be proposed, or to block.

        Raises:
            NotFoundError: the list's secret is not here.
            UnavailableError: the disk did not take a wrap. That the feed did not is no harm.
        """
        if not order.publication.is_sealed:
            return
        self._made.pop(order.list_file_sha256, None)  # unused lists are forgotten with their wraps
        await self._wrap(order, list(self._receivers(blocks=blocks)))

    def show_again(self) -> None:
        """Put all wraps into the feed again, soon: it was emptied or altered."""
        self._shown.clear()
        self._all_due = True
        self._wake.set()

    def show_some_again(self) -> None:
        """Put some wraps into the feed again, soon, and at each call the next ones.

        Else one that was removed or altered there alone would stay so.
        """
        orders = self._ledger.state.orders
        shown = [
            index
            for index, order in orders.items()
            if order.payload.list_file_sha256 in self._shown and not order.is_public
        ]
        count = 0
        for index in [each for each in shown if each > self._last_again] or shown:
            count += len(self._shown.pop(orders[index].payload.list_file_sha256, ()))
            self._due.add(index)
            self._last_again = index
            if count >= SHOWN_AGAIN_MAX:
                break
        self._wake.set()

    async def run(self) -> None:
        """Make and show what is missing, now and after each act that may need more; for ever."""
        await keep_up(self._wake, self._catch_up, RETRY_SECONDS)

    def _hear(self, appended: Appended) -> None:
        for at, entry in enumerate(appended.entries, appended.first_index):
            if entry.kind == KeyRegistered.__name__:
                self._all_due = True
            elif entry.kind == OrderProposed.__name__:
                self._due.add(at)
            elif entry.kind in _WAKING:
                payload = parse_payload(entry.envelope)
                if isinstance(payload, OrderApproved | HoldLifted):
                    self._due.add(payload.order.entry_index)
            else:
                continue
            self._wake.set()

    async def _catch_up(self) -> bool:
        """Make and show all that is missing; tell whether nothing is left to do."""
        orders = self._ledger.state.orders
        due = list(orders) if self._all_due else sorted(self._due)
        self._due, self._all_due = set(), False
        for index in due:
            order = orders.get(index)
            if order is None or order.is_public:
                continue
            try:
                blocks = order.may_block_after(self._ledger.now_ms())
                is_done = await self._wrap(order.payload, list(self._receivers(blocks=blocks)))
            except EnforcerError as error:
                is_done = False
                log.warning(
                    "list_not_wrapped", order_id=order.payload.order_id, problem=error.message
                )
            if not is_done:
                self._due.add(index)
        return not self._due

    def _receivers(self, *, blocks: bool) -> Iterator[KeyRecord]:
        """Yield the keys in force that open lists; those of nodes only for what may block."""
        now_ms = self._ledger.now_ms()
        for key in self._ledger.state.keys.values():
            known = key.registration
            if (
                known.encryption_key is not None
                and key.revoked_index is None
                and known.not_after_ms >= now_ms
                and (blocks or known.role is not Role.NODE)
            ):
                yield key

    async def _wrap(self, order: OrderProposed, receivers: list[KeyRecord]) -> bool:
        """Make the wraps that are missing, show them all; tell whether the feed took them."""
        sealed = order.list_file_sha256
        if sealed not in self._made:
            self._made[sealed] = set(await asyncio.to_thread(self._wraps.receivers, sealed))
        made = self._made[sealed]
        missing = [each for each in receivers if each.key_id not in made]
        if missing:
            secret = await self._secrets.secret(order)
            await asyncio.to_thread(self._make, sealed, secret, missing)
            made.update(each.key_id for each in missing)
            log.info("list_wrapped", order_id=order.order_id, receivers=len(missing))
        try:
            for each in receivers:
                await self._show(sealed, each.key_id)
        except EnforcerError as error:
            log.warning("wraps_not_in_feed", order_id=order.order_id, problem=error.message)
            return False
        return True

    def _make(self, sealed: str, secret: str, receivers: list[KeyRecord]) -> None:
        wrapped = {
            each.key_id: self._sealing.wrap(secret, each.registration.encryption_key)
            for each in receivers
            if each.registration.encryption_key is not None
        }
        self._wraps.put_all(sealed, wrapped)

    async def _show(self, sealed: str, key_id: str) -> None:
        shown = self._shown.setdefault(sealed, set())
        if key_id in shown:
            return
        wrap = await asyncio.to_thread(self._wraps.read, sealed, key_id)
        if wrap is not None:
            await self._feed.put_wrap(sealed, key_id, wrap)
            shown.add(key_id)
