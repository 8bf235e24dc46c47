"""Tables as the gate's supervisor holds them: checked, in sealed memory, handed to workers.

Owns what a gate refuses: unsealed, damaged, of another ledger, older than its own. Always true:
the octets behind a HeldTable cannot change or vanish, for it is never a file that is mapped (one
that is cut short is a SIGBUS). All processes of the gate map the same memory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from enforcer._native.probe import Table, body_sha256
from enforcer.backends.gate_messages import TABLE_BYTES_MAX, is_sealed
from enforcer.errors import ConflictError, IntegrityError

_AGAIN: Final = "Compile the table again from this gate's ledger; the gate keeps what it has."


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class HeldTable:
    """A table that passed every check that needs no other table."""

    octets: mmap.mmap
    table: Table
    fd: int
    """Of the sealed memory; closed when nobody holds this any more."""

    def body_sha256(self) -> str:
        """Hash the octets again, as they are now, and return the checksum in hex."""
        return body_sha256(self.octets)


@dataclass(frozen=True, slots=True)
class Tables:
    """What a gate judges by."""

    base: HeldTable

    @property
    def fds(self) -> list[int]:
        """What a worker is given."""
        return [self.base.fd]

    @property
    def newest(self) -> HeldTable:
        """The one whose rows count."""
        return self.base


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
    held = HeldTable(octets, table, os.dup(fd))
    weakref.finalize(held, os.close, held.fd)
    return held


def tables_of(fds: Sequence[int], origin: str) -> Tables:
    """Map and check a base; the descriptors may be closed afterwards.

    Raises:
        IntegrityError: it is not sealed, is damaged, or belongs to another ledger.
    """
    return Tables(open_table(fds[0], origin))


def refuse_older(new: Tables, present: Tables | None) -> None:
    """Let a table follow only one of no larger ledger and, if it is the same, no later floor.

    Raises:
        ConflictError: `new` would take the gate back in time.
    """
    if present is None:
        return
    ours, theirs = present.newest.table.header, new.newest.table.header
    if (theirs.ledger_size, theirs.time_floor_ms) < (ours.ledger_size, ours.time_floor_ms):
        raise ConflictError(
            f"the table is refused: it is of ledger size {theirs.ledger_size} and time floor "
            f"{theirs.time_floor_ms} ms, older than {ours.ledger_size} and {ours.time_floor_ms} ms",
            advice="Compile a table from the ledger's present size, with no earlier time floor.",
            ledger_size=theirs.ledger_size,
            present_ledger_size=ours.ledger_size,
            present_time_floor_ms=ours.time_floor_ms,
        )


def _refusal(what: str) -> IntegrityError:
    return IntegrityError(f"the table is refused: {what}", advice=_AGAIN)
