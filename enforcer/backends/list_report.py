"""What becomes of a list's lines: those that are left out, with number, column and reason.

All of them go into a report's text, one a line; the first are kept for whoever asks. Over the
bound on bad lines the whole list is refused: it is another format, or damaged. A line that the
format allows and an order cannot say is no bad line. A report is as private as its list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, Final

from enforcer.backends.list_line import LeftOutError, WholeListError
from enforcer.backends.list_source import LINES_MAX
from enforcer.errors import InputError

FAULTS_KEPT_MAX: Final = 100
BAD_LINES_FEW: Final = 10
BAD_LINES_PER_HUNDRED: Final = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One line that was left out, and why; `column` counts from 1, in characters."""

    line: int
    column: int
    message: str
    is_bad: bool = True
    """Whether it is no line of its format; else it says what an order cannot say."""

    @property
    def reason(self) -> str:
        """The message without the line and column that stand before it."""
        return self.message.partition(": ")[2] if self.message.startswith("line ") else self.message

    @property
    def text(self) -> str:
        """The fault as it stands in a report: ``LINE COLUMN bad|left-out REASON``."""
        sort = "bad" if self.is_bad else "left-out"
        return f"{self.line} {self.column} {sort} {self.reason}\n"


@dataclass(slots=True)
class NormaliseReport:
    """What became of a list: its targets, and the lines that were left out."""

    format: str = ""
    """The format that it was read as, or written in."""
    line_count: int = 0
    target_count: int = 0
    faults: list[Fault] = field(default_factory=list)
    """The first FAULTS_KEPT_MAX of them."""
    fault_count: int = 0
    bad_line_count: int = 0
    """Lines among them that are no lines of the format."""


class Notes:
    """The report of a list while it is read; a bound of None is a hundredth of its lines."""

    def __init__(self, bad_lines_max: int | None = None, text: IO[bytes] | None = None) -> None:
        self.report = NormaliseReport()
        self._bad_lines_max = bad_lines_max
        self._text = text
        self._last_bad_line = 0

    def note(self, error: InputError, line_number: int) -> None:
        """Count a fault, write it, and keep it if it is among the first.

        Raises:
            WholeListError: it is no fault of one line, and `error` itself; or more lines are bad
                than are allowed for a list of any length.
        """
        if isinstance(error, WholeListError):
            raise error
        report = self.report
        column = error.data.get("column")
        is_bad = not isinstance(error, LeftOutError)
        at = column if isinstance(column, int) else 1
        fault = Fault(line_number, at, error.message, is_bad)
        report.fault_count += 1
        if len(report.faults) < FAULTS_KEPT_MAX:
            report.faults.append(fault)
        if self._text is not None:
            self._text.write(fault.text.encode("utf-8", "backslashreplace"))
        if is_bad and line_number != self._last_bad_line:
            self._last_bad_line = line_number
            report.bad_line_count += 1
            self._check(LINES_MAX)

    def close(self, line_count: int) -> None:
        """Check the bound, now that all lines are read.

        Raises:
            WholeListError: more lines are bad than are allowed.
        """
        self.report.line_count = line_count
        self._check(line_count)

    def _check(self, line_count: int) -> None:
        report = self.report
        bound = self._bad_lines_max
        if bound is None:
            bound = max(BAD_LINES_FEW, line_count * BAD_LINES_PER_HUNDRED // 100)
        if report.bad_line_count <= bound:
            return
        first = next((fault for fault in report.faults if fault.is_bad), None)
        where = f"; the first: {first.message}" if first else ""
        raise WholeListError(
            f"{report.bad_line_count} lines are no lines of the format {report.format}, "
            f"over the bound of {bound}{where}",
            advice="Name the list's format (--format), correct it, or raise --bad-lines-max.",
            field="targets",
            bad_line_count=report.bad_line_count,
            bad_lines_max=bound,
            line=first.line if first else None,
            column=first.column if first else None,
        )
