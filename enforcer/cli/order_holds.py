"""``enforcer order reject|hold|assess|lift``: what keeps an order from blocking, or frees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.order_flow import Reason, Values, Written, brings
from enforcer.cli.words import choice
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.order import OrderRejected


@brings(OrderRejected, "Rejected.")
def reject(*, reason: Reason = None) -> Values:
    """Turn a proposal down, for good."""
    return {"reason_sha256": Written(reason)}


@brings(OrderHeld, "Held.")
def hold(*, reason: Reason = None) -> Values:
    """Put an order on hold by hand, until a person lifts that."""
    return {"guards": [Guard.PERSON.name], "report_sha256": Written(reason)}


@brings(AssessmentRecorded, "Assessed.")
def assess(
    *,
    report: Annotated[Path, typer.Option(help="What shares the addresses, as far as known.")],
    necessity: Annotated[Path, typer.Option(help="Why nothing milder would do.")],
) -> Values:
    """Attest what an order would hit beside its aim, and why."""
    return {"report_sha256": report, "necessity_sha256": necessity}


@brings(HoldLifted, "Lifted.")
def lift(
    *,
    guard: Annotated[list[str], typer.Option(help="What is lifted: growth …; may be repeated.")],
    override: Annotated[
        list[str] | None,
        typer.Option(
            help="Entry of the protected list that a court's decision names, as "
            "'subtree example.org'; may be repeated."
        ),
    ] = None,
    assessment: Annotated[
        int | None, typer.Option(help="Entry of the assessment, for a shared range.")
    ] = None,
    reason: Reason = None,
) -> Values:
    """Lift what holds an order, as one who does not sign it."""
    guards = sorted({choice(Guard, each, "guard") for each in guard})
    return {
        "guards": [each.name for each in guards],
        "overrides": [*dict.fromkeys(override or ())],
        "assessment_index": assessment,
        "reason_sha256": Written(reason),
    }
