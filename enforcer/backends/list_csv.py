"""CSV (RFC 4180) with a header: the targets of one named column.

The separator is the comma, semicolon, tab or bar with which the header has that column. A
value is a target with or without its kind before it, as in a plain list; ``#`` begins no remark.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Final

from enforcer.backends.list_format import Context
from enforcer.backends.list_line import NAME_PATTERN, WholeListError, convert_line, fault
from enforcer.backends.list_lines import check_length
from enforcer.core.target import NAME_TEXT_BYTES_MAX, TargetKind
from enforcer.errors import InputError

_SEPARATORS: Final = ",;\t|"
_usual: Final = re.compile(NAME_PATTERN).fullmatch


def read_csv(lines: Iterable[bytes], context: Context) -> Iterator[bytes]:
    """Yield the targets of the column that the reading names; note what is left out.

    Raises:
        WholeListError: there is no such column, or two of that name.
    """
    texts = _texts(lines, context)
    separator, index = _find_column(next(texts, ""), context.reading.column or "")
    kind = context.reading.kind or TargetKind.EXACT
    word = kind.name.lower().encode()
    is_of_names = kind in (TargetKind.EXACT, TargetKind.SUBTREE)
    rows = csv.reader(texts, delimiter=separator, strict=True)
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return
            if not row:
                continue
            value = _value(row, index, rows.line_num + 1)
            if is_of_names and len(value) <= NAME_TEXT_BYTES_MAX and _usual(value):
                yield b"%b %b\n" % (word, value)
                continue
            target = convert_line(value, rows.line_num + 1, kind)
            if target is None:
                raise fault("the column is empty", rows.line_num + 1, 1)
            yield target
        except csv.Error as error:
            context.notes.note(fault(str(error), rows.line_num + 1, 1), rows.line_num + 1)
        except InputError as error:
            context.notes.note(error, rows.line_num + 1)


def _value(row: list[str], index: int, line_number: int) -> bytes:
    if index >= len(row):
        raise fault("the row ends before the column", line_number, 1)
    value = row[index].encode("utf-8", "surrogateescape")
    if b"#" in value:
        raise fault("the character '#' cannot stand in a target", line_number, 1)
    return value


def _texts(lines: Iterable[bytes], context: Context) -> Iterator[str]:
    for line_number, line in enumerate(lines, start=1):
        try:
            check_length(line, line_number)
        except InputError as error:
            context.notes.note(error, line_number)
            line = b""  # noqa: PLW2901 - rows are counted by lines
        yield line.decode("utf-8", "surrogateescape") + "\n"


def _find_column(header: str, column: str) -> tuple[str, int]:
    for separator in _SEPARATORS:
        try:
            names = [
                name.strip()
                for name in next(csv.reader([header], delimiter=separator, strict=True))
            ]
        except csv.Error:
            continue
        if names.count(column) == 1:
            return separator, names.index(column)
    raise WholeListError(
        f"the header has no column {column!r}, or several",
        advice="Name a column of the list's first line, as it is written there.",
        field="column",
    )
