"""``enforcer order propose``: a loose list and an order's file become a signed proposal."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.order_file import OrderFile
from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    busy,
    emit_json,
    err,
    now_ms,
    out,
    progress,
)
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm, tell
from enforcer.cli.words import choice
from enforcer.core.target import TargetKind
from enforcer.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.people import NormaliseReport, Person
    from enforcer.core.envelope import Envelope
    from enforcer.core.order import OrderProposed
    from enforcer.core.target import ListSummary

FAULTS_SHOWN_MAX = 20
DOCUMENT_BYTES_MAX = 1_000_000


def propose(
    *,
    targets: Annotated[Path, typer.Option(help="The list, as people write it.")],
    order: Annotated[Path, typer.Option(help="The order's file (order.toml).")],
    reasons: Annotated[
        Path | None, typer.Option(help="Statement of reasons, if not in the order's file.")
    ] = None,
    decision: Annotated[Path | None, typer.Option(help="Text of the decision.")] = None,
    evidence: Annotated[list[Path] | None, typer.Option(help="May be repeated.")] = None,
    kind: Annotated[
        str, typer.Option(help="What a bare name means: exact (it alone) or subtree.")
    ] = "exact",
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out lines with faults, and say which.")
    ] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Have it judged, and record nothing.")
    ] = False,
    key: Key = None,
    yes: Yes = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Propose an order; it blocks nothing yet."""
    from enforcer.app.acts import side_file, signed
    from enforcer.app.people import Person, normalise
    from enforcer.config import read

    person = Person.load(config, key)
    written = read(order, OrderFile)
    if not targets.exists():
        raise NotFoundError(
            f"there is no file {targets}", advice="Name the target list.", path=str(targets)
        )
    documents = [side_file(_reasons(written, reasons))]
    documents += [side_file(_document(path)) for path in ([decision] if decision else [])]
    documents += [side_file(_document(path)) for path in evidence or ()]
    hashes = [sha256(document).hexdigest() for document in documents]
    with TemporaryDirectory(prefix="enforcer-") as scratch:
        canonical = Path(scratch) / "targets"
        with busy("normalise the list"):
            wanted = choice(TargetKind, kind, "kind")
            report, summary = asyncio.run(normalise(targets, canonical, wanted))
        checked = _check_faults(targets, report, summary, leave_out=leave_out)
        payload = _payload(written, person, checked, hashes, has_decision=decision is not None)
        act = signed(payload)  # refuses what is out of bounds before anybody reads it
        confirm(payload, yes=yes)
        act = signed(payload, person.key)
        asyncio.run(
            _send(
                person,
                act,
                canonical,
                documents,
                validate_only=validate_only,
                receipt=receipt,
                as_json=as_json,
            )
        )


async def _send(
    person: Person,
    act: Envelope,
    canonical: Path,
    documents: list[bytes],
    *,
    validate_only: bool,
    receipt: Path | None,
    as_json: bool,
) -> None:
    async with person.client() as client:
        await _upload(client, canonical)
        with busy("have it judged"):
            proof = await client.propose(act, documents, validate_only=validate_only)
    if proof is not None:
        tell("Proposed.", proof, receipt, as_json=as_json)
    elif as_json:
        emit_json({"valid": True})
    else:
        out().print("[green]It would be accepted.[/] Nothing was recorded.")


async def _upload(client: ControlClient, canonical: Path) -> None:
    with progress() as advance:
        await client.upload_targets(
            canonical, lambda done, total: advance("upload the list", done, total)
        )


def _payload(
    written: OrderFile,
    person: Person,
    summary: ListSummary,
    hashes: list[str],
    *,
    has_decision: bool,
) -> OrderProposed:
    from enforcer.app.acts import Common

    now = now_ms()
    return written.payload(
        Common.new(person.trust.origin, now),
        now,
        target_list_sha256=summary.sha256,
        target_count=summary.target_count,
        reasons_sha256=hashes[0],
        decision_sha256=hashes[1] if has_decision else None,
        evidence_sha256=tuple(hashes[2 if has_decision else 1 :]),
    )


def _check_faults(
    targets: Path, report: NormaliseReport, summary: ListSummary | None, *, leave_out: bool
) -> ListSummary:
    """Show the lines that can be no targets; refuse them unless they are to be left out."""
    for fault in report.faults[:FAULTS_SHOWN_MAX]:
        place = f"{targets}:{fault.line}:{fault.column}"
        err().print(f"{escape(place)}: {escape(_without_place(fault.message))}")
    unshown = report.fault_count - min(len(report.faults), FAULTS_SHOWN_MAX)
    if unshown:
        err().print(f"… and {unshown} more")
    if report.fault_count and not leave_out:
        first = report.faults[0]
        raise InputError(
            f"{report.fault_count} lines of {targets} can be no targets; the first is line "
            f"{first.line}, column {first.column}: {_without_place(first.message)}",
            advice="Correct them, or propose the order without them: --leave-out.",
            field="targets",
            line=first.line,
            column=first.column,
        )
    if summary is None:
        raise InputError(
            f"{targets} has no target in it",
            advice="Write one target a line: a name, 'ip' and an address, or 'net' and a prefix.",
            field="targets",
        )
    return summary


def _without_place(message: str) -> str:
    """Return a fault's words without the line and column that stand before them already."""
    return message.partition(": ")[2] if message.startswith("line ") else message


def _reasons(written: OrderFile, path: Path | None) -> bytes:
    if path is not None:
        return _document(path)
    if written.reasons is not None:
        return written.reasons.encode("utf-8")
    raise InputError(
        "the order has no statement of reasons",
        advice='Write reasons = "…" into the order\'s file, or name a file: --reasons.',
        field="reasons",
    )


def _document(path: Path) -> bytes:
    from enforcer.app.keys import read_document

    return read_document(path, DOCUMENT_BYTES_MAX)
