"""The sealed lists of a control plane: their secrets, and what is in them, in memory alone.

A list's secret comes with its upload, wrapped for this control plane's own key; that wrap is
kept, so that a restart needs nobody. A secret counts for an order when it is that of the recipient
that the order names. Refuses a list that does not open to what its order says. Always true: nothing
of a sealed list, and no secret, is written, logged or said in an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from enforcer.core.age import recipient_of
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.order import OrderProposed
from enforcer.core.target import ListSummary
from enforcer.errors import InputError, IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import Contents, ListWork, OpenedList, Sealing, Wraps
from enforcer.services.ledger import Ledger

SECRETS_MAX: Final = 4_096
"""Kept in memory; the others are unwrapped again."""


class ListSecrets:
    """The sealed lists before one ledger; use it from one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        lists: Contents,
        wraps: Wraps,
        work: ListWork,
        sealing: Sealing,
        key_id: str,
    ) -> None:
        """Take the parts; `key_id` is that of this control plane's own signing key."""
        self._ledger = ledger
        self._lists = lists
        self._wraps = wraps
        self._work = work
        self._sealing = sealing
        self._key_id = key_id
        self._secrets: dict[str, str] = {}
        """By the recipient."""
        self._summaries: dict[tuple[str, str, str | None], ListSummary] = {}

    @property
    def recipient(self) -> str:
        """For whom a proposer wraps a list's secret."""
        return self._sealing.recipient

    async def bring(self, sealed_sha256: str, wrap: bytes) -> None:
        """Keep the wrap that came with a sealed list, which is here; one that opens it stays.

        Raises:
            InputError: it is no wrap for this control plane, or of another secret than that of
                the orders that name the list.
            UnavailableError: the disk failed.
        """
        try:
            secret = self._sealing.unwrap(wrap)
        except IntegrityError as error:
            raise InputError(
                error.message,
                advice="Wrap the list's secret for the control plane's own encryption key.",
                field="header.wrap",
            ) from error
        named = self._recipients(sealed_sha256)
        if named and recipient_of(secret) not in named:
            raise InputError(
                "the secret in the wrap is that of no order that names the list",
                advice="Wrap the secret that this list was sealed with.",
                field="header.wrap",
            )
        await asyncio.to_thread(self._keep, sealed_sha256, wrap, named)

    async def secret(self, order: OrderProposed) -> str:
        """Return the secret that opens an order's list.

        Raises:
            NotFoundError: no wrap with it is here.
            UnavailableError: the disk failed.
        """
        publication = order.publication
        sealed, recipient = publication.sealed_sha256, publication.list_recipient
        if sealed is None or recipient is None:
            raise ValueError(f"the list of {order.order_id} is not sealed")
        known = self._secrets.get(recipient)
        if known is not None:
            return known
        for secret in await asyncio.to_thread(self._unwrapped, sealed):
            if recipient_of(secret) == recipient:
                while len(self._secrets) >= SECRETS_MAX:
                    del self._secrets[next(iter(self._secrets))]
                self._secrets[recipient] = secret
                return secret
        raise NotFoundError(
            f"the secret of the sealed list {sealed} is not here",
            advice="Upload the sealed list again, with its secret wrapped for the control plane.",
            field="publication.sealed_sha256",
        )

    async def check(self, order: OrderProposed) -> ListSummary:
        """Return what an order's sealed list holds, opened and checked in this process's life.

        Raises:
            NotFoundError: the list or its secret is not here.
            InputError: it does not open to what the order names, or to no canonical list.
            UnavailableError: the worker failed.
        """
        recipient = order.publication.list_recipient
        key = (order.list_file_sha256, order.target_list_sha256, recipient)
        if key not in self._summaries:
            opened, summary = await self._open(order)
            opened.close()
            while len(self._summaries) >= SECRETS_MAX:
                del self._summaries[next(iter(self._summaries))]
            self._summaries[key] = summary
        return self._summaries[key]

    @asynccontextmanager
    async def at_hand(
        self, order: OrderProposed, facts: GuardFacts
    ) -> AsyncIterator[tuple[Mapping[str, Path], frozenset[str]]]:
        """Yield where each list that a scan reads is, and which of them begin with their salt.

        Sealed ones are open for as long as this is.

        Raises:
            NotFoundError, InputError, UnavailableError: as :meth:`check`.
        """
        records = self._ledger.state.orders
        named = [order, *(records[each.order_index].payload for each in facts.relations)]
        sealed = {each.target_list_sha256: each for each in named if each.publication.is_sealed}
        opened: dict[str, OpenedList] = {}
        try:
            for sha256 in facts.lists:
                if sha256 in sealed:
                    opened[sha256], _ = await self._open(sealed[sha256])
            paths = {
                each: opened[each].path if each in opened else self._lists.path(each)
                for each in facts.lists
            }
            yield paths, frozenset(opened)
        finally:
            for each in opened.values():
                each.close()

    async def _open(self, order: OrderProposed) -> tuple[OpenedList, ListSummary]:
        sealed = order.list_file_sha256
        if not await asyncio.to_thread(self._lists.has, sealed):
            raise NotFoundError(
                f"no sealed list {sealed} is here",
                advice="Upload the sealed list first, with its secret wrapped for this control "
                "plane.",
                field="publication.sealed_sha256",
            )
        secret = await self.secret(order)
        try:
            return await self._work.open_list(
                self._lists.path(sealed), secret, order.target_list_sha256
            )
        except IntegrityError as error:
            raise InputError(
                error.message, advice=error.advice, field="publication.sealed_sha256"
            ) from None

    def _unwrapped(self, sealed_sha256: str) -> list[str]:
        """Return the secrets in all wraps that this process's key opens.

        One encryption key may have stood in several registrations.
        """
        own = self._sealing.recipient
        keys = self._ledger.state.keys
        found = []
        for key_id in self._wraps.receivers(sealed_sha256):
            record = keys.get(key_id)
            is_own = record is not None and record.registration.encryption_key == own
            if key_id != self._key_id and not is_own:
                continue
            wrap = self._wraps.read(sealed_sha256, key_id)
            try:
                found.append(self._sealing.unwrap(wrap or b""))
            except IntegrityError as error:
                raise UnavailableError(
                    "the wrap of a sealed list for this control plane cannot be opened",
                    advice="Start it with the encryption key that the wrap was made for.",
                    sealed_sha256=sealed_sha256,
                ) from error
        return found

    def _keep(self, sealed_sha256: str, wrap: bytes, named: set[str]) -> None:
        """Keep a wrap, unless there is one with the secret that orders name, or that opens."""
        with suppress(IntegrityError):  # for a key that this process had before, or spoiled
            former = self._wraps.read(sealed_sha256, self._key_id)
            if former is not None:
                secret = self._sealing.unwrap(former)
                if recipient_of(secret) in named:
                    return
                head = next(iter(self._lists.chunks(sealed_sha256)), b"")
                if not named and self._sealing.is_for(head, secret):
                    return
        self._wraps.put(sealed_sha256, self._key_id, wrap)

    def _recipients(self, sealed_sha256: str) -> set[str]:
        """Return the recipients that orders name with a sealed list."""
        shown = (order.payload.publication for order in self._ledger.state.orders.values())
        return {
            each.list_recipient
            for each in shown
            if each.sealed_sha256 == sealed_sha256 and each.list_recipient is not None
        }
