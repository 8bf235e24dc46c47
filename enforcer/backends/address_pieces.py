"""Pieces for the firewall from lists on disk: :class:`enforcer.ports.PieceWork`.

What was read is kept, packed: an order that begins is read once, and one that ends is not read
again. The work is native, without the GIL, in two threads of this process: one for lists, and
one for what must not wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeAlias

from enforcer._native import networks, packed
from enforcer.backends.list_tasks import bounded_memory, mapped, verified
from enforcer.backends.sealing import SALT_OCTETS
from enforcer.core.firewall import FirewallRow, Pieces, pieces_digest
from enforcer.core.pieces import keep_rows
from enforcer.core.table import OrderRow
from enforcer.core.target import parse_line
from enforcer.ports import FlatPieces, PieceJob

RowKey: TypeAlias = tuple[str, int, tuple[str, ...]]
"""List, measure and overrides of a row: all but its index that its pieces depend on."""


class ReadLists:
    """The addresses of the lists that were read last; not to be used by two threads at once."""

    def __init__(self) -> None:
        self._held: networks.Networks | None = None
        self._keys: dict[int, RowKey] = {}
        self._salts: dict[int, bytes] = {}
        self._protections: tuple[str | None, str | None] = (None, None)

    def flatten(self, job: PieceJob) -> FlatPieces:
        """Return the pieces of all orders of `job` together.

        Raises:
            IntegrityError: a list does not have its SHA-256, which is ``expected`` in the data.
            InputError: a list is not canonical, or there are too many pieces.
            UnavailableError: a list cannot be read, or memory has run out.
        """
        wanted = {row.index: _key(row) for row, _ in job.orders}
        with bounded_memory():
            held = self._present(job)
            for index, key in list(self._keys.items()):
                if wanted.get(index) != key:
                    held.remove(index)
                    del self._keys[index]
                    self._salts.pop(index, None)
            for row, path in job.orders:
                if row.index in self._keys:
                    continue
                overrides = [parse_line(line.encode("ascii")) for line in row.overrides]
                with verified(row.target_list_sha256, path, job.salted) as text:
                    held.add(row.index, row.ip_measure, text, overrides=overrides)
                if row.target_list_sha256 in job.salted:
                    with mapped(path) as text:
                        self._salts[row.index] = bytes(text[:SALT_OCTETS])
                self._keys[row.index] = wanted[row.index]
            return FlatPieces(held.pieces(), dict(self._salts))

    def _present(self, job: PieceJob) -> networks.Networks:
        """Return what is held already, if it is under the protections of `job`, or a new one."""
        pins = [job.protected_core, job.protected_names]
        core_sha256, names_sha256 = (pin[0] if pin is not None else None for pin in pins)
        if self._held is None or self._protections != (core_sha256, names_sha256):
            with ExitStack() as stack:
                core, protected = (
                    stack.enter_context(verified(*pin)) if pin is not None else None for pin in pins
                )
                self._held = networks.Networks(core=core, protected=protected)
            self._keys, self._salts = {}, {}
            self._protections = core_sha256, names_sha256
        return self._held


class PieceWorker:
    """The pieces of one firewall; use it from one event loop, and `close` it at the end."""

    def __init__(self) -> None:
        self._lists = ThreadPoolExecutor(1, "pieces")
        self._quick = ThreadPoolExecutor(1, "pieces-quick")
        self._read = ReadLists()

    async def flatten(self, job: PieceJob) -> FlatPieces:
        """Return the pieces of all orders of `job` together.

        Raises:
            IntegrityError, InputError, UnavailableError: as `ReadLists.flatten`.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._lists, self._read.flatten, job)

    async def diff(self, old: Pieces, new: Pieces) -> tuple[Pieces, Pieces]:
        """Return what to take out of `old` and what to bring, so that it becomes `new`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._quick, packed.diff, old, new)

    async def keep_rows(self, pieces: Pieces, rows: Collection[int]) -> Pieces:
        """Return the pieces of these rows alone."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._quick, keep_rows, pieces, rows)

    async def digest(
        self, pieces: Pieces, rows: Collection[FirewallRow], salts: Mapping[int, bytes]
    ) -> str:
        """Return the digest of core.firewall.pieces_digest; nothing else waits for it."""
        return await asyncio.to_thread(pieces_digest, pieces, rows, salts)

    def close(self) -> None:
        """Let the threads end once they have done what they do."""
        self._lists.shutdown(wait=False)
        self._quick.shutdown(wait=False)


def _key(row: OrderRow) -> RowKey:
    return row.target_list_sha256, row.ip_measure, row.overrides
