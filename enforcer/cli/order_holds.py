"""``enforcer order reject|hold|assess|lift``: what keeps an order from blocking, or frees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.order_flow import Entry, Options, OrderId, Reason, ValidateOnly, bring
from enforcer.cli.output import CLIENT_CONFIG, AsJson, Config
from enforcer.cli.signing import Key, ReceiptFile, Yes
from enforcer.cli.words import choice
from enforcer.core.fields import Json
from enforcer.core.guard import Guard


def reject(
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
    """Turn a proposal down, for good."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.order import OrderRejected

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    why = documents.text(reason)
    bring(options, order_id, OrderRejected, "Rejected.", documents, reason_sha256=why)


def hold(
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
    """Put an order on hold by hand, until a person lifts that."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.hold import OrderHeld

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    why = documents.text(reason)
    guards: list[Json] = [Guard.PERSON.name]
    bring(options, order_id, OrderHeld, "Held.", documents, guards=guards, report_sha256=why)


def assess(
    order_id: OrderId,
    *,
    report: Annotated[Path, typer.Option(help="What shares the addresses, as far as known.")],
    necessity: Annotated[Path, typer.Option(help="Why nothing milder would do.")],
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Attest what an order would hit beside its aim, and why."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.hold import AssessmentRecorded

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    bring(
        options,
        order_id,
        AssessmentRecorded,
        "Assessed.",
        documents,
        report_sha256=documents.file(report),
        necessity_sha256=documents.file(necessity),
    )


def lift(
    order_id: OrderId,
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
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Lift what holds an order, as one who does not sign it."""
    from enforcer.app.order_acts import Documents
    from enforcer.core.hold import HoldLifted

    options = Options(config, key, entry, yes, validate_only, receipt, as_json)
    documents = Documents()
    guards = sorted({choice(Guard, each, "guard") for each in guard})
    bring(
        options,
        order_id,
        HoldLifted,
        "Lifted.",
        documents,
        guards=[each.name for each in guards],
        overrides=[*dict.fromkeys(override or ())],
        assessment_index=assessment,
        reason_sha256=documents.text(reason),
    )
