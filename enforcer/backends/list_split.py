"""A list without the lines at which guards fired: canonical in, canonical out.

Refuses a report of another list: its hash, and each line that it names, must be this list's.
Decides nothing: what is left is proposed as a new order, and the guards look again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest
from io import BufferedReader
from typing import IO, Final, NamedTuple

from enforcer.core.guard import Guard
from enforcer.errors import InputError

REPORT_HEAD: Final = b"enforcer guard report 1\n"
HEAD_LINES_MAX: Final = 10_000
REPORT_LINE_BYTES_MAX: Final = 4096

_HIT: Final = re.compile(
    rb"([1-9][0-9]{0,9}) ([A-Z_]{1,32}) ((?:exact|subtree|ip|net) \S+) \| .+\n"
)
_CUT: Final = re.compile(rb"and ([1-9][0-9]{0,9}) more\n")
_LIST: Final = b"list "


@dataclass(slots=True)
class SplitReport:
    """What a split left in, and what out."""

    kept_count: int
    left_out_count: int
    guards: dict[str, int]
    """Lines that each guard named; one line may be named by several."""
    unnamed_hit_count: int
    """Hits that the report counts and does not name: what is left may still have them."""


class _Hit(NamedTuple):
    line_number: int
    guard: Guard
    target: bytes


def split(source: BufferedReader, guards: IO[bytes], to: IO[bytes]) -> SplitReport:
    """Write the checked canonical list `source` to `to`, without the lines in the report `guards`.

    Raises:
        InputError: `guards` is no report, or not of this list, or names every line of it.
    """
    _check_head(guards, file_digest(source, "sha256").hexdigest())
    source.seek(0)
    report = SplitReport(0, 0, {}, 0)
    hits = _hits(guards, report)
    hit = next(hits, None)
    for line_number, line in enumerate(source, start=1):
        named: set[Guard] = set()
        while hit is not None and hit.line_number <= line_number:
            if hit.line_number < line_number or hit.target != line[:-1]:
                raise _foreign(f"line {line_number} of the list is not what it says")
            named.add(hit.guard)
            hit = next(hits, None)
        for guard in named:
            report.guards[guard.name] = report.guards.get(guard.name, 0) + 1
        if named:
            report.left_out_count += 1
        else:
            report.kept_count += 1
            to.write(line)
    if hit is not None:
        raise _foreign(f"the list has no line {hit.line_number}")
    if report.kept_count == 0:
        raise InputError(
            "the guards' report names every line of the list",
            advice="There is nothing to propose without them.",
            field="report",
        )
    return report


def _check_head(guards: IO[bytes], sha256: str) -> None:
    if guards.readline(REPORT_LINE_BYTES_MAX) != REPORT_HEAD:
        raise _no_report(1)
    is_this = False
    for line_number in range(2, HEAD_LINES_MAX):
        line = guards.readline(REPORT_LINE_BYTES_MAX)
        if line == b"\n":
            break
        if not line.endswith(b"\n"):
            raise _no_report(line_number)
        is_this = is_this or line == _LIST + sha256.encode("ascii") + b"\n"
    if not is_this:
        raise _foreign("its hash is not this list's")


def _hits(guards: IO[bytes], report: SplitReport) -> Iterator[_Hit]:
    line_number = 0
    while line := guards.readline(REPORT_LINE_BYTES_MAX):
        line_number += 1
        if cut := _CUT.fullmatch(line):
            report.unnamed_hit_count = int(cut[1])
            continue
        found = _HIT.fullmatch(line)
        guard = Guard.__members__.get(found[2].decode("ascii")) if found else None
        if found is None or not guard:
            raise _no_report(line_number, "hit ")
        yield _Hit(int(found[1]), guard, found[3])


def _no_report(line_number: int, of: str = "") -> InputError:
    return InputError(
        f"the guards' report cannot be read: {of}line {line_number} is none of a report",
        advice="Give the report as it was written, whole.",
        field="report",
        line=line_number,
    )


def _foreign(why: str) -> InputError:
    return InputError(
        f"the guards' report is not of this list: {why}",
        advice="Give the list that was proposed, in its canonical form, and its own report.",
        field="report",
    )
