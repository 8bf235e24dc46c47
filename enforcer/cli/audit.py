"""``enforcer audit``: everything again, offline, against a trust alone."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.audit_export import check_proof, check_receipt, export, prove
from enforcer.cli.audit_history import diff, explain, replay
from enforcer.cli.audit_options import (
    COLOURS,
    INCOMPLETE_EXIT,
    TRUST,
    VIOLATION_EXIT,
    At,
    Identity,
    Ledger,
    Trust,
    moment,
    secret_of,
)
from enforcer.cli.audit_probe import probe
from enforcer.cli.audit_report import report
from enforcer.cli.output import (
    AsJson,
    counted,
    emit_json,
    emit_pairs,
    now_ms,
    out,
    progress,
    when,
)

if TYPE_CHECKING:
    from enforcer.app.audit import Finding, Summary

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Verify offline what is enforced, and by whose word.",
)


@app.command("verify")
def verify(
    ledger: Ledger,
    *,
    trust: Trust = TRUST,
    since: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint kept from before; may be repeated."),
    ] = None,
    at: At = None,
    identity: Identity = None,
    require_open: Annotated[
        bool, typer.Option("--require-open", help="Count sealed lists as not checked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every leaf, signature, effect, list and attestation.

    --at says when the copy was taken, if that was not just now; an archive says it itself.
    Sealed lists are counted, and looked into when they were published or --identity opens them.
    Exit code 0: all is good; 1: a rule was broken or something was altered; 2: something could
    not be checked.
    """
    from enforcer.app.audit import Severity, worst
    from enforcer.app.audit_archive import audit_copy
    from enforcer.config import read_trust

    now = now_ms()
    believed, as_of_ms, secret = read_trust(trust), moment(at, now), secret_of(identity)
    with progress() as advance:
        summary, found, of_ms = audit_copy(
            ledger,
            believed,
            now_ms=now,
            as_of_ms=as_of_ms,
            earlier=since or (),
            progress=advance,
            identity=secret,
            must_open=require_open,
        )
    severity = worst(found)
    if as_json:
        _emit(summary, found, severity.name, of_ms)
    else:
        _verdict(severity.name, attestations=summary.attestations)
        _show(summary, found, of_ms)
    if severity is Severity.VIOLATION:
        raise typer.Exit(VIOLATION_EXIT)
    if severity is Severity.INCOMPLETE:
        raise typer.Exit(INCOMPLETE_EXIT)


app.command("export")(export)
app.command("replay")(replay)
app.command("explain")(explain)
app.command("diff")(diff)
app.command("report")(report)
app.command("prove")(prove)
app.command("check-proof")(check_proof)
app.command("check-receipt")(check_receipt)
app.command("probe")(probe)


def _verdict(severity: str, *, attestations: int) -> None:
    attested = (
        "what nodes attested is what it says" if attestations else "no node attested anything"
    )
    words = {
        "NOTE": "[bold green]GOOD[/]: what the ledger says is what was lawfully signed, and "
        f"{attested}.",
        "INCOMPLETE": "[bold yellow]INCOMPLETE[/]: nothing wrong was found, and something could "
        "not be checked.",
        "VIOLATION": "[bold red]VIOLATION[/]: see below; keep this copy as evidence.",
    }
    out().print(words[severity])


def _show(summary: Summary, findings: list[Finding], as_of_ms: int) -> None:
    for finding in sorted(findings, key=lambda each: -each.severity):
        severity = finding.severity.name
        entry = f" entry {finding.index}" if finding.index is not None else ""
        place = f" ({escape(finding.place)})" if finding.place else ""
        out().print(
            f"[{COLOURS[severity]}]{severity}[/]{entry} {finding.code.name}: "
            f"{escape(finding.words)}{place}"
        )
        for note in finding.notes:
            out().print(escape(indent(note, "    ")), end="", soft_wrap=True)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.entries.items()))
    emit_pairs(
        {
            "ledger": f"{summary.origin}, {summary.size} entries, {summary.witnesses}",
            "root": summary.root or None,
            "last entry": when(summary.recorded_at_ms) if summary.recorded_at_ms else None,
            "as of": when(as_of_ms),
            "entries": kinds or None,
            "orders": f"{summary.orders_approved} approved by two persons, "
            f"{summary.orders_in_force} in force",
            "lists": f"{summary.lists} checked, {summary.targets} targets",
            "sealed lists": f"{summary.opened} opened; of {summary.sealed} orders restricted and "
            "not looked into"
            if summary.opened or summary.sealed
            else None,
            "guards": f"{counted(summary.guarded, 'approval')} judged again"
            + (f"; not always pinned: {', '.join(summary.unpinned)}" if summary.unpinned else ""),
            "documents": f"{summary.documents} here, and as they were; "
            f"{summary.documents_erased} erased by law, {summary.documents_absent} not here",
            "attestations": f"{summary.attestations} by {counted(summary.nodes, 'node')}",
            "recorded": f"{counted(summary.batches, 'interval')} of attestations checked again"
            if summary.batches
            else None,
            "firewalls": f"{counted(summary.firewalls, 'content')} computed again"
            if summary.firewalls
            else None,
        }
    )


def _emit(summary: Summary, findings: list[Finding], severity: str, as_of_ms: int) -> None:
    emit_json(
        {
            "outcome": {"NOTE": "GOOD"}.get(severity, severity),
            "origin": summary.origin,
            "size": summary.size,
            "root": summary.root,
            "recorded_at_ms": summary.recorded_at_ms,
            "as_of_ms": as_of_ms,
            "entries": dict(sorted(summary.entries.items())),
            "orders_approved": summary.orders_approved,
            "orders_in_force": summary.orders_in_force,
            "lists": summary.lists,
            "sealed": summary.sealed,
            "opened": summary.opened,
            "targets": summary.targets,
            "guarded": summary.guarded,
            "unpinned": list(summary.unpinned),
            "documents": summary.documents,
            "documents_erased": summary.documents_erased,
            "documents_absent": summary.documents_absent,
            "attestations": summary.attestations,
            "nodes": summary.nodes,
            "batches": summary.batches,
            "firewalls": summary.firewalls,
            "witness_quorum": summary.witness_quorum,
            "witnessed_size": summary.witnessed_size,
            "findings": [
                {
                    "severity": finding.severity.name,
                    "code": finding.code.name,
                    "index": finding.index,
                    "place": finding.place,
                    "words": finding.words,
                    "notes": list(finding.notes),
                }
                for finding in findings
            ],
        }
    )
