"""The tail of a copied ledger: what came since its tiles were written, in one file that grows.

Owns the file's form, and that a record is on the disk when `add` returns. A record is its length,
the SHA-256 of what follows, and then first index, checkpoint, leaves. Nothing here is believed:
what a record says is proven by who reads it. A crash can cut the last one alone, since it begins
when the one before is on the disk. After a fault nothing is added until the tail was cleared.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.note import NOTE_BYTES_MAX
from enforcer.errors import IntegrityError, NotFoundError

TAIL_FILE: Final = "tail"
TAIL_LEAVES_MAX: Final = 64
TAIL_BYTES_MAX: Final = 1 << 18
"""Of leaves; more than either, and the tiles are written."""
FILE_BYTES_MAX: Final = TAIL_BYTES_MAX + TAIL_LEAVES_MAX * (NOTE_BYTES_MAX + 64)

_HEAD: Final = struct.Struct(">I32s")
"""The body's length, and its SHA-256."""
_BODY: Final = struct.Struct(">QII")
"""The first leaf's index, the length of the checkpoint, how many leaves there are."""
_LEAF: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class TailPart:
    """The leaves of one append, and the checkpoint that was signed for them."""

    first_index: int
    leaves: tuple[bytes, ...]
    note: bytes


class TailFile:
    """The tail of one copy; use it from one thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Take its directory; nothing is opened yet."""
        self.path = directory / TAIL_FILE
        self._descriptor: int | None = None
        self._leaves = self._octets = 0  # that it holds
        self._in_doubt = False

    def read(self) -> list[TailPart]:
        """Return what it holds, less a last record that is not whole.

        Raises:
            IntegrityError: the file is too long, or damaged before its last record.
            UnavailableError: it cannot be read.
        """
        try:
            data = durable.read_file(self.path, size_bytes_max=FILE_BYTES_MAX)
        except NotFoundError:
            return []
        return list(self._records(data))

    def has_room(self, leaves: Sequence[bytes]) -> bool:
        """Tell whether these may be added."""
        return (
            not self._in_doubt
            and self._leaves + len(leaves) <= TAIL_LEAVES_MAX
            and self._octets + sum(map(len, leaves)) <= TAIL_BYTES_MAX
        )

    def add(self, part: TailPart) -> None:
        """Write a record behind the others; it is on the disk when this returns.

        Raises:
            UnavailableError: it may or may not be; `has_room` is False until `clear`.
        """
        in_doubt, self._in_doubt = self._in_doubt, True
        if in_doubt:
            raise ValueError("a tail in doubt must be cleared first")
        with durable.reporting(self.path, "write"):
            is_new = self._descriptor is None
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL
                self._descriptor = os.open(self.path, flags, durable.PUBLIC_MODE)
            durable.fill(self._descriptor, _record(part))
        with durable.reporting(self.path, "sync"):
            os.fdatasync(self._descriptor)
        if is_new:
            durable.sync_directory(self.path.parent)
        self._leaves += len(part.leaves)
        self._octets += sum(map(len, part.leaves))
        self._in_doubt = False

    def clear(self) -> None:
        """Begin a new tail: what this one had is in the tiles.

        What stays in the file when it cannot be removed lies below the tiles' checkpoint, and
        nothing is added behind it.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._leaves = self._octets = 0
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._in_doubt = self.path.exists()

    def close(self) -> None:
        """Close the file: nothing is added until `clear`; again is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._in_doubt = True

    def _records(self, data: bytes) -> Iterator[TailPart]:
        at = 0
        while len(data) - at >= _HEAD.size:
            length, digest = _HEAD.unpack_from(data, at)
            begin, at = at + _HEAD.size, at + _HEAD.size + length
            body = data[begin:at]
            part = _part(body) if sha256(body).digest() == digest else None
            if part is not None:
                yield part
            elif at >= len(data):
                return
            else:
                raise IntegrityError(
                    f"{self.path} was altered: the record at octet {begin} is none",
                    advice="Remove the file; a node reads again from its feed what it held.",
                    problem="altered",
                    path=str(self.path),
                )


def _record(part: TailPart) -> bytes:
    body = _BODY.pack(part.first_index, len(part.note), len(part.leaves)) + part.note
    body += b"".join(_LEAF.pack(len(leaf)) + leaf for leaf in part.leaves)
    return _HEAD.pack(len(body), sha256(body).digest()) + body


def _part(body: bytes) -> TailPart | None:
    """Read a record's body; None where it is none."""
    if len(body) < _BODY.size:
        return None
    first_index, note_length, count = _BODY.unpack_from(body)
    at = _BODY.size + note_length
    note = body[_BODY.size : at]
    leaves: list[bytes] = []
    while len(leaves) < count and len(body) - at >= _LEAF.size:
        (length,) = _LEAF.unpack_from(body, at)
        at += _LEAF.size
        leaves.append(body[at : at + length])
        at += length
    is_whole = 0 < count == len(leaves) and at == len(body)
    return TailPart(first_index, tuple(leaves), note) if is_whole else None
