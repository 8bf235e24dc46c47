"""Deltas of lists, made and applied in the list worker's process: :mod:`enforcer.core.list_delta`.

Lists are mapped and their hashes checked, deltas go through files; what is in memory is one piece
of either. What a delta makes of a list is kept only under the hash that it must have.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from enforcer._native.list_deltas import Diff, Patch
from enforcer.backends import durable
from enforcer.backends.content import ContentStore
from enforcer.backends.list_tasks import bounded_memory, mapped, replacing, verified
from enforcer.backends.sealed_table import path_of
from enforcer.core.guard_data import KIND_BYTES, kind_of
from enforcer.core.list_delta import DELTA_BYTES_MAX, delta_bytes_max
from enforcer.core.target import LINE_BYTES_MAX, TARGETS_MAX, ListKind
from enforcer.errors import InputError

PIECE_BYTES: Final = 1 << 20
LIST_BYTES_MAX: Final = TARGETS_MAX * (LINE_BYTES_MAX + 1)


def diff(base: Path, path: Path, to: Path) -> bool:
    """Write the delta of two checked lists, named by their hashes, to `to`; False: there is none.

    Raises:
        IntegrityError: a list does not have the hash that names it.
        UnavailableError: a list cannot be read, the delta not written, or memory has run out.
    """
    durable.make_directory(to.parent)
    with bounded_memory(), verified(base.name, base) as old, verified(path.name, path) as new:
        kinds = {kind_of(bytes(text[:KIND_BYTES])) for text in (old, new)}
        size_bytes_max = delta_bytes_max(len(new)) if kinds == {ListKind.TARGETS} else 0
        if not size_bytes_max:
            return False
        if not 0 < sum(map(len, _pieces(Diff(old, new), size_bytes_max))) <= size_bytes_max:
            return False
        with replacing(durable.temporary_of(to), to) as file:
            for piece in _pieces(Diff(old, new)):
                file.write(piece)
    return True


def patch(base: Path, delta: Path, target: Path) -> None:
    """Make the list that `target` names of the one that `base` names, durably.

    Raises:
        InputError: it is no delta of this base.
        IntegrityError: the base, or what was made, has not the hash that it must (``expected``).
        UnavailableError: a file cannot be read or written, or memory has run out.
    """
    store = ContentStore(target.parent, size_bytes_max=LIST_BYTES_MAX)
    with (
        bounded_memory(),
        verified(base.name, base) as old,
        mapped(delta) as text,
        store.writer() as writer,
    ):
        for piece in _pieces(Patch(old, text)):
            writer.write(piece)
        writer.commit(target.name)


@asynccontextmanager
async def spooled(delta: AsyncIterator[bytes], directory: Path) -> AsyncIterator[Path]:
    """Have a delta in a file without a name, on the disk of `directory`; it is gone at the end.

    Raises:
        InputError: it is longer than any.
        UnavailableError: the disk does not take it.
    """
    size_bytes = 0
    with durable.reporting(directory, "write in"), tempfile.TemporaryFile(dir=directory) as file:
        async for chunk in delta:
            size_bytes += len(chunk)
            if size_bytes > DELTA_BYTES_MAX:
                raise InputError(
                    f"the delta has over {DELTA_BYTES_MAX} octets",
                    advice="Fetch the whole list.",
                    field="delta",
                )
            await asyncio.to_thread(file.write, chunk)
        file.flush()
        yield path_of(file.fileno())


def _pieces(walk: Diff | Patch, size_bytes_max: int = LIST_BYTES_MAX) -> Iterator[bytes]:
    """Yield what a walk writes; no more than the piece that goes over the bound."""
    room, size_bytes = bytearray(PIECE_BYTES), 0
    while size_bytes <= size_bytes_max and (size := walk.fill(room)):
        size_bytes += size
        yield bytes(room[:size])
