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

from enforcer._native.probe import Table, TableHeader, body_sha256
from enforcer.backends.gate_messages import TABLE_BYTES_MAX, is_sealed
from enforcer.errors import ConflictError, IntegrityError

_AGAIN: Final = "Compile the table again from this gate's ledger; the gate keeps what it has."


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class HeldTable:
    """Sealed octets that passed every check, and what reads them."""

    octets: mmap.mmap
    table: Table
    """A base; or with an overlay's octets that overlay, laid over its base."""
    fd: int
    """Of the sealed memory; closed when nobody holds this any more."""

    def body_sha256(self) -> str:
        """Hash the octets again, as they are now, and return the checksum in hex."""
        return body_sha256(self.octets)


@dataclass(frozen=True, slots=True)
class Tables:
    """What a gate judges by."""

    base: HeldTable
    overlay: HeldTable | None = None

    @property
    def fds(self) -> list[int]:
        """What a worker is given."""
        return [self.base.fd] if self.overlay is None else [self.base.fd, self.overlay.fd]

    @property
    def table(self) -> Table:
        """What decides: the base, with the overlay if there is one."""
        return self.base.table if self.overlay is None else self.overlay.table

    @property
    def header(self) -> TableHeader:
        """Of the one whose rows count."""
        return self.table.overlay_header or self.table.header

    @property
    def key(self) -> tuple[str, str]:
        """The checksums of both, as they were found when they came."""
        overlay = self.table.overlay_header
        return self.table.header.body_sha256, overlay.body_sha256 if overlay is not None else ""


def tables_of(fds: Sequence[int], origin: str) -> Tables:
    """Map and check a base, and an overlay behind it; the descriptors may be closed afterwards.

    Raises:
        IntegrityError: one is not sealed, is damaged, or belongs to another ledger or base.
    """
    octets = _mapped(fds[0])
    base = _held(octets, Table(octets), fds[0], origin)
    return Tables(base) if len(fds) == 1 else laid_over(base, fds[1], origin)


def laid_over(base: HeldTable, fd: int, origin: str) -> Tables:
    """Map and check an overlay of `base`; what lay over that before is forgotten.

    Raises:
        IntegrityError: it is not sealed, is damaged, or belongs to another ledger or base.
    """
    octets = _mapped(fd)
    return Tables(base, _held(octets, base.table.with_overlay(octets), fd, origin))


def refuse_older(new: Tables, present: Tables | None) -> None:
    """Let a table follow only one of no larger ledger and, if it is the same, no later floor.

    Raises:
        ConflictError: `new` would take the gate back in time.
    """
    if present is None:
        return
    ours, theirs = present.header, new.header
    if (theirs.ledger_size, theirs.time_floor_ms) < (ours.ledger_size, ours.time_floor_ms):
        raise ConflictError(
            f"the table is refused: it is of ledger size {theirs.ledger_size} and time floor "
            f"{theirs.time_floor_ms} ms, older than {ours.ledger_size} and {ours.time_floor_ms} ms",
            advice="Compile a table from the ledger's present size, with no earlier time floor.",
            ledger_size=theirs.ledger_size,
            present_ledger_size=ours.ledger_size,
            present_time_floor_ms=ours.time_floor_ms,
        )


def _mapped(fd: int) -> mmap.mmap:
    if not is_sealed(fd):
        raise _refusal("it is not in sealed memory, so it could change while it is used")
    size = os.fstat(fd).st_size
    if not 0 < size <= TABLE_BYTES_MAX:
        raise _refusal(f"it has {size} bytes")
    # Private, though read only: before Linux 6.7 a sealed memfd cannot be mapped shared.
    return mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)


def _held(octets: mmap.mmap, table: Table, fd: int, origin: str) -> HeldTable:
    header = table.overlay_header or table.header
    if header.origin_sha256 != hashlib.sha256(origin.encode("utf-8")).hexdigest():
        raise _refusal(f"it belongs to another ledger than {origin}")
    held = HeldTable(octets, table, os.dup(fd))
    weakref.finalize(held, os.close, held.fd)
    return held


def _refusal(what: str) -> IntegrityError:
    return IntegrityError(f"the table is refused: {what}", advice=_AGAIN)
