"""``enforcer list``: lists in other programs' formats, read and written; and split for an order."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.list_file import (
    BadLinesMax,
    Column,
    Format,
    Kind,
    Report,
    Sink,
    read_list,
    reading_of,
    show_faults,
)
from enforcer.cli.output import AsJson, busy, emit_json, emit_pairs, err, out
from enforcer.cli.words import choice
from enforcer.core.target import TargetKind
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.lists import ListSummary, NormaliseReport

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Read, write and check target lists.",
)

To = Annotated[Path, typer.Option("--out", "-o", help="Where to write the list.")]


@app.command("import")
def import_(
    list_file: Annotated[Path, typer.Argument(help="The list; it may be gzip.")],
    *,
    to: To,
    form: Format = "auto",
    kind: Kind = None,
    column: Column = None,
    sink: Sink = None,
    bad_lines_max: BadLinesMax = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Write a list in any format as a target list, to propose it.

    What a line does not say exactly as a target is left out and told, never widened.
    """
    reading = reading_of(form, kind, column, sink, bad_lines_max)
    read, summary = read_list(list_file, to, reading, leave_out=True, report_path=report)
    if as_json:
        emit_json({**_summary(summary), **_report(read)})
        return
    out().print(f"[green]Wrote[/] {escape(str(to))}, read as {read.format}.")
    _show(summary)
    _show_left_out(read)


@app.command("export")
def export(
    source: Annotated[str, typer.Argument(help="A target list, or with --ledger an order's id.")],
    *,
    to: To,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="plain, hosts, adblock, dnsmasq, rpz, csv or canonical.", metavar="F"
        ),
    ],
    ledger: Annotated[
        Path | None, typer.Option(help="A ledger's directory, or a node's, with the order's list.")
    ] = None,
    trust: Annotated[Path, typer.Option(help="The installation's trust.toml.")] = Path(
        "trust.toml"
    ),
    entry: Annotated[
        int | None, typer.Option(help="Entry index of the proposal, for an older version.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="Which names a plain list has: exact or subtree.")
    ] = "exact",
    zone: Annotated[str, typer.Option(help="The name of an RPZ.")] = "rpz",
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Write a target list in another program's format.

    What that format cannot say exactly is left out and told, never widened.
    """
    from enforcer.app.lists import ListFormat, Writing, export_list, list_of_order
    from enforcer.config import read_trust

    writing = Writing(choice(ListFormat, form, "format"), choice(TargetKind, kind, "kind"), zone)
    if ledger is None and entry is not None:
        raise InputError("a file has no entries", advice="Use --ledger.", field="entry")
    with ExitStack() as stack:
        path = Path(source)
        if ledger is not None:
            with busy("read the ledger"):
                path = stack.enter_context(list_of_order(ledger, read_trust(trust), source, entry))
        with busy("write the list"):
            written = asyncio.run(export_list(path, to, writing, report))
    show_faults(path, written)
    if as_json:
        emit_json(_report(written))
        return
    out().print(f"[green]Wrote[/] {escape(str(to))}: {written.target_count} targets.")
    _show_left_out(written)


@app.command("check")
def check(
    list_file: Annotated[Path, typer.Argument(help="A target list in its canonical form.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check that a list is canonical, and say what it is."""
    from enforcer.app.lists import check_list

    with busy("check the list"):
        summary = asyncio.run(check_list(list_file))
    if as_json:
        emit_json(_summary(summary))
    else:
        _show(summary)


def split(
    list_file: Annotated[Path, typer.Argument(help="The target list, in its canonical form.")],
    report_file: Annotated[Path, typer.Argument(help="What the guards said of it.")],
    *,
    to: To,
    as_json: AsJson = False,
) -> None:
    """Write a list without the lines at which guards fired."""
    from enforcer.app.lists import split_list

    with busy("split the list"):
        report, summary = asyncio.run(split_list(list_file, report_file, to))
    if as_json:
        emit_json(
            {
                **_summary(summary),
                "left_out_count": report.left_out_count,
                "guards": report.guards,
                "unnamed_hit_count": report.unnamed_hit_count,
            }
        )
        return
    out().print(f"[green]Wrote[/] {escape(str(to))}. {report.left_out_count} lines are left out:")
    emit_pairs(dict(sorted(report.guards.items())))
    _show(summary)
    if report.unnamed_hit_count:
        err().print(
            f"[yellow]The report was cut:[/] it does not name {report.unnamed_hit_count} more "
            "hits, so guards will fire again. Split again with what they say then."
        )


def _summary(summary: ListSummary) -> dict[str, object]:
    return {
        "sha256": summary.sha256,
        "target_count": summary.target_count,
        "name_count": summary.name_count,
    }


def _show(summary: ListSummary) -> None:
    names = summary.name_count
    emit_pairs(
        {
            "targets": f"{summary.target_count}, {names} of them names",
            "SHA-256": summary.sha256,
        }
    )


def _report(report: NormaliseReport) -> dict[str, object]:
    return {
        "format": report.format,
        "line_count": report.line_count,
        "target_count": report.target_count,
        "left_out_count": report.fault_count,
        "bad_line_count": report.bad_line_count,
        "left_out": [
            {"line": each.line, "column": each.column, "is_bad": each.is_bad, "reason": each.reason}
            for each in report.faults
        ],
    }


def _show_left_out(report: NormaliseReport) -> None:
    if report.fault_count:
        err().print(
            f"[yellow]Left out:[/] {report.fault_count} of {report.line_count} lines or targets; "
            f"{report.bad_line_count} lines are bad."
        )
