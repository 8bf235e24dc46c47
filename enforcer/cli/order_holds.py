"""``enforcer order reject|hold|assess|lift``: what keeps an order from blocking, or frees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.order_flow import Options, Reason, Values, Written, bring, brings, with_client
from enforcer.cli.output import emit_json, emit_pairs, out
from enforcer.cli.shared_options import command_of
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


if TYPE_CHECKING:
    from enforcer.api.client import ControlClient

FACTS_NAME = "facts.json"
NECESSITY_NAME = "necessity.json"


def _assess(
    *,
    folder: Annotated[
        Path,
        typer.Option(
            "--in", help=f"Folder with {FACTS_NAME} and {NECESSITY_NAME}, as the draft writes them."
        ),
    ],
    draft: Annotated[
        bool,
        typer.Option(
            "--draft", help="Write what is known, and a statement to complete; attest nothing yet."
        ),
    ] = False,
) -> tuple[Path, bool]:
    """Attest what an order would hit beside its aim, and why.

    First with --draft: the facts are computed and stay as they are; you complete the statement.
    """
    return folder, draft


def _assess_or_draft(options: Options, given: tuple[Path, bool]) -> None:
    from enforcer.app.keys import read_document
    from enforcer.core.collateral import read_necessity
    from enforcer.core.fields import DOCUMENT_BYTES_MAX

    folder, is_draft = given
    if is_draft:
        _draft(options, folder)
        return
    facts, necessity = folder / FACTS_NAME, folder / NECESSITY_NAME
    read_necessity(read_document(necessity, DOCUMENT_BYTES_MAX))
    values = {"facts_sha256": facts, "necessity_sha256": necessity}
    bring(options, AssessmentRecorded, "Assessed.", values)


def _draft(options: Options, folder: Path) -> None:
    """Write the two documents; a statement that is there stays as it is."""
    from enforcer.app.assessment_draft import write_draft
    from enforcer.app.people import Person

    person = Person.load(options.config, options.key)

    async def run(client: ControlClient) -> None:
        document = await client.draft_assessment(options.order_id, options.entry)
        written = write_draft(document, folder / FACTS_NAME, folder / NECESSITY_NAME)
        if options.as_json:
            emit_json({"facts": str(written.facts), "necessity": str(written.necessity)})
            return
        emit_pairs(written.lines)
        out().print(
            f"[green]Drafted.[/] Complete {escape(str(written.necessity))}, then run this again "
            "without --draft."
        )

    with_client(person, run)


assess = command_of(Options, _assess, _assess_or_draft)


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
