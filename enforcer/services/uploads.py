"""Target lists on their way in: streamed to disk, checked in the worker, then known by hash.

A list that is no canonical list is not kept. Lists that no order and no policy names are kept
up to a number; beyond it the oldest of them makes room, and is to be brought again. Uploads go to
the disk alone: a list comes into the feed with the proposal, approval or policy that names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256 as new_sha256
from typing import Final, TypeVar

import structlog

from enforcer.core.state import State
from enforcer.core.target import LINE_BYTES_MAX, TARGETS_MAX, ListSummary
from enforcer.errors import InputError, IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import Contents, ListWork, Wraps
from enforcer.services.ledger import Ledger
from enforcer.services.list_secrets import ListSecrets

LIST_BYTES_MAX: Final = TARGETS_MAX * (LINE_BYTES_MAX + len("\n"))
SEALED_BYTES_MAX: Final = LIST_BYTES_MAX + LIST_BYTES_MAX // 4_096 + 4_096
"""An age file has 16 octets more for each 65,536, and a header (C2SP age.md)."""
UPLOADS_AT_ONCE_MAX: Final = 4
UNUSED_LISTS_MAX: Final = 256
CHUNK_WAIT_SECONDS_MAX: Final = 60
SUMMARIES_MAX: Final = 4_096

log: Final = structlog.get_logger()

T = TypeVar("T")


class Uploads:
    """The lists of one control plane."""

    def __init__(
        self,
        lists: Contents,
        wraps: Wraps,
        work: ListWork,
        ledger: Ledger,
        secrets: ListSecrets,
    ) -> None:
        self._lists = lists
        self._wraps = wraps
        self._secrets = secrets
        self._work = work
        self._ledger = ledger
        self._room = asyncio.Semaphore(UPLOADS_AT_ONCE_MAX)
        self._making_room = asyncio.Lock()
        self._summaries: dict[str, ListSummary] = {}

    async def receive(
        self, sha256: str, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> ListSummary:
        """Take a list in; one that is here already need not be sent to its end.

        Raises:
            InputError: it is not what was announced, or no canonical list (``line``, ``column``).
            UnavailableError: the disk or the worker failed, too many uploads at once, or no chunk
                came for a minute. Nothing is kept.
        """
        _check_size(size_bytes, LIST_BYTES_MAX)
        if await asyncio.to_thread(self._lists.has, sha256):
            # A damaged file, or one that a killed process had not checked yet, is sent again.
            with suppress(IntegrityError, InputError):
                return await self.summary(sha256)
        async with self._place():
            await self._store(sha256, size_bytes, chunks)
            try:
                summary = await self.summary(sha256)
            except InputError:
                if sha256 not in lists_named(self._ledger.state):  # as an order's sealed list is
                    await asyncio.to_thread(self._lists.remove, sha256)
                raise
        log.info("list_received", target_list_sha256=sha256, target_count=summary.target_count)
        return summary

    async def receive_sealed(
        self, sha256: str, size_bytes: int, chunks: AsyncIterator[bytes], wrap: bytes
    ) -> None:
        """Take a sealed list in, with its secret wrapped for this control plane.

        What is in it is looked at when an order names it, and says by which secret and hash.

        Raises:
            InputError: it is not what was announced, or the wrap is none for this control plane.
            UnavailableError: as :meth:`receive`.
        """
        _check_size(size_bytes, SEALED_BYTES_MAX)
        if not await self._is_whole(sha256):
            async with self._place():
                await self._store(sha256, size_bytes, chunks)
        await self._secrets.bring(sha256, wrap)
        log.info("sealed_list_received", sealed_sha256=sha256)

    async def _is_whole(self, sha256: str) -> bool:
        """Tell whether a file is here as its hash says; a damaged one is sent again."""

        def look() -> bool:
            hashed = new_sha256()
            try:
                for chunk in self._lists.chunks(sha256):
                    hashed.update(chunk)
            except NotFoundError:
                return False
            return hashed.hexdigest() == sha256

        return await asyncio.to_thread(look)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Have one of the few places for uploads, and room for one list more."""
        if self._room.locked():
            raise UnavailableError(
                f"{UPLOADS_AT_ONCE_MAX} lists are being uploaded already",
                advice="Send the list again in a moment.",
            )
        async with self._room:
            await self._make_room()
            yield

    async def summary(self, sha256: str) -> ListSummary:
        """Return what a list holds; it was checked in the life of this process.

        Raises:
            NotFoundError: it is not here.
            InputError: it is no canonical list.
            IntegrityError: the file has another hash.
            UnavailableError: the worker failed.
        """
        known = self._summaries.get(sha256)
        if known is not None:
            return known
        if not await asyncio.to_thread(self._lists.has, sha256):
            raise NotFoundError(
                f"no target list {sha256} is here",
                advice="Upload the list first: orders name it by the SHA-256 of its text.",
                field="target_list_sha256",
            )
        summary = await self._work.check_list(self._lists.path(sha256))
        if summary.sha256 != sha256:
            raise IntegrityError(
                f"the file of the list {sha256} hashes to {summary.sha256}",
                advice="Restore the file from a replica or a backup, or upload the list again.",
                expected=sha256,
                got=summary.sha256,
            )
        while len(self._summaries) >= SUMMARIES_MAX:
            del self._summaries[next(iter(self._summaries))]
        self._summaries[sha256] = summary
        return summary

    async def _store(self, sha256: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> None:
        received_bytes = 0
        with self._lists.writer() as writer:
            while (chunk := await _next(chunks)) is not None:
                received_bytes += len(chunk)
                if received_bytes > size_bytes:
                    break
                await _finished(writer.write, chunk)
            if received_bytes != size_bytes:
                raise InputError(
                    f"the list was announced with {size_bytes} bytes, and "
                    + ("more" if received_bytes > size_bytes else f"{received_bytes}")
                    + " came",
                    advice="Send the file as it is, with its length and hash.",
                    field="header.size_bytes",
                )
            try:
                await _finished(writer.commit, sha256)
            except IntegrityError as error:
                raise InputError(
                    error.message,
                    advice="Send the file that the hash was computed of.",
                    field="header.target_list_sha256",
                ) from error

    async def _make_room(self) -> None:
        async with self._making_room:
            names = await asyncio.to_thread(self._lists.names)
            used = lists_named(self._ledger.state)
            unused = [sha256 for sha256 in names if sha256 not in used]
            for sha256 in unused[: max(len(unused) + 1 - UNUSED_LISTS_MAX, 0)]:
                self._summaries.pop(sha256, None)
                await asyncio.to_thread(self._lists.remove, sha256)
                await asyncio.to_thread(self._wraps.forget, sha256)


def _check_size(size_bytes: int, most_bytes: int) -> None:
    if size_bytes > most_bytes:
        raise InputError(
            f"the list has {size_bytes} bytes, over {most_bytes}",
            advice=f"Split it: an order has at most {TARGETS_MAX} targets.",
            field="header.size_bytes",
        )


def lists_named(state: State) -> set[str]:
    """Return the hashes of all lists that the ledger names, in whatever order or policy."""
    return {order.payload.list_file_sha256 for order in state.orders.values()} | state.pinned


async def _finished(function: Callable[[T], object], argument: T) -> None:
    """Run it in a thread, and be done with it even when cancelled: then its file can be closed."""
    running = asyncio.ensure_future(asyncio.to_thread(function, argument))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    """Return the next chunk, or None after the last."""
    try:
        async with asyncio.timeout(CHUNK_WAIT_SECONDS_MAX):
            return await anext(chunks, None)
    except TimeoutError as error:
        raise UnavailableError(
            f"no part of the list came for {CHUNK_WAIT_SECONDS_MAX} seconds",
            advice="Send the list again.",
        ) from error
