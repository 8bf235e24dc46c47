"""The audit's wiring: a ledger's directory, live or a copy, and a trust; offline.

Reads only, so it works on a directory without rights to write and while the control plane
appends: the audit is then of the checkpoint that was there when it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from enforcer.app.audit_files import DiskDocuments, DiskLists
from enforcer.backends import durable
from enforcer.backends.batch_files import BatchFiles
from enforcer.backends.guard_store import GuardStore
from enforcer.backends.keys import verify
from enforcer.backends.ledger_lists import LedgerLists
from enforcer.backends.piece_store import PieceStore
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.note import NOTE_BYTES_MAX, Note, VerifierKey
from enforcer.core.receipt import RECEIPT_BYTES_MAX, Receipt, verify_receipt
from enforcer.core.tile import ENTRY_BYTES_MAX
from enforcer.core.trust import Trust
from enforcer.errors import InputError, IntegrityError, NotFoundError
from enforcer.services.audit import Audit, Evidence, Progress, Summary, damaged
from enforcer.services.audit_claims import KeptAttestation
from enforcer.services.findings import Finding, Severity, worst

__all__ = [
    "Finding",
    "Proved",
    "Severity",
    "Summary",
    "audit_directory",
    "check_receipt",
    "earlier_in",
    "kept_attestations",
    "open_ledger",
    "read_note",
    "worst",
]

ATTESTATION_BYTES_MAX: Final = 65_535


def open_ledger(directory: Path, trust: Trust) -> TileLedger:
    """Open a ledger's directory to read it.

    Raises:
        NotFoundError: it holds no ledger.
        IntegrityError: the checkpoint is not signed by the trusted key, or the files under it
            are not what it says.
    """
    key = VerifierKey.parse(trust.log_vkey)
    ledger = TileLedger.open(directory, origin=trust.origin, vkey=key, verify=verify, writer=False)
    if ledger.checkpoint_note is None:
        raise NotFoundError(
            f"there is no checkpoint in {directory}",
            advice="Name the directory of a ledger: the one that has the file `checkpoint`.",
            path=str(directory),
        )
    return ledger


def audit_directory(
    directory: Path,
    trust: Trust,
    *,
    as_of_ms: int,
    earlier: Sequence[Path] = (),
    progress: Progress | None = None,
    identity: str | None = None,
    must_open: bool = False,
) -> tuple[Summary, Iterator[Finding]]:
    """Return the audit of a directory: the summary is whole when the findings have ended.

    `identity` is the secret of an age identity, for sealed lists; with `must_open` each of them
    that stays closed is a finding.

    Raises:
        NotFoundError, UnavailableError: the directory or an earlier checkpoint cannot be read.
        InputError: a file that should be an earlier checkpoint is no signed note.
    """
    # Before the checkpoint: what a node of a live ledger attests later is not in this tree.
    attestations = kept_attestations(directory / "attestations")
    notes = [read_note(path) for path in (*earlier, *earlier_in(directory))]
    try:
        ledger = open_ledger(directory, trust)
    except IntegrityError as error:
        return Summary(trust.origin), iter([damaged(error)])
    documents = DiskDocuments(ledger.side)
    beside = LedgerLists(ledger.lists, ledger.wraps, identity)
    lists, guards = DiskLists(beside), GuardStore(beside)
    batches, pieces = BatchFiles(directory / "batches"), PieceStore(beside)
    evidence = Evidence(
        ledger, lists, documents, guards, guards, pieces, batches, attestations, notes
    )
    audit = Audit(evidence, trust, verify, as_of_ms, progress, must_open=must_open)
    return audit.summary, audit.findings()


def kept_attestations(directory: Path) -> list[KeptAttestation]:
    """Return what is kept under ``<node>/<t_ms>-<ledger_size>.json``; none is read yet.

    Ascending by place, which is the name below the ledger's directory.
    """
    kept = []
    for path in directory.glob("*/*.json"):
        size = path.stem.partition("-")[2]
        read = partial(durable.read_file, path, size_bytes_max=ATTESTATION_BYTES_MAX)
        place = str(path.relative_to(directory.parent))
        kept.append(KeptAttestation(place, int(size) if size.isdecimal() else 0, read))
    return sorted(kept, key=lambda each: each.place)


def earlier_in(directory: Path) -> list[Path]:
    """Return the earlier checkpoints that lie beside a ledger, below ``checkpoints``."""
    return sorted((directory / "checkpoints").glob("*-*"))


def read_note(path: Path) -> bytes:
    """Read what should be an earlier checkpoint; who signed it is for the audit to say.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is no signed note.
    """
    data = durable.read_file(path, size_bytes_max=NOTE_BYTES_MAX)
    try:
        Note.parse(data)
    except IntegrityError as error:
        raise InputError(
            f"{path} is no signed note: {error.message}",
            advice="Name a copy of a ledger's file `checkpoint`.",
            path=str(path),
        ) from error
    return data


@dataclass(frozen=True, slots=True)
class Proved:
    """What a receipt proves."""

    index: int
    checkpoint: Checkpoint
    witnesses: dict[str, int]
    """Who cosigned the checkpoint, by name, and when (Unix time, seconds)."""


def check_receipt(receipt: Path, entry: Path, trust: Trust) -> Proved:
    """Verify a receipt for an entry, offline, with the cosignatures that the trust asks for.

    Raises:
        NotFoundError, UnavailableError: a file cannot be read.
        IntegrityError: it does not prove that the entry is in the trusted ledger.
    """
    proof = Receipt.parse(durable.read_file(receipt, size_bytes_max=RECEIPT_BYTES_MAX))
    leaf = durable.read_file(entry, size_bytes_max=ENTRY_BYTES_MAX)
    if not leaf:
        raise InputError(
            f"{entry} is empty", advice="Name the file with the entry's bytes.", path=str(entry)
        )
    key = trust.key_of(proof.checkpoint_note)
    checkpoint = verify_receipt(proof, leaf, trust.origin, key, verify, trust.witnesses)
    cosigned = trust.witnesses.cosigned(Note.parse(proof.checkpoint_note), verify)
    return Proved(proof.index, checkpoint, {key.name: at for key, at in cosigned.items()})
