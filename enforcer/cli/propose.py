"""``enforcer order propose``: a loose list and an order's file become a signed proposal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
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
from enforcer.cli.order_flow import upload
from enforcer.cli.order_sealed import tell_key, tell_next
from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    busy,
    emit_json,
    now_ms,
    out,
)
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm, tell
from enforcer.cli.words import time_of
from enforcer.errors import InputError, NotFoundError, RefusedError

if TYPE_CHECKING:
    from enforcer.app.people import Person
    from enforcer.app.sealed_lists import SealedCopy
    from enforcer.core.envelope import Envelope
    from enforcer.core.order import OrderProposed, Publication
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
    restricted: Annotated[
        bool,
        typer.Option("--restricted", help="Hide the targets; oversight signs what --out writes."),
    ] = False,
    delayed_until: Annotated[
        str | None, typer.Option(help="Hide the targets until then; publish them by then.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="With --restricted: the act for oversight.")
    ] = None,
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
    from enforcer.app.sealed_lists import seal_list
    from enforcer.config import read
    from enforcer.core.order import Publication, PublicationMode

    _check_options(to, restricted=restricted, validate_only=validate_only, delayed=delayed_until)
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
        publication, sealed = Publication(PublicationMode.FULL, None, None, None), None
        if restricted or delayed_until is not None:
            sealed = seal_list(canonical, Path(scratch) / "sealed")
            checked = replace(checked, sha256=sealed.target_list_sha256)
            publication = sealed.publication(
                None if delayed_until is None else time_of(delayed_until, now_ms(), "delayed_until")
            )
        payload = _payload(
            written, person, checked, hashes, publication, has_decision=decision is not None
        )
        act = signed(payload)  # refuses what is out of bounds before anybody reads it
        confirm(payload, yes=yes)
        act = signed(payload, person.key)
        key_file = None
        if sealed is not None and not validate_only:
            key_file = sealed.keep_key(order, payload.order_id, person)
        if to is not None and sealed is not None and key_file is not None:
            asyncio.run(_hand_on(person, act, sealed, documents, to))
            tell_next(to, key_file, as_json=as_json)
            return
        if key_file is not None:
            tell_key(key_file)
        asyncio.run(
            _send(
                person,
                act,
                targets,
                canonical,
                sealed,
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
    sealed: SealedCopy | None,
    documents: list[bytes],
    *,
    validate_only: bool,
    receipt: Path | None,
    as_json: bool,
) -> None:
    from enforcer.app.sealed_lists import open_report

    def opened(report: bytes) -> bytes:
        return report if sealed is None else open_report(report, sealed.key.secret)

    async with person.client() as client:
        if sealed is None:
            await upload(client, canonical)
        else:
            await upload(client, sealed.path, sealed.wrap)
        try:
            with busy("have it judged"):
                proof, said = await client.propose_held(act, documents, validate_only=validate_only)
        except RefusedError as error:
            name = error.data.get("report_sha256")
            if isinstance(name, str):
                keep_findings(targets, canonical, opened(await client.guard_report(name)))
            raise
    held: dict[str, object] = {}
    if said.findings:
        held["report"] = str(keep_findings(targets, canonical, opened(said.guard_report)))
        held["held_by"] = tell_held(said.findings)
    if proof is not None:
        tell("Proposed.", proof, receipt, as_json=as_json, more=held)
    elif as_json:
        emit_json({"valid": True, **held})
    elif held:
        out().print("[green]It would be accepted[/] and put on hold. Nothing was recorded.")
    else:
        out().print("[green]It would be accepted.[/] Nothing was recorded.")


async def _hand_on(
    person: Person, act: Envelope, sealed: SealedCopy, documents: list[bytes], to: Path
) -> None:
    """Write for oversight what it has to read, sign and bring: the sealed list among it."""
    from enforcer.app.acts import write_act
    from enforcer.app.order_acts import write_documents
    from enforcer.app.sealed_lists import write_for_oversight

    async with person.client() as client:
        oversight = (await client.receivers()).oversight
        if not oversight:
            raise NotFoundError(
                "the roots have registered nobody of oversight",
                advice="Have a person of oversight registered first: enforcer trust register.",
            )
    write_documents(to, documents)
    wraps = {each.key_id: sealed.wrap(each.encryption_key) for each in oversight}
    write_for_oversight(to, sealed.path, wraps)
    write_act(to, act)


def _check_options(
    to: Path | None, *, restricted: bool, validate_only: bool, delayed: str | None
) -> None:
    """Check that the options about publication say one thing."""
    if restricted and delayed is not None:
        raise InputError(
            "targets are either restricted or published later",
            advice="Give --restricted or --delayed-until.",
            field="delayed_until",
        )
    if restricted != (to is not None):
        raise InputError(
            "a restricted proposal is written for oversight to sign, and no other is",
            advice="Give --restricted with --out FILE, or neither.",
            field="out",
        )
    if restricted and validate_only:
        raise InputError(
            "a restricted proposal is judged when oversight has signed it",
            advice="Have it judged then: enforcer order cosign FILE --validate-only.",
            field="validate_only",
        )


def _payload(
    written: OrderFile,
    person: Person,
    summary: ListSummary,
    hashes: list[str],
    publication: Publication,
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
        publication=publication,
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
