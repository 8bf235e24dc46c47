"""Lists in any format, read and written in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from enforcer.backends.list_export import Writing, export
from enforcer.backends.list_format import ListFormat, Reading
from enforcer.backends.list_import import normalise
from enforcer.backends.list_report import NormaliseReport


@dataclass
class Read:
    """What became of a list."""

    text: bytes
    report: NormaliseReport
    report_text: str

    @property
    def targets(self) -> list[str]:
        return self.text.decode("ascii").splitlines()

    @property
    def left_out(self) -> list[tuple[int, str]]:
        """The lines that were left out, and why."""
        return [(fault.line, fault.reason) for fault in self.report.faults]


def read(text: bytes | str, form: ListFormat = ListFormat.PLAIN, **reading: object) -> Read:
    """Import a list; raises what `normalise` raises."""
    source = io.BytesIO(text.encode() if isinstance(text, str) else text)
    to, report_to = io.BytesIO(), io.BytesIO()
    with TemporaryDirectory(prefix="enforcer-") as scratch:
        report = normalise(
            source,
            to,
            Reading(form, **reading),
            spill_directory=Path(scratch),
            report_to=report_to,
        )
    return Read(to.getvalue(), report, report_to.getvalue().decode())


def written(text: bytes, form: ListFormat, **writing: object) -> tuple[str, NormaliseReport]:
    """Export a canonical list."""
    to = io.BytesIO()
    report = export(io.BytesIO(text), to, Writing(form, **writing))
    return to.getvalue().decode(), report
