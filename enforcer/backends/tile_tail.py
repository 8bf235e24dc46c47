"""The tail of a copied ledger: what came since its tiles were written, in one file that grows.

Owns the file's form, and that a record is on the disk when `add` returns. A record is its length,
the SHA-256 of what follows, and then first index, checkpoint, leaves. Nothing here is believed:
what a record says is proven by who reads it. A crash can spoil the last one alone, since it begins
when the one before is on the disk: cut, or zeros in it, where the size came before the data. After
a fault nothing is added until the tail was cleared. What was laid stays until the next is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.note import NOTE_BYTES_MAX
from enforcer.errors import IntegrityError, NotFoundError

TAIL_FILE: Final = "tail"
LAID_FILE: Final = "tail.laid"
"""What was laid into tiles last, for who has the checkpoint from before that."""
DAMAGED_FILE: Final = "tail.damaged"
"""What could not be read, and was set aside."""
TAIL_LEAVES_MAX: Final = 64
TAIL_BYTES_MAX: Final = 1 << 18
"""Of leaves; more than either, and the tiles are written."""
FILE_BYTES_MAX: Final = 2 * (TAIL_BYTES_MAX + TAIL_LEAVES_MAX * (NOTE_BYTES_MAX + 64))
"""Twice: what was laid has what went into tiles with it."""
LOOK_BEHIND_OCTETS_MAX: Final = 1 << 20

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
        self.laid_path = directory / LAID_FILE
        self.damaged_path = directory / DAMAGED_FILE
        self._descriptor: int | None = None
        self._leaves = self._octets = 0  # that it holds
        self._in_doubt = False

    def read(self, *, is_strict: bool = True) -> list[TailPart]:
        """Return what it holds, less a last record that is not whole.

        Raises:
            IntegrityError: the file is too long, or damaged before its last whole record; unless
                `is_strict` is False, which gives what lies before that.
            UnavailableError: it cannot be read.
        """
        return self._read(self.path, is_strict=is_strict)

    def read_laid(self) -> list[TailPart]:
        """Return what was laid into tiles last, as far as it is whole.

        Read it after the tail itself, which may become this in between.

        Raises:
            UnavailableError: it cannot be read.
        """
        return self._read(self.laid_path, is_strict=False)

    def notes(self) -> list[bytes]:
        """Return the checkpoints of all whole records: behind damage, laid, and set aside, too.

        Raises:
            UnavailableError: a file cannot be read.
        """
        notes: list[bytes] = []
        for path in (self.path, self.laid_path, self.damaged_path):
            with suppress(NotFoundError, IntegrityError):
                data = durable.read_file(path, size_bytes_max=FILE_BYTES_MAX)
                at: int | None = 0
                while at is not None:
                    parts, end = _whole_records(data, at)
                    notes += [part.note for part in parts]
                    at = _next_record(data, end)
        return notes

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

    def clear(self, last: TailPart | None = None) -> None:
        """Begin a new tail: what this one had is in the tiles, and so is `last`, which follows it.

        The file stays beside the next one, for readers and copiers who have the checkpoint from
        before; not so one in doubt, since nobody knows what it holds. What stays in its place when
        it cannot be moved lies below the tiles' checkpoint, and nothing is added behind it.
        """
        with suppress(OSError):
            if self._descriptor is not None and not self._in_doubt and last is not None:
                durable.fill(self._descriptor, _record(last))
            if not self._in_doubt and self.path.exists():
                self.path.replace(self.laid_path)
        self._begin()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._in_doubt = self.path.exists()

    def set_aside(self) -> None:
        """Move a tail that cannot be read out of the way, in the place of an earlier one."""
        self._begin()
        with suppress(OSError):
            self.path.replace(self.damaged_path)
        self._in_doubt = self.path.exists()

    def close(self) -> None:
        """Close the file: nothing is added until `clear`; again is harmless."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._in_doubt = True

    def _begin(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        self._leaves = self._octets = 0

    def _read(self, path: Path, *, is_strict: bool) -> list[TailPart]:
        try:
            data = durable.read_file(path, size_bytes_max=FILE_BYTES_MAX)
        except NotFoundError:
            return []
        except IntegrityError:
            if is_strict:
                raise
            return []
        parts, end = _whole_records(data)
        if is_strict and _next_record(data, end) is not None:
            raise IntegrityError(
                f"{path} was altered: the record at octet {end} is none, and others follow",
                advice="A node that starts sets it aside and reads again from its feed what it "
                "held. Of a copied directory take another copy.",
                problem="altered",
                path=str(path),
            )
        return parts


def _whole_records(data: bytes, at: int = 0) -> tuple[list[TailPart], int]:
    """Return the records up to the first that is not whole, and where that begins."""
    parts: list[TailPart] = []
    while (found := _record_at(data, at)) is not None:
        part, at = found
        parts.append(part)
    return parts, at


def _record_at(data: bytes, at: int) -> tuple[TailPart, int] | None:
    """Return the whole record that begins there, and where it ends."""
    begin = at + _HEAD.size
    if begin > len(data):
        return None
    length, digest = _HEAD.unpack_from(data, at)
    if not _BODY.size <= length <= len(data) - begin:
        return None
    body = data[begin : begin + length]
    part = _part(body)
    if part is None or sha256(body).digest() != digest:
        return None
    return part, begin + length


def _next_record(data: bytes, at: int) -> int | None:
    """Return where a whole record begins behind one that is not; None: there is none."""
    end = min(len(data.rstrip(b"\0")), at + LOOK_BEHIND_OCTETS_MAX)
    found = (begin for begin in range(at + 1, end) if _record_at(data, begin) is not None)
    return next(found, None)


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
