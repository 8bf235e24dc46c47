"""A list that somebody names on the command line: its options, how it is read, what is told.

Every command that takes a list as people write it takes it through here.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from enforcer.cli.output import busy, err
from enforcer.cli.words import choice
from enforcer.core.target import TargetKind
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.lists import NormaliseReport, Reading
    from enforcer.core.target import ListSummary

FAULTS_SHOWN_MAX = 20

Format: TypeAlias = Annotated[
    str,
    typer.Option(
        "--format", help="auto, plain, hosts, adblock, dnsmasq, rpz, csv or canonical.", metavar="F"
    ),
]
Kind: TypeAlias = Annotated[
    str | None,
    typer.Option(help="What a bare name means in plain and csv: exact (if not said) or subtree."),
]
Column: TypeAlias = Annotated[
    str | None, typer.Option(help="The column of a CSV that has the targets.")
]
Sink: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="An address or name, besides 0.0.0.0 and the like, that means blocked."),
]
BadLinesMax: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0, help="Bad lines that are allowed: a hundredth, and ten at least, if not said."
    ),
]
Report: TypeAlias = Annotated[
    Path | None, typer.Option(help="Where to write each line that is left out, and why.")
]


def reading_of(
    form: str,
    kind: str | None,
    column: str | None,
    sinks: list[str] | None,
    bad_lines_max: int | None,
) -> Reading:
    """Return how a list is to be read.

    Raises:
        InputError: a format or kind is unknown.
    """
    from enforcer.app.lists import ListFormat, Reading

    return Reading(
        format=choice(ListFormat, form, "format"),
        kind=choice(TargetKind, kind, "kind") if kind else None,
        column=column,
        sinks=tuple(sink.lower().removesuffix(".") for sink in sinks or ()),
        bad_lines_max=bad_lines_max,
    )


def read_list(
    written: Path,
    canonical: Path,
    reading: Reading,
    *,
    leave_out: bool,
    report_path: Path | None = None,
) -> tuple[NormaliseReport, ListSummary]:
    """Write the canonical form of a list, and show the lines that are left out of it.

    Raises:
        NotFoundError: there is no such list.
        InputError: too many lines are bad, or any is left out without `leave_out`, or no
            target is left.
        UnavailableError: a file cannot be read or written.
    """
    from enforcer.app.lists import import_list

    with busy("read the list"):
        report, summary = asyncio.run(import_list(written, canonical, reading, report_path))
    show_faults(written, report)
    if report.fault_count and not leave_out:
        first = report.faults[0]
        raise InputError(
            f"{report.fault_count} lines of {written} can be no targets; the first is line "
            f"{first.line}, column {first.column}: {first.reason}",
            advice="Correct them, or propose the order without them: --leave-out.",
            field="targets",
            line=first.line,
            column=first.column,
        )
    return report, summary


def show_faults(written: Path, report: NormaliseReport) -> None:
    """Show the first lines that were left out, and how many there are."""
    for fault in report.faults[:FAULTS_SHOWN_MAX]:
        place = f"{written}:{fault.line}:{fault.column}"
        err().print(f"{escape(place)}: {escape(fault.reason)}")
    unshown = report.fault_count - min(len(report.faults), FAULTS_SHOWN_MAX)
    if unshown:
        err().print(f"… and {unshown} more")
