"""What commands about an order share: find it, show it, have one person sign, bring the act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from enforcer.cli.output import emit_json, emit_pairs, err, now_ms, out, when
from enforcer.cli.show import order_lines
from enforcer.cli.signing import Proved, confirm, tell
from enforcer.core.fields import Json
from enforcer.core.payload import Payload

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.order_acts import Documents
    from enforcer.app.orders import KnownOrder, Particulars
    from enforcer.app.people import Person
    from enforcer.core.envelope import Envelope

OrderId: TypeAlias = Annotated[str, typer.Argument(help="Such as VN-2026-000001.")]
Entry: TypeAlias = Annotated[
    int | None, typer.Option(help="Entry index of the proposal, for an older version.")
]
Reason: TypeAlias = Annotated[
    str | None, typer.Option(help="Why; kept beside the ledger, erasable.")
]
ValidateOnly: TypeAlias = Annotated[
    bool, typer.Option("--validate-only", help="Have it judged, and record nothing.")
]


@dataclass(frozen=True, slots=True)
class Options:
    """How an act is signed and brought, as the command line says."""

    config: Path
    key: Path | None
    entry: int | None
    yes: bool
    validate_only: bool
    receipt: Path | None
    as_json: bool


def bring(
    options: Options,
    order_id: str,
    kind: type[Payload],
    done: str,
    documents: Documents,
    **values: Json,
) -> None:
    """Have one person sign an act about an order, and bring it with its documents.

    Raises:
        EnforcerError: what is wrong with it, or nobody confirmed the signature.
    """
    from enforcer.app.order_acts import about
    from enforcer.app.people import Person
    from enforcer.core.entry import parse_payload
    from enforcer.core.order import OrderRejected

    person = Person.load(options.config, options.key)

    async def run(client: ControlClient) -> None:
        order, policy_sha256 = await known(client, order_id, options.entry)
        payload = about(kind, person.trust.origin, order, policy_sha256, now_ms(), **values)
        act = signed(payload, person)
        show_order(order)
        confirm(parse_payload(act), yes=options.yes)
        call = client.reject if kind is OrderRejected else client.record_act
        proof = await call(act, documents.files, validate_only=options.validate_only)
        say(done, proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


def say(done: str, proof: Proved | None, receipt: Path | None, *, as_json: bool) -> None:
    """Tell that an act stands in the ledger, or would be accepted."""
    if proof is not None:
        tell(done, proof, receipt, as_json=as_json)
    elif as_json:
        emit_json({"valid": True})
    else:
        out().print("[green]It would be accepted.[/] Nothing was recorded.")


def with_client(person: Person, run: Callable[[ControlClient], Awaitable[None]]) -> None:
    """Run it with a connection of a person's own."""

    async def connected() -> None:
        async with person.client() as client:
            await run(client)

    asyncio.run(connected())


async def known(client: ControlClient, order_id: str, entry: int | None) -> tuple[KnownOrder, str]:
    """Return an order, checked against its hash, and the hash of the policy in force."""
    from enforcer.app.orders import known_order

    order = await client.get(order_id, entry)
    return known_order(order, order_id), order.policy_sha256


def signed(payload: Payload, person: Person) -> Envelope:
    """Return the act with a person's signature."""
    from enforcer.app import acts

    return acts.signed(payload, person.key)


def show_order(
    known: KnownOrder, said: Particulars | None = None, *, to_stdout: bool = False
) -> None:
    """Show what an order says: on stdout as a result, else before a signature."""
    shown = {**order_lines(known.payload), **known.standing_lines()}
    shown["until"] = when(known.until_ms)  # as extended
    shown["review by"] = when(known.review_due_at_ms)
    if said is not None:
        unshown = known.payload.target_count - len(said.targets)
        more = [f"… and {unshown} more: enforcer order show --targets FILE"] if unshown else []
        shown["they are"] = "\n".join([*said.targets, *more])
        shown["reasons"] = said.reasons or "not kept any more"
    emit_pairs(shown, out() if to_stdout else err())
