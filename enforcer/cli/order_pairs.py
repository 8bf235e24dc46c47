"""``enforcer order extend|confirm|sign``: acts that two persons sign, one after the other.

The first one makes the act's file and signs it; the other signs the same payload and brings it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.order_flow import (
    Entry,
    OrderId,
    Reason,
    ValidateOnly,
    known,
    say,
    show_order,
    signed,
    with_client,
)
from enforcer.cli.output import CLIENT_CONFIG, AsJson, Config, emit_json, now_ms, out
from enforcer.cli.shared_options import with_options
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm
from enforcer.cli.words import choice, time_of
from enforcer.core.payload import Payload
from enforcer.core.policy import DecisionKind
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.order_acts import Documents
    from enforcer.app.orders import KnownOrder
    from enforcer.app.people import Person

To = Annotated[Path, typer.Option("--out", help="Where to write the act for the other person.")]
Until = Annotated[str, typer.Option(help="The new end: +30d from now, or a date.")]
Review = Annotated[str | None, typer.Option(help="When it is reviewed; else at its end.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Which order it is about, and how the first person signs: options of what two sign."""

    order_id: OrderId
    entry: Entry = None
    key: Key = None
    yes: Yes = False
    config: Config = CLIENT_CONFIG
    as_json: AsJson = False


@with_options(First)
def extend(
    first: First, *, until: Until, to: To, review: Review = None, reason: Reason = None
) -> None:
    """Begin an extension, as the first of two persons.

    The other one signs the file that this writes, and submits it: enforcer order sign.
    """
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.core.order import OrderExtended

    person, documents, now = Person.load(first.config, first.key), Documents(), now_ms()
    until_ms = time_of(until, now, "until")
    review_ms = time_of(review, now, "review") if review else until_ms
    why = documents.text(reason)

    def make(order: KnownOrder, policy_sha256: str) -> Payload:
        return about(
            OrderExtended,
            person.trust.origin,
            order,
            policy_sha256,
            now,
            expires_at_ms=until_ms,
            review_due_at_ms=review_ms,
            reason_sha256=why,
        )

    _begin(first, person, make, to, documents)


@with_options(First)
def confirm_order(
    first: First,
    *,
    kind: Annotated[str, typer.Option(help="What was decided: administrative, court_final …")],
    decision: Annotated[Path, typer.Option(help="Text of the decision.")],
    evidence: Annotated[list[Path], typer.Option(help="What it rests on; may be repeated.")],
    until: Until,
    to: To,
    review: Review = None,
) -> None:
    """Begin to confirm an emergency, as the first of two persons.

    It then rests on a regular decision. The other one signs the file that this writes, and
    submits it: enforcer order sign.
    """
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.core.order import OrderConfirmed

    person, documents, now = Person.load(first.config, first.key), Documents(), now_ms()
    decided = choice(DecisionKind, kind, "kind")
    until_ms = time_of(until, now, "until")
    review_ms = time_of(review, now, "review") if review else until_ms
    decision_sha256 = documents.file(decision)
    evidence_sha256 = [documents.file(path) for path in evidence]

    def make(order: KnownOrder, policy_sha256: str) -> Payload:
        return about(
            OrderConfirmed,
            person.trust.origin,
            order,
            policy_sha256,
            now,
            decision_kind=decided.name,
            decision_sha256=decision_sha256,
            evidence_sha256=list(evidence_sha256),
            expires_at_ms=until_ms,
            review_due_at_ms=review_ms,
        )

    _begin(first, person, make, to, documents)


def sign(
    act_file: Annotated[Path, typer.Argument(help="What the first person made and signed.")],
    *,
    key: Key = None,
    yes: Yes = False,
    validate_only: ValidateOnly = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Sign what needs two persons as the second one; submit it.

    That is an extension or a confirmation, as the first person wrote it into a file.
    """
    from enforcer.app.acts import add_signature, read_act
    from enforcer.app.order_acts import read_documents
    from enforcer.app.people import Person
    from enforcer.core.order import OrderConfirmed, OrderExtended

    act, payload = read_act(act_file)
    if not isinstance(payload, OrderExtended | OrderConfirmed):
        raise InputError(
            f"{act_file} is no extension, and no confirmation",
            advice="Name a file that `enforcer order extend` or `enforcer order confirm` wrote.",
            path=str(act_file),
        )
    person = Person.load(config, key)
    documents = read_documents(act_file, payload)
    confirm(payload, yes=yes)
    both = add_signature(act, person.key)

    async def run(client: ControlClient) -> None:
        is_extension = isinstance(payload, OrderExtended)
        call = client.extend if is_extension else client.record_act
        proof = await call(both, documents, validate_only=validate_only)
        say("Extended." if is_extension else "Confirmed.", proof, receipt, as_json=as_json)

    with_client(person, run)


def _begin(
    first: First,
    person: Person,
    make: Callable[[KnownOrder, str], Payload],
    to: Path,
    documents: Documents,
) -> None:
    """Have the first person sign, write the act and its documents, and say who is next."""
    from enforcer.app.acts import write_act
    from enforcer.app.order_acts import write_documents
    from enforcer.core.entry import parse_payload

    async def run(client: ControlClient) -> None:
        order, policy_sha256 = await known(client, first.order_id, first.entry)
        act = signed(make(order, policy_sha256), person)
        show_order(order)
        confirm(parse_payload(act), yes=first.yes)
        write_documents(to, documents.files)
        write_act(to, act)

    with_client(person, run)
    if first.as_json:
        emit_json({"act": str(to), "signatures": 1})
    else:
        out().print(f"[green]Wrote[/] {escape(str(to))}. A person of the other role (proposer or")
        out().print(f"approver) signs and submits it: enforcer order sign {escape(str(to))}")
