"""``enforcer ledger backup``: a copy of a ledger's files, verified, in a directory of its own.

Safe beside a control plane that serves: what its checkpoint covers when this begins is copied, and
the copy's checkpoint is replaced last. Refuses to put an older ledger over a newer one, and
another history over any. A backup is a ledger's directory: every audit reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from enforcer.app.audit import open_ledger
from enforcer.app.ledger_copying import (
    Copied,
    check_content,
    copy_beside,
    copy_entries,
    other_files,
)
from enforcer.backends.keys import verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.entry import parse
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, InputError, IntegrityError
from enforcer.services.audit import Progress


@dataclass(slots=True)
class BackedUp:
    """What a backup has now, and what it had before."""

    size: int
    root: str
    recorded_at_ms: int
    """Of its last entry."""
    former_size: int
    former_recorded_at_ms: int | None
    """Of its last entry before this; None: it was empty."""
    copied: Copied = field(default_factory=Copied)
    damaged: list[str] = field(default_factory=list)
    """Files of the ledger that were left out, or, in a full check, of the backup."""


def back_up(
    ledger_dir: Path, to: Path, trust: Trust, *, is_full: bool, progress: Progress
) -> BackedUp:
    """Bring the backup in `to` up to the ledger; what was copied is hashed, `is_full` everything.

    Raises:
        InputError: one directory is in the other.
        NotFoundError: there is no ledger.
        ConflictError: the backup is newer than the ledger, or somebody writes it.
        IntegrityError: a file is damaged, or the two are of different histories.
        UnavailableError: something cannot be read, or the disk did not take it; then the backup
            is as before.
    """
    _check_apart(ledger_dir, to)
    others = other_files(ledger_dir)
    with open_ledger(ledger_dir, trust) as source, _opened(to, trust) as target:
        _check_goes_on(source, target)
        done = BackedUp(
            source.size,
            source.root.hex(),
            _last_ms(source) or 0,
            target.size,
            _last_ms(target),
        )
        copy_beside(source, others, to, done.copied, replace=True)
        copy_entries(source, target, done.copied, progress)
        done.damaged += done.copied.damaged
        if is_full:
            target.verify_all(lambda at, total: progress("check entries", at, total))
            done.damaged += check_content(to, progress)
    return done


def _opened(to: Path, trust: Trust) -> TileLedger:
    strange = sorted(
        path.name
        for path in (to.iterdir() if to.is_dir() else ())
        if not (to / "begun").exists() and path.name not in ("tile", "lists", "side", "lock")
    )
    if strange:
        raise ConflictError(
            f"{to} is no backup of a ledger: it has {strange[0]} in it",
            advice="Name a directory for the backup alone; it is made if it does not exist.",
            path=str(to),
        )
    key = VerifierKey.parse(trust.log_vkey)
    return TileLedger.open(to, origin=trust.origin, vkey=key, verify=verify, writer=True)


def _check_apart(ledger_dir: Path, to: Path) -> None:
    source, target = ledger_dir.resolve(), to.resolve()
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise InputError(
            f"{to} and {ledger_dir} are not apart",
            advice="Name a directory on another disk for the backup.",
            path=str(to),
        )


def _check_goes_on(source: TileLedger, target: TileLedger) -> None:
    if target.size > source.size:
        raise ConflictError(
            f"the backup has {target.size} entries, and the ledger {source.size}: it would become "
            "older",
            advice="Find out why the ledger went back before anything else; the backup stays.",
            expected=target.size,
            got=source.size,
        )
    if target.size and source.root_at(target.size) != target.root:
        raise IntegrityError(
            f"the ledger and its backup are of two histories, within {target.size} entries",
            advice="Keep both, together they prove it: enforcer audit diff says where they part.",
            problem="split view",
            size=target.size,
        )


def _last_ms(ledger: TileLedger) -> int | None:
    """Return when the last entry was recorded; None: there is none."""
    if not ledger.size:
        return None
    (leaf,) = ledger.entries(ledger.size - 1, ledger.size)
    return parse(leaf).recorded_at_ms
