"""The report's wiring: a ledger's directory and a trust in, files out; and a file checked again.

Reads only, as the audit does, and writes only where it is told. What the report rests on
is opened as the audit opens it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from enforcer.app.audit import kept_attestations, open_ledger
from enforcer.app.report_check import Difference, cut, differences
from enforcer.app.report_document import FORMAT, Sheet, document, to_csv, to_json
from enforcer.app.report_html import to_html
from enforcer.app.report_words import Language, Words
from enforcer.backends import durable
from enforcer.backends.batch_files import BatchFiles
from enforcer.backends.keys import verify
from enforcer.core import fields
from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.fields import Json, Range, Sha256, Text, UnixMs
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, InputError, IntegrityError
from enforcer.services.audit import Progress
from enforcer.services.findings import Severity
from enforcer.services.report import make_report
from enforcer.services.report_period import Period, between, explicit, named, offset

__all__ = [
    "Difference",
    "Format",
    "Language",
    "Severity",
    "Sheet",
    "between",
    "check_report",
    "cut",
    "named",
    "offset",
    "report_directory",
    "write_report",
]

REPORT_BYTES_MAX: Final = 512 << 20


class Format(StrEnum):
    """A form that a report is written in."""

    HTML = "html"
    CSV = "csv"
    JSON = "json"


_WRITERS: Final = {Format.HTML: to_html, Format.CSV: to_csv, Format.JSON: to_json}


def report_directory(
    directory: Path,
    trust: Trust,
    period: Period,
    language: Language,
    progress: Progress | None = None,
) -> Sheet:
    """Return the report of a ledger's directory.

    Raises:
        NotFoundError: it holds no ledger, or an empty one.
        IntegrityError: it is not what the trusted key signed.
    """
    # Before the checkpoint: what a node of a live ledger attests later is not in this tree.
    kept = kept_attestations(directory / "attestations")
    ledger = open_ledger(directory, trust)
    note = (ledger.checkpoint_note or b"").decode("utf-8")
    report = make_report(
        ledger,
        ledger.size,
        trust,
        kept,
        verify,
        period,
        progress,
        batches=BatchFiles(directory / "batches"),
    )
    return Sheet(report, trust, note, Words(language, period.utc_offset_minutes))


def write_report(sheet: Sheet, folder: Path, formats: Sequence[Format]) -> list[Path]:
    """Write ``report-PERIOD.LANGUAGE.FORMAT`` files into `folder`, and return their paths.

    Raises:
        ConflictError: one is there already, with other content; nothing was written.
        UnavailableError: one cannot be written.
    """
    stem = f"report-{sheet.report.period.label}.{sheet.words.language}"
    files = {folder / f"{stem}.{each}": _WRITERS[each](sheet) for each in formats}
    for path, data in files.items():
        if path.exists() and durable.read_file(path, size_bytes_max=REPORT_BYTES_MAX) != data:
            raise ConflictError(
                f"{path} is another report",
                advice="Name another folder with --out, or move that file away.",
                path=str(path),
            )
    durable.make_directory(folder)
    durable.write_files(files)
    return list(files)


@dataclass(frozen=True, slots=True)
class _Period:
    name: Annotated[str, Text(7)] | None
    from_ms: UnixMs
    to_ms: UnixMs
    utc_offset_minutes: Annotated[int, Range(-840, 840)]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a report says it was computed from."""

    language: Annotated[str, Text(2, "|".join(Language), "a known language")]
    size: Annotated[int, Range(1)]
    root_sha256: Sha256
    period: _Period


def check_report(
    directory: Path, trust: Trust, file: Path, progress: Progress | None = None
) -> list[Difference]:
    """Compute again what a report in JSON says, and return every place where it differs.

    Raises:
        NotFoundError, UnavailableError: the file or the ledger cannot be read.
        InputError: the file is no report that this version can check.
        IntegrityError: the ledger is not what the trusted key signed.
    """
    said = _read(file)
    claim, note = _claim(file, said)
    asked = claim.period
    period = explicit(asked.name, asked.from_ms, asked.to_ms, asked.utc_offset_minutes)
    kept = kept_attestations(directory / "attestations")
    ledger = open_ledger(directory, trust)
    if ledger.size < claim.size:
        short = str(ledger.size)
        return [Difference("ledger.size", str(claim.size), short, Severity.INCOMPLETE)]
    root = ledger.root_at(claim.size).hex()
    if root != claim.root_sha256:
        return [Difference("ledger.root_sha256", claim.root_sha256, root, Severity.VIOLATION)]
    if problem := _problem(claim, note, trust):
        return [Difference("ledger.checkpoint", problem, root, Severity.VIOLATION)]
    report = make_report(
        ledger,
        claim.size,
        trust,
        kept,
        verify,
        period,
        progress,
        batches=BatchFiles(directory / "batches"),
    )
    words = Words(Language(claim.language), period.utc_offset_minutes)
    return list(differences(said, document(Sheet(report, trust, note, words))))


def _read(file: Path) -> dict[str, Json]:
    data = durable.read_file(file, size_bytes_max=REPORT_BYTES_MAX)
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _no_report(file, "is not JSON") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise _no_report(file, f"is not of the format {FORMAT}")
    return said


def _claim(file: Path, said: dict[str, Json]) -> tuple[_Claim, str]:
    """Return what the report was computed from, and the checkpoint that it carries."""
    ledger, period = said.get("ledger"), said.get("period")
    ledger = ledger if isinstance(ledger, dict) else {}
    period = period if isinstance(period, dict) else {}
    plain: dict[str, Json] = {
        "language": said.get("language"),
        "size": ledger.get("size"),
        "root_sha256": ledger.get("root_sha256"),
        "period": {key: value for key, value in period.items() if key != "known_until_ms"},
    }
    note = ledger.get("checkpoint")
    if not isinstance(note, str):
        raise _no_report(file, "carries no checkpoint")
    return fields.read(_Claim, plain, "report"), note


def _problem(claim: _Claim, note: str, trust: Trust) -> str | None:
    """Return what is wrong with the checkpoint that the report carries."""
    key = VerifierKey.parse(trust.log_vkey)
    try:
        found = open_checkpoint(note.encode("utf-8", "replace"), trust.origin, key, verify)
    except IntegrityError as error:
        return error.message
    if (found.size, found.root.hex()) != (claim.size, claim.root_sha256):
        return f"it is for size {found.size} and root {found.root.hex()}"
    return None


def _no_report(file: Path, problem: str) -> InputError:
    return InputError(
        f"{file} {problem}",
        advice="Name the JSON file that `enforcer audit report` wrote.",
        path=str(file),
    )
