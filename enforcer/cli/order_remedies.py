"""``enforcer order review|notify|appeal|decide-appeal|suspend|resume``: what follows a block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.order_flow import Entry, Options, OrderId, Reason, ValidateOnly, bring
from enforcer.cli.output import CLIENT_CONFIG, AsJson, Config, now_ms
from enforcer.cli.signing import Key, ReceiptFile, Yes
from enforcer.cli.words import choice, time_of
from enforcer.core.remedy import AppealOutcome, Recipient


def review(
    order_id: OrderId,
    *,
    next_review: Annotated[
        str, typer.Option("--next", help="When it is reviewed next: +30d, a date.")
    ],
    reason: Reason = None,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Record a review, and when the next is due.

    A review that nobody makes ends the order.
    """
    from enforcer.app.order_acts import Documents
    from enforcer.core.remedy import ReviewDone

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    bring(
        options,
        order_id,
        ReviewDone,
        "Reviewed.",
        documents,
        review_due_at_ms=time_of(next_review, now_ms(), "next"),
        reason_sha256=documents.text(reason),
    )


def notify(
    order_id: OrderId,
    *,
    recipient: Annotated[
        str, typer.Option(help="holder, hosting_provider, registrar, operator or public.")
    ],
    notice: Annotated[Path, typer.Option(help="What was sent.")],
    sent: Annotated[str | None, typer.Option(help="When; else now.")] = None,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Record that somebody was told of an order."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.remedy import NotificationSent

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents, now = Documents(), now_ms()
    bring(
        options,
        order_id,
        NotificationSent,
        "Recorded.",
        documents,
        recipient=choice(Recipient, recipient, "recipient").name,
        notice_sha256=documents.file(notice),
        sent_at_ms=time_of(sent, now, "sent") if sent else now,
    )


def appeal(
    order_id: OrderId,
    *,
    statement: Annotated[Path, typer.Option(help="What the appeal says.")],
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """File an appeal against an order, for whoever it hits."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.remedy import AppealFiled

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    name = documents.file(statement)
    bring(options, order_id, AppealFiled, "Filed.", documents, statement_sha256=name)


def decide_appeal(
    order_id: OrderId,
    *,
    appeal: Annotated[int, typer.Option(help="Entry of the appeal.")],
    outcome: Annotated[str, typer.Option(help="granted: the order ends; or dismissed.")],
    decision: Annotated[Path, typer.Option(help="Text of the decision.")],
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Decide an appeal, as oversight; granted, it is the end."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.remedy import AppealDecided

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    bring(
        options,
        order_id,
        AppealDecided,
        "Decided.",
        documents,
        appeal_index=appeal,
        outcome=choice(AppealOutcome, outcome, "outcome").name,
        decision_sha256=documents.file(decision),
    )


def suspend(
    order_id: OrderId,
    *,
    reason: Reason = None,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Take an order out on the own network, where all see it.

    For its safety officer. The suspension stands in the ledger.
    """
    from enforcer.app.order_acts import Documents
    from enforcer.core.remedy import OrderSuspended

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    why = documents.text(reason)
    bring(options, order_id, OrderSuspended, "Suspended.", documents, reason_sha256=why)


def resume(
    order_id: OrderId,
    *,
    reason: Reason = None,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """End a suspension on the own network."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.remedy import OrderResumed

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    why = documents.text(reason)
    bring(options, order_id, OrderResumed, "Resumed.", documents, reason_sha256=why)
