"""``enforcer order propose``: a loose list and an order's file become a signed proposal."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from enforcer.cli.guard_findings import keep_findings, tell_held
from enforcer.cli.list_file import (
    BadLinesMax,
    Column,
    Format,
    Kind,
    Sink,
    read_list,
    reading_of,
)
from enforcer.cli.order_file import OrderFile
from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    busy,
    emit_json,
    now_ms,
    out,
    progress,
)
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm, tell
from enforcer.errors import InputError, RefusedError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.people import Person
    from enforcer.core.envelope import Envelope
    from enforcer.core.order import OrderProposed
    from enforcer.core.target import ListSummary

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
    form: Format = "auto",
    kind: Kind = None,
    column: Column = None,
    sink: Sink = None,
    bad_lines_max: BadLinesMax = None,
    ip_measure: Annotated[
        Literal["reject", "drop"] | None,
        typer.Option(help="What happens to packets of addresses, whatever the file says."),
    ] = None,
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
    from enforcer.app.people import Person
    from enforcer.config import read

    person = Person.load(config, key)
    written = read(order, OrderFile)
    if ip_measure is not None:
        written = written.with_ip_measure(ip_measure)
    reading = reading_of(form, kind, column, sink, bad_lines_max)
    documents = [side_file(_reasons(written, reasons))]
    documents += [side_file(_document(path)) for path in ([decision] if decision else [])]
    documents += [side_file(_document(path)) for path in evidence or ()]
    hashes = [sha256(document).hexdigest() for document in documents]
    with TemporaryDirectory(prefix="enforcer-") as scratch:
        canonical = Path(scratch) / "targets"
        _, checked = read_list(targets, canonical, reading, leave_out=leave_out)
        payload = _payload(written, person, checked, hashes, has_decision=decision is not None)
        act = signed(payload)  # refuses what is out of bounds before anybody reads it
        confirm(payload, yes=yes)
        act = signed(payload, person.key)
        asyncio.run(
            _send(
                person,
                act,
                targets,
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
    targets: Path,
    canonical: Path,
    documents: list[bytes],
    *,
    validate_only: bool,
    receipt: Path | None,
    as_json: bool,
) -> None:
    async with person.client() as client:
        await _upload(client, canonical)
        try:
            with busy("have it judged"):
                proof, said = await client.propose_held(act, documents, validate_only=validate_only)
        except RefusedError as error:
            name = error.data.get("report_sha256")
            if isinstance(name, str):
                keep_findings(targets, canonical, await client.guard_report(name))
            raise
    held: dict[str, object] = {}
    if said.findings:
        held["report"] = str(keep_findings(targets, canonical, said.guard_report))
        held["held_by"] = tell_held(said.findings)
    if proof is not None:
        tell("Proposed.", proof, receipt, as_json=as_json, more=held)
    elif as_json:
        emit_json({"valid": True, **held})
    elif held:
        out().print("[green]It would be accepted[/] and put on hold. Nothing was recorded.")
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
        summary=summary,
        reasons_sha256=hashes[0],
        decision_sha256=hashes[1] if has_decision else None,
        evidence_sha256=tuple(hashes[2 if has_decision else 1 :]),
    )


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
