"""Turning a list as people write it, in any format, into a canonical target list.

What is written may be respelt but never widened: what a line does not say exactly as a target
is left out and reported, and so is a target of which the list takes anything back. Memory is
bounded by runs of lines, not by the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final, TypeAlias

from enforcer.backends import list_adblock, list_csv, list_hosts, list_rpz
from enforcer.backends.list_format import Context, ListFormat, Reading, told_format
from enforcer.backends.list_line import NAME_PATTERN, convert_line, fault, left_out
from enforcer.backends.list_lines import LineReader
from enforcer.backends.list_report import NormaliseReport, Notes
from enforcer.backends.list_sort import sorted_unique
from enforcer.backends.list_source import ListSource
from enforcer.core.target import NAME_KINDS, TARGETS_MAX, TargetKind, parse_line
from enforcer.errors import InputError

Reader: TypeAlias = Callable[[Iterable[bytes], Context], Iterator[bytes]]
"""Yields the canonical targets of lines without LF, in any order, and notes the others."""


_NAME_LINE: Final = rb"(exact |subtree )%b" + NAME_PATTERN
_NAME_WORDS: Final[Mapping[bytes | None, bytes]] = {
    b"exact ": b"exact ",
    b"subtree ": b"subtree ",
}


def normalise(
    source: IO[bytes],
    to: IO[bytes],
    reading: Reading,
    *,
    spill_directory: Path,
    report_to: IO[bytes] | None = None,
) -> NormaliseReport:
    """Write the canonical target list of `source` to `to`: sorted, each target once.

    `source` may be gzip. Every line that is left out is written to `report_to`.

    Raises:
        InputError: no target or over TARGETS_MAX, over a bound of the source, too many bad
            lines, or the format cannot be told.
        OSError: a file cannot be read or written.
    """
    lines = ListSource(source)
    notes = Notes(reading.bad_lines_max, report_to)
    context = Context(reading, notes, spill_directory)
    chosen = told_format(lines.sample, reading)
    notes.report.format = chosen.word
    targets = sorted_unique(_READERS[chosen](lines, context), spill_directory)
    is_closed = False
    for target in targets:
        if not is_closed:  # the first comes when all lines are read
            notes.close(lines.line_count)
            is_closed = True
        if context.taken_back and _is_taken_back(target, context):
            continue
        notes.report.target_count += 1
        if notes.report.target_count > TARGETS_MAX:
            raise InputError(
                f"the list has over {TARGETS_MAX} targets",
                advice="Split it into several orders.",
                target_count_max=TARGETS_MAX,
            )
        to.write(target)
    if not is_closed:
        notes.close(lines.line_count)
    if notes.report.target_count == 0:
        raise _empty(notes.report)
    return notes.report


def _empty(report: NormaliseReport) -> InputError:
    first = f"; {report.faults[0].message}" if report.faults else ""
    return InputError(
        f"the list has no target in it{first}",
        advice="Write one target a line: a name, 'ip' and an address, or 'net' and a prefix.",
        field="targets",
    )


def _is_taken_back(target: bytes, context: Context) -> bool:
    line_number = context.taken_back.line_of(target[:-1])
    if line_number is None:
        return False
    what = f"takes back a part of '{target[:-1].decode('ascii')}', which is left out whole"
    context.notes.note(left_out(what, line_number), line_number)
    return True


def _plain(lines: Iterable[bytes], context: Context) -> Iterator[bytes]:
    kind = context.reading.kind or TargetKind.EXACT

    def convert(line: bytes, line_number: int, _: Context) -> Iterator[bytes]:
        target = convert_line(line, line_number, kind)
        if target is not None:
            yield target

    words = {**_NAME_WORDS, None: kind.name.lower().encode() + b" "}
    optional = rb"?" if kind in NAME_KINDS else rb""
    return LineReader(_NAME_LINE % optional, words, convert)(lines, context)


def _convert_canonical(line: bytes, line_number: int, _: Context) -> Iterator[bytes]:
    try:
        parse_line(line, line_number)
    except InputError as error:
        column = error.data["column"]
        at = column if isinstance(column, int) else 1
        raise fault(error.message.partition(": ")[2], line_number, at) from error
    yield line + b"\n"


_READERS: Final[Mapping[ListFormat, Reader]] = {
    ListFormat.PLAIN: _plain,
    ListFormat.HOSTS: list_hosts.read_hosts,
    ListFormat.ADBLOCK: list_adblock.read_adblock,
    ListFormat.DNSMASQ: list_hosts.read_dnsmasq,
    ListFormat.RPZ: list_rpz.read_rpz,
    ListFormat.CSV: list_csv.read_csv,
    ListFormat.CANONICAL: LineReader(_NAME_LINE % rb"", _NAME_WORDS, _convert_canonical),
}
