"""Sealed lists at a node: their octets and their keys from anywhere, the lists in memory alone.

What is fetched proves itself: a wrap by the recipient that its order names, a list by its hash.
Sealed octets and wraps that were good are kept on the disk, so that a restart needs nobody. Always
true: a list that was opened is in sealed memory, on no disk, and nothing of it is said anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.core.age import recipient_of
from enforcer.core.sealed import SealedList
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.ports import (
    Contents,
    ControlLink,
    FeedSource,
    ListWork,
    OpenedList,
    Receiver,
    Wraps,
)
from enforcer.services.paths import FeedPaths

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    """Somewhere to fetch wraps from."""

    name: str
    wrap_of: Callable[[str, str], Awaitable[bytes]]
    count_fault: Callable[[str], None]


class SealedKeeper:
    """Opens the sealed lists of one node; use it from one event loop."""

    def __init__(
        self,
        *,
        contents: Contents,
        wraps: Wraps,
        work: ListWork,
        source: FeedSource | FeedPaths,
        control: ControlLink,
        receiver: Receiver | None,
        copies: Sequence[FeedSource] = (),
    ) -> None:
        """Take the parts; without a `receiver` nothing is opened before it is published."""
        self._contents = contents
        self._wraps = wraps
        self._work = work
        self._receiver = receiver
        self._sources = (
            _Source("feed", source.wrap, source.count_fault),
            _Source("control plane", control.wrap, source.count_fault),
            *(_Source("copy", copy.wrap, copy.count_fault) for copy in copies),
        )
        self._unusable: set[tuple[str, str, str]] = set()  # what is sealed is not what orders name

    async def open(
        self, of: SealedList, *, only_kept: bool = False
    ) -> tuple[OpenedList, int] | None:
        """Open a list whose octets are here, and return it with its count; None: it cannot be.

        With `only_kept` nobody is asked for a wrap.
        """
        name = of.sha256, of.sealed_sha256, of.recipient
        if name in self._unusable:
            return None
        async for secret in self._secrets(of, only_kept=only_kept):
            try:
                opened, summary = await self._work.open_list(
                    self._contents.path(of.sealed_sha256), secret, of.sha256
                )
            except (InputError, IntegrityError) as error:
                self._refuse(of, error)
                if await self._is_intact(of.sealed_sha256):
                    self._unusable.add(name)
                return None
            except EnforcerError as error:
                self._refuse(of, error)
                return None
            return opened, summary.target_count
        return None

    async def _secrets(self, of: SealedList, *, only_kept: bool) -> AsyncIterator[str]:
        """Yield the list's secret, as soon as one is found that its order names."""
        if of.secret is not None:
            yield of.secret
            return
        if self._receiver is None:
            return
        key_id = self._receiver.key_id
        kept = await asyncio.to_thread(self._read_kept, of, key_id)
        if kept is not None and (secret := self._unwrapped(of, kept, "disk")) is not None:
            yield secret
            return
        for source in () if only_kept else self._sources:
            try:
                document = await source.wrap_of(of.sealed_sha256, key_id)
            except NotFoundError:
                continue
            except EnforcerError as error:
                _log.warning(
                    "fetched no wrap",
                    order_id=of.order_id,
                    source=source.name,
                    problem=error.message,
                )
                continue
            if (secret := self._unwrapped(of, document, source.name)) is not None:
                await asyncio.to_thread(self._keep, of, key_id, document)
                yield secret
                return
            source.count_fault("a wrap is wrong")

    def _unwrapped(self, of: SealedList, document: bytes, source: str) -> str | None:
        """Return the secret in a wrap; None where it is for another receiver, or another list."""
        if self._receiver is None:
            return None
        try:
            secret = self._receiver.unwrap(document)
        except IntegrityError as error:
            problem = error.message
        else:
            if recipient_of(secret) == of.recipient:
                return secret
            problem = "it has the secret of another list"
        _log.warning("a wrap is wrong", order_id=of.order_id, source=source, problem=problem)
        return None

    def _read_kept(self, of: SealedList, key_id: str) -> bytes | None:
        try:
            return self._wraps.read(of.sealed_sha256, key_id)
        except EnforcerError as error:
            _log.warning("cannot read a wrap", order_id=of.order_id, problem=error.message)
            return None

    def _keep(self, of: SealedList, key_id: str, document: bytes) -> None:
        try:
            self._wraps.put(of.sealed_sha256, key_id, document)
        except EnforcerError as error:
            _log.warning("cannot keep a wrap", order_id=of.order_id, problem=error.message)

    async def _is_intact(self, sealed_sha256: str) -> bool:
        """Tell whether the octets on the disk are what was sealed; if not, have them go."""
        try:
            await asyncio.to_thread(self._contents.read, sealed_sha256)
        except (IntegrityError, NotFoundError):
            await asyncio.to_thread(self._contents.remove, sealed_sha256)
            return False
        except EnforcerError:
            return False
        return True

    @staticmethod
    def _refuse(of: SealedList, error: EnforcerError) -> None:
        _log.error("cannot use a sealed list", order_id=of.order_id, problem=error.message)
