"""Turning a list as people write it into a canonical target list.

A line is a name, address or prefix, with or without its kind before it; empty lines and what
follows ``#`` mean nothing. Names may be in any case, end with a dot, or be IDNs (IDNA 2008 with
the UTS 46 mapping). What is written may be respelt but never widened: a URL, a wildcard, a
prefix with host bits or an address among names is a fault, told with line and column.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import idna

from enforcer.core.target import TARGETS_MAX, TargetKind, parse_line
from enforcer.errors import InputError

FAULTS_KEPT_MAX: Final = 100
LINE_BYTES_MAX: Final = 4096
RUN_LINES: Final = 100_000  # lines sorted in memory at a time: some 10 MB

_PREFIX: Final = re.compile(rb"[0-9.]+/[0-9]+|[0-9a-f:]+:[0-9a-f:.]*/[0-9]+")
_KINDS: Final = {kind.name.lower().encode(): kind for kind in TargetKind if kind}
_ADVICE: Final = "Write a name, or 'ip' or 'net' and an address or prefix; nothing is guessed."


@dataclass(frozen=True, slots=True)
class Fault:
    """One line that was left out, and why; `column` counts from 1, in characters."""

    line: int
    column: int
    message: str


@dataclass(slots=True)
class NormaliseReport:
    """What became of a list: its targets, and the lines that were left out."""

    target_count: int = 0
    faults: list[Fault] = field(default_factory=list)
    """The first FAULTS_KEPT_MAX of them."""
    fault_count: int = 0

    def note(self, error: InputError, line_number: int) -> None:
        """Count a fault, and keep it if it is among the first."""
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT_MAX:
            column = error.data.get("column")
            at = column if isinstance(column, int) else 1
            self.faults.append(Fault(line_number, at, error.message))


def convert_line(line: bytes, line_number: int, default_kind: TargetKind) -> bytes | None:
    """Return the canonical line, LF included; None for a line that means nothing.

    Raises:
        InputError: with ``line`` and ``column`` of what is wrong.
    """
    content = line.partition(b"#")[0]
    words = content.split()
    if not words:
        return None
    kind = _KINDS.get(words[0].lower()) if len(words) > 1 else default_kind
    value = words[-1]
    column = content.rfind(value) + 1
    if kind is None or len(words) > 2:
        raise _error("a line is a kind and one value, or a value alone", line_number, 1)
    word = kind.name.lower().encode()
    if kind in (TargetKind.EXACT, TargetKind.SUBTREE):
        value = value.lower().removesuffix(b".")
        if not value.isascii():
            column = len(content[: column - 1].decode("utf-8", "replace")) + 1
            value = _encode_idn(value, line_number, column)
        if _PREFIX.fullmatch(value):
            raise _error("a prefix stands where a name belongs: write 'net'", line_number, column)
    else:
        value = _respell(value, kind, line_number, column)
    try:
        parse_line(word + b" " + value, line_number)
    except InputError as error:
        found = error.data["column"]
        offset = found - len(word) - 2 if isinstance(found, int) else 0
        message = error.message.partition(": ")[2]
        raise _error(message, line_number, max(column, column + offset)) from error
    return word + b" " + value + b"\n"


def normalise(
    source: IO[bytes], to: IO[bytes], default_kind: TargetKind, *, spill_directory: Path
) -> NormaliseReport:
    """Write the canonical target list of `source` to `to`: sorted, each target once.

    Lines with faults are left out and reported. Memory is bounded by RUN_LINES, not by the
    list: sorted runs wait in unnamed files in `spill_directory`, and are merged.

    Raises:
        InputError: over TARGETS_MAX targets.
        OSError: a file cannot be read or written.
    """
    report = NormaliseReport()
    runs: list[IO[bytes]] = []
    try:
        run: list[bytes] = []
        for target in _converted(source, default_kind, report):
            run.append(target)
            if len(run) == RUN_LINES:
                runs.append(_spill(run, spill_directory))
                run = []
        run.sort()
        previous = b""
        for target in heapq.merge(run, *runs):
            if target == previous:
                continue
            previous = target
            report.target_count += 1
            if report.target_count > TARGETS_MAX:
                raise InputError(
                    f"the list has over {TARGETS_MAX} targets",
                    advice="Split it into several orders.",
                    target_count_max=TARGETS_MAX,
                )
            to.write(target)
    finally:
        for file in runs:
            file.close()
    return report


def _converted(
    source: IO[bytes], default_kind: TargetKind, report: NormaliseReport
) -> Iterator[bytes]:
    for line_number, line in enumerate(_lines(source), start=1):
        try:
            if len(line) > LINE_BYTES_MAX:
                raise _error(f"the line has over {LINE_BYTES_MAX} octets", line_number, 1)
            target = convert_line(line, line_number, default_kind)
        except InputError as error:
            report.note(error, line_number)
            continue
        if target is not None:
            yield target


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """Yield lines, of one that is too long its beginning alone."""
    while line := source.readline(LINE_BYTES_MAX + 1):
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = source.readline(LINE_BYTES_MAX + 1)
        yield line


def _spill(run: Iterable[bytes], directory: Path) -> IO[bytes]:
    file = TemporaryFile(dir=directory)  # noqa: SIM115 - normalise closes it
    file.writelines(sorted(run))
    file.seek(0)
    return file


def _encode_idn(value: bytes, line_number: int, column: int) -> bytes:
    """Return the name with its labels as A-labels (UTS 46, IDNA 2008)."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _error("the name is not UTF-8", line_number, column) from error
    if any(char in text for char in "/*"):  # parse_line says what these are
        return text.encode("ascii", "replace")
    try:
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        labels = mapped.removesuffix(".").split(".")
        return b".".join(
            label.encode("ascii") if label.isascii() else idna.alabel(label) for label in labels
        )
    except idna.IDNAError as error:
        raise _error(f"the IDN {text!r} is not valid: {error}", line_number, column) from error


def _respell(value: bytes, kind: TargetKind, line_number: int, column: int) -> bytes:
    """Return the canonical spelling of an address or prefix; host bits stay a fault."""
    text = value.decode("ascii", "replace")
    try:
        spelt = ip_address(text) if kind is TargetKind.IP else ip_network(text, strict=True)
    except ValueError as error:
        raise _error(str(error), line_number, column) from error
    return str(spelt).encode("ascii", "replace")


def _error(what: str, line_number: int, column: int) -> InputError:
    return InputError(
        f"line {line_number}, column {column}: {what}",
        advice=_ADVICE,
        line=line_number,
        column=column,
    )
