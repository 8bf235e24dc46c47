"""``enforcer audit``: verify a ledger or a receipt, offline, against a trust alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import AsJson, emit_json, emit_pairs, err, now_ms, out, progress, when
from enforcer.cli.words import time_of

if TYPE_CHECKING:
    from enforcer.app.audit import Finding, Summary

VIOLATION_EXIT = 1
INCOMPLETE_EXIT = 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Verify offline what is enforced, and by whose word.",
)

Trust = Annotated[Path, typer.Option(help="The installation's trust.toml.")]


@app.command("verify")
def verify(
    directory: Annotated[Path, typer.Argument(help="The ledger's directory, live or a copy.")],
    *,
    trust: Trust = Path("trust.toml"),
    since: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint kept from before; may be repeated."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="When the copy was taken, if that was not just now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every leaf, signature, effect, list and attestation.

    Exit code 0: all is good; 1: a rule was broken or something was altered; 2: something could
    not be checked.
    """
    from enforcer.app.audit import Severity, audit_directory, worst
    from enforcer.config import read_trust

    now = now_ms()
    as_of_ms = time_of(at, now, "at") if at else now
    believed = read_trust(trust)
    with progress() as advance:
        summary, findings = audit_directory(
            directory, believed, as_of_ms=as_of_ms, earlier=since or (), progress=advance
        )
        found = list(findings)
    severity = worst(found)
    if as_json:
        _emit(summary, found, severity.name)
    else:
        _show(summary, found)
        _verdict(severity.name, attestations=summary.attestations)
    if severity is Severity.VIOLATION:
        raise typer.Exit(VIOLATION_EXIT)
    if severity is Severity.INCOMPLETE:
        raise typer.Exit(INCOMPLETE_EXIT)


@app.command("receipt")
def receipt(
    receipt_file: Annotated[Path, typer.Argument(help="The receipt (.tlog-proof).")],
    entry_file: Annotated[Path, typer.Argument(help="The entry's bytes that it is about.")],
    *,
    trust: Trust = Path("trust.toml"),
    as_json: AsJson = False,
) -> None:
    """Check that a receipt proves that an entry is in the ledger."""
    from enforcer.app.audit import check_receipt
    from enforcer.config import read_trust

    index, checkpoint = check_receipt(receipt_file, entry_file, read_trust(trust))
    if as_json:
        emit_json({"entry_index": index, "size": checkpoint.size, "root": checkpoint.root.hex()})
        return
    out().print(
        f"[green]Proved.[/] Entry {index} is in the ledger {escape(checkpoint.origin)} of "
        f"{checkpoint.size} entries."
    )


def _show(summary: Summary, findings: list[Finding]) -> None:
    colours = {"VIOLATION": "bold red", "INCOMPLETE": "yellow", "NOTE": "dim"}
    for finding in findings:
        severity = finding.severity.name
        entry = f" entry {finding.index}" if finding.index is not None else ""
        place = f" ({escape(finding.place)})" if finding.place else ""
        err().print(
            f"[{colours[severity]}]{severity}[/]{entry} {finding.code.name}: "
            f"{escape(finding.words)}{place}"
        )
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.entries.items()))
    emit_pairs(
        {
            "ledger": f"{summary.origin}, {summary.size} entries, UNWITNESSED",
            "root": summary.root or None,
            "last entry": when(summary.recorded_at_ms) if summary.recorded_at_ms else None,
            "entries": kinds or None,
            "orders": f"{summary.orders_approved} approved by two persons, "
            f"{summary.orders_in_force} in force",
            "lists": f"{summary.lists} checked, {summary.targets} targets",
            "documents": f"{summary.documents} here, and as they were",
            "attestations": f"{summary.attestations} by {summary.nodes} nodes",
        }
    )


def _verdict(severity: str, *, attestations: int) -> None:
    attested = (
        "what nodes attested is what it says" if attestations else "no node attested anything"
    )
    words = {
        "NOTE": "[bold green]GOOD[/]: what the ledger says is what was lawfully signed, and "
        f"{attested}.",
        "INCOMPLETE": "[bold yellow]INCOMPLETE[/]: nothing wrong was found, and something could "
        "not be checked.",
        "VIOLATION": "[bold red]VIOLATION[/]: see above; keep this copy as evidence.",
    }
    out().print(words[severity])


def _emit(summary: Summary, findings: list[Finding], severity: str) -> None:
    emit_json(
        {
            "outcome": {"NOTE": "GOOD"}.get(severity, severity),
            "origin": summary.origin,
            "size": summary.size,
            "root": summary.root,
            "recorded_at_ms": summary.recorded_at_ms,
            "entries": dict(sorted(summary.entries.items())),
            "orders_approved": summary.orders_approved,
            "orders_in_force": summary.orders_in_force,
            "lists": summary.lists,
            "targets": summary.targets,
            "documents": summary.documents,
            "attestations": summary.attestations,
            "nodes": summary.nodes,
            "findings": [
                {
                    "severity": finding.severity.name,
                    "code": finding.code.name,
                    "index": finding.index,
                    "place": finding.place,
                    "words": finding.words,
                }
                for finding in findings
            ],
        }
    )
