"""What guards said of a list: shown to its proposer, and kept beside the list, every line of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.markup import escape

from enforcer.cli.order_show import lift_words
from enforcer.cli.output import err
from enforcer.core.guard import Guard
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from enforcer.v1 import order_pb2

HITS_SHOWN_MAX: Final = 10


def keep_findings(targets: Path, canonical: Path, report: bytes) -> Path:
    """Write a report and the list that it speaks of beside `targets`; show its first hits.

    A folder that takes no files is said so, and no reason to fail: the control plane has decided.
    """
    from enforcer.app.keys import write
    from enforcer.app.order_life import first_hits

    report_file = targets.with_name(f"{targets.name}.guards")
    list_file = targets.with_name(f"{targets.name}.canonical")
    try:
        write(report_file, report)
        write(list_file, canonical.read_bytes())
    except UnavailableError as error:
        err().print(f"[yellow]The report was not kept:[/] {escape(error.message)}")
    hits = first_hits(report)
    for hit in hits[:HITS_SHOWN_MAX]:
        err().print(f"[yellow]guard:[/] line {escape(hit)}")
    if len(hits) > HITS_SHOWN_MAX:
        err().print(f"… and more: {escape(str(report_file))}")
    if hits:
        err().print(
            f"To go on without these lines: enforcer order split {escape(str(list_file))} "
            f"{escape(str(report_file))} --out FILE, and propose that."
        )
    return report_file


def tell_held(findings: Sequence[order_pb2.GuardFinding]) -> list[dict[str, object]]:
    """Say what holds an order and what lifts that; return the same as plain values."""
    told: list[dict[str, object]] = []
    for finding in findings:
        guard = Guard(finding.guard)
        words = lift_words(guard)
        err().print(f"[yellow]It is on hold for {guard.name}[/]: {escape(words)}")
        told.append(
            {
                "guard": guard.name,
                "line_count": finding.line_count,
                "evidence": list(finding.evidence),
                "evidence_count": finding.evidence_count,
                "lifted_by": words,
            }
        )
    return told
