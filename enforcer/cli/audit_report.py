"""``enforcer audit report``: the transparency report of a period, and the check of one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.markup import escape

from enforcer.cli.audit_options import (
    COLOURS,
    INCOMPLETE_EXIT,
    TRUST,
    VIOLATION_EXIT,
    Ledger,
    Trust,
)
from enforcer.cli.output import AsJson, emit_json, emit_pairs, out, progress, when
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.report import Difference

DIFFERENCES_SHOWN_MAX: Final = 50

Choice = TypeVar("Choice", bound=StrEnum)


def report(
    ledger: Ledger,
    *,
    trust: Trust = TRUST,
    period: Annotated[
        str | None, typer.Option(help="A half-year such as 2026-H1, or a year such as 2026.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="The beginning, where it is no such period.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="The end; it is not part of the report.")
    ] = None,
    utc_offset: Annotated[
        str, typer.Option(help="Where days and months begin, such as +07:00.")
    ] = "+00:00",
    language: Annotated[str, typer.Option(help="en or vi.")] = "en",
    format_: Annotated[
        list[str] | None,
        typer.Option("--format", help="html, csv or json; may be repeated; all by default."),
    ] = None,
    out_: Annotated[Path, typer.Option("--out", help="The folder to write into.")] = Path(),
    check: Annotated[
        Path | None, typer.Option(help="Compute this report in JSON again, and compare.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the transparency report of a period, or check one.

    Exit code 0: written, or all figures are right; 1: one is not; 2: the copy of the ledger
    does not reach so far, or other attestations were kept.
    """
    from enforcer.app import report as app
    from enforcer.app.audit_archive import ledger_copy
    from enforcer.config import read_trust

    believed = read_trust(trust)
    if check is not None:
        with progress() as advance, ledger_copy(ledger, advance) as copy:
            found = app.check_report(copy.directory, believed, check, advance)
        _tell_differences(found, as_json=as_json)
        return
    minutes = app.offset(utc_offset)
    formats = [_one_of(app.Format, each, "format") for each in format_ or list(app.Format)]
    spoken = _one_of(app.Language, language, "language")
    if period is not None and from_ is None and to is None:
        asked = app.named(period, minutes)
    elif period is None and from_ is not None and to is not None:
        asked = app.between(from_, to, minutes)
    else:
        raise InputError(
            "it is not clear which period the report is for",
            advice="Give --period, or both --from and --to.",
            field="period",
        )
    with progress() as advance, ledger_copy(ledger, advance) as copy:
        sheet = app.report_directory(copy.directory, believed, asked, spoken, advance)
    files = app.write_report(sheet, out_, formats)
    made = sheet.report
    if as_json:
        emit_json(
            {
                "files": [str(path) for path in files],
                "is_whole": made.is_whole,
                "known_until_ms": made.known_until_ms,
                "size": made.size,
                "root": made.root.hex(),
            }
        )
    else:
        out().print(
            f"[bold green]WRITTEN[/]: {len(files)} files, each figure from the ledger alone or "
            "with nodes' attestations."
            if made.is_whole
            else "[bold yellow]INCOMPLETE[/]: this copy of the ledger ends before the period does. "
            "Make the report again from a later copy."
        )
        emit_pairs(
            {
                "files": "\n".join(map(str, files)),
                "ledger": f"{made.origin}, {made.size} entries",
                "root": made.root.hex(),
                "last entry": when(made.recorded_at_ms),
            }
        )
    if not made.is_whole:
        raise typer.Exit(INCOMPLETE_EXIT)


def _tell_differences(found: list[Difference], *, as_json: bool) -> None:
    from enforcer.app.report import Severity, cut

    worst = max((each.severity for each in found), default=Severity.NOTE)
    outcome = {Severity.NOTE: "GOOD"}.get(worst, worst.name)
    if as_json:
        listed = [
            {
                "place": each.place,
                "said": each.said,
                "computed": each.computed,
                "severity": each.severity.name,
            }
            for each in found
        ]
        emit_json({"outcome": outcome, "differences": listed})
    else:
        words = {
            "GOOD": "[bold green]GOOD[/]: every figure is what the ledger gives.",
            "INCOMPLETE": "[bold yellow]INCOMPLETE[/]: nothing wrong was found, and something "
            "could not be checked with what is here.",
            "VIOLATION": "[bold red]VIOLATION[/]: the report does not say what the ledger gives.",
        }
        out().print(words[outcome])
        for each in found[:DIFFERENCES_SHOWN_MAX]:
            colour = COLOURS[each.severity.name]
            out().print(
                f"[{colour}]{each.severity.name}[/] {escape(each.place)}: the report has "
                f"{escape(cut(each.said))}, the ledger gives {escape(cut(each.computed))}"
            )
        if len(found) > DIFFERENCES_SHOWN_MAX:
            out().print(f"and {len(found) - DIFFERENCES_SHOWN_MAX} more: see --json")
    if worst is Severity.VIOLATION:
        raise typer.Exit(VIOLATION_EXIT)
    if worst is Severity.INCOMPLETE:
        raise typer.Exit(INCOMPLETE_EXIT)


def _one_of(cls: type[Choice], text: str, field: str) -> Choice:
    try:
        return cls(text.lower())
    except ValueError as error:
        raise InputError(
            f"{field}: {text!r} is not known",
            advice=f"Write one of {', '.join(cls)}.",
            field=field,
        ) from error
