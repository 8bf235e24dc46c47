"""``enforcer order review|notify|appeal|decide-appeal``: what follows a block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.order_flow import Reason, Values, Written, brings
from enforcer.cli.output import now_ms
from enforcer.cli.words import choice, time_of
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    Recipient,
    ReviewDone,
)


@brings(ReviewDone, "Reviewed.")
def review(
    *,
    next_review: Annotated[
        str, typer.Option("--next", help="When it is reviewed next: +30d, a date.")
    ],
    reason: Reason = None,
) -> Values:
    """Record a review, and when the next is due.

    A review that nobody makes ends the order.
    """
    due_at_ms = time_of(next_review, now_ms(), "next")
    return {"review_due_at_ms": due_at_ms, "reason_sha256": Written(reason)}


@brings(NotificationSent, "Recorded.")
def notify(
    *,
    recipient: Annotated[
        str, typer.Option(help="holder, hosting_provider, registrar, operator or public.")
    ],
    notice: Annotated[Path, typer.Option(help="What was sent.")],
    sent: Annotated[str | None, typer.Option(help="When; else now.")] = None,
) -> Values:
    """Record that somebody was told of an order."""
    now = now_ms()
    return {
        "recipient": choice(Recipient, recipient, "recipient").name,
        "notice_sha256": notice,
        "sent_at_ms": time_of(sent, now, "sent") if sent else now,
    }


@brings(AppealFiled, "Filed.")
def appeal(*, statement: Annotated[Path, typer.Option(help="What the appeal says.")]) -> Values:
    """File an appeal against an order, for whoever it hits."""
    return {"statement_sha256": statement}


@brings(AppealDecided, "Decided.")
def decide_appeal(
    *,
    appeal: Annotated[int, typer.Option(help="Entry of the appeal.")],
    outcome: Annotated[str, typer.Option(help="granted: the order ends; or dismissed.")],
    decision: Annotated[Path, typer.Option(help="Text of the decision.")],
) -> Values:
    """Decide an appeal, as oversight; granted, it is the end."""
    return {
        "appeal_index": appeal,
        "outcome": choice(AppealOutcome, outcome, "outcome").name,
        "decision_sha256": decision,
    }
