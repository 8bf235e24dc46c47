"""Tables as the gate process holds them: checked, mapped from sealed memory, kept on disk.

Owns what a gate refuses (unsealed, damaged, of another ledger, older than its own) and the last
good table in the state directory. Always true: the octets behind a HeldTable cannot change or
vanish, for it is never a file that is mapped (one that is cut short is a SIGBUS).
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enforcer._native.probe import Table, body_sha256
from enforcer.backends.durable import (
    remove_quietly,
    reporting,
    sync_directory,
    temporary_of,
)
from enforcer.backends.gate_messages import TABLE_BYTES_MAX, is_sealed, seal
from enforcer.errors import ConflictError, IntegrityError, NotFoundError

LAST_GOOD_NAME: Final = "last-good.table"
PRIVATE_MODE: Final = 0o600
"""The table holds the node's hash secret."""

_AGAIN: Final = "Compile the table again from this gate's ledger; the gate keeps what it has."


@dataclass(frozen=True, slots=True)
class HeldTable:
    """A table that passed every check that needs no other table."""

    octets: mmap.mmap
    table: Table
    loaded_at_ms: int

    def body_sha256(self) -> str:
        """Hash the octets again, as they are now, and return the checksum in hex."""
        return body_sha256(self.octets)


def open_table(fd: int, origin: str) -> HeldTable:
    """Map the sealed memfd `fd` and check what is in it; `fd` may be closed afterwards.

    Raises:
        IntegrityError: it is not sealed, is damaged, or belongs to another ledger.
    """
    if not is_sealed(fd):
        raise _refusal("it is not in sealed memory, so it could change while it is used")
    size = os.fstat(fd).st_size
    if not 0 < size <= TABLE_BYTES_MAX:
        raise _refusal(f"it has {size} bytes")
    # Private, though read only: before Linux 6.7 a sealed memfd cannot be mapped shared.
    octets = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    table = Table(octets)
    if table.header.origin_sha256 != hashlib.sha256(origin.encode("utf-8")).hexdigest():
        raise _refusal(f"it belongs to another ledger than {origin}")
    return HeldTable(octets, table, time.time_ns() // 1_000_000)


def refuse_older(new: HeldTable, present: HeldTable | None) -> None:
    """Let a table follow only one of no larger ledger and, if it is the same, no later floor.

    Raises:
        ConflictError: `new` would take the gate back in time.
    """
    if present is None:
        return
    ours, theirs = present.table.header, new.table.header
    if (theirs.ledger_size, theirs.time_floor_ms) < (ours.ledger_size, ours.time_floor_ms):
        raise ConflictError(
            f"the table is refused: it is of ledger size {theirs.ledger_size} and time floor "
            f"{theirs.time_floor_ms} ms, older than {ours.ledger_size} and {ours.time_floor_ms} ms",
            advice="Compile a table from the ledger's present size, with no earlier time floor.",
            ledger_size=theirs.ledger_size,
            present_ledger_size=ours.ledger_size,
            present_time_floor_ms=ours.time_floor_ms,
        )


class LastGood:
    """The table that a restarted gate begins with."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / LAST_GOOD_NAME

    def keep(self, held: HeldTable) -> None:
        """Put the very octets that are in use on the disk, durably.

        Raises:
            UnavailableError: the disk is full or failed; the file there is as it was.
        """
        temporary = temporary_of(self.path)
        try:
            with reporting(self.path, "write"):
                temporary.unlink(missing_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                with (
                    os.fdopen(os.open(temporary, flags, PRIVATE_MODE), "wb", buffering=0) as file,
                    memoryview(held.octets) as octets,
                ):
                    written = 0
                    while written < len(octets):
                        written += file.write(octets[written : written + (1 << 24)])
                    os.fsync(file.fileno())
                temporary.replace(self.path)
        except BaseException:
            remove_quietly(temporary)
            raise
        sync_directory(self.path.parent)

    def open(self, origin: str) -> HeldTable:
        """Copy the file into sealed memory and check it as if it had just come.

        Raises:
            NotFoundError: there is none yet.
            IntegrityError: it is damaged or of another ledger.
            UnavailableError: it cannot be read.
        """
        with reporting(self.path, "look at"):  # the user that this became may not get there
            is_there = self.path.exists()
        if not is_there:
            raise NotFoundError(
                f"{self.path} does not exist",
                advice="Start the node: it hands over a table.",
                path=str(self.path),
            )
        fd = os.memfd_create("enforcer-last-good", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with reporting(self.path, "read"), self.path.open("rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size <= TABLE_BYTES_MAX:
                    while os.sendfile(fd, file.fileno(), None, 1 << 24):
                        pass
            seal(fd)
            return open_table(fd, origin)
        finally:
            os.close(fd)


def _refusal(what: str) -> IntegrityError:
    return IntegrityError(f"the table is refused: {what}", advice=_AGAIN)
