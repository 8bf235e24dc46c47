"""``enforcer order suspend|resume``: a safety officer's power over the own network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from enforcer.cli.order_flow import Options, Reason, known, say, show_order, signed, with_client
from enforcer.cli.output import now_ms
from enforcer.cli.shared_options import with_options
from enforcer.cli.signing import confirm
from enforcer.cli.words import time_of
from enforcer.errors import ConflictError, InputError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.orders import KnownOrder


@with_options(Options)
def suspend(
    options: Options,
    *,
    reason: Reason = None,
    until: Annotated[
        str | None, typer.Option(help="When it ends by itself: +2d, a date; else with the order.")
    ] = None,
) -> None:
    """Take an order out on the own network, where all see it.

    For its safety officer. The suspension stands in the ledger.
    """
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.core.remedy import OrderSuspended

    person, documents, now = Person.load(options.config, options.key), Documents(), now_ms()
    values = {
        "until_ms": time_of(until, now, "until") if until else None,
        "reason_sha256": documents.text(reason),
    }

    async def run(client: ControlClient) -> None:
        order, _ = await known(client, options.order_id, options.entry)
        payload = about(OrderSuspended, person.trust.origin, order, "", now, **values)
        show_order(order)
        confirm(payload, yes=options.yes)
        act = signed(payload, person)
        proof = await client.record_act(act, documents.files, validate_only=options.validate_only)
        say("Suspended.", proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


@with_options(Options)
def resume(
    options: Options,
    *,
    reason: Reason = None,
    operator: Annotated[
        str | None, typer.Option(help="Whose suspension, where several operators have one.")
    ] = None,
) -> None:
    """End a suspension on the own network."""
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.core.remedy import OrderResumed

    person, documents, now = Person.load(options.config, options.key), Documents(), now_ms()
    why = documents.text(reason)

    async def run(client: ControlClient) -> None:
        order, _ = await known(client, options.order_id, options.entry)
        payload = about(
            OrderResumed,
            person.trust.origin,
            order,
            "",
            now,
            suspension_sha256=_suspension_of(order, operator),
            reason_sha256=why,
        )
        show_order(order)
        confirm(payload, yes=options.yes)
        act = signed(payload, person)
        proof = await client.record_act(act, documents.files, validate_only=options.validate_only)
        say("Resumed.", proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


def _suspension_of(order: KnownOrder, operator: str | None) -> str:
    """Return the suspension that an act ends, by its payload's hash."""
    if operator is None and len(order.suspensions) > 1:
        raise InputError(
            f"{', '.join(order.suspensions)} have suspended {order.ref.order_id}",
            advice="Say whose suspension ends: --operator.",
            field="operator",
        )
    found = order.suspensions.get(operator or next(iter(order.suspensions), ""))
    if found is None:
        raise ConflictError(
            f"{operator or 'nobody'} has suspended {order.ref.order_id}",
            advice="Nothing needs to be done.",
            field="operator",
        )
    return found
