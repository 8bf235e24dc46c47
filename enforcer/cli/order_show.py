"""``enforcer order show``: what an order says, where it stands, what frees it, its whole life."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from enforcer.cli.order_flow import Entry, OrderId, known, show_order, with_client
from enforcer.cli.order_nodes import tell_fleet
from enforcer.cli.order_sealed import ListKey
from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    busy,
    emit_json,
    emit_pairs,
    out,
    when,
)
from enforcer.cli.show import sentence
from enforcer.core.guard import Guard
from enforcer.core.judge_holds import LIFT_RULES

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.order_life import Event

WHY_LINES_MAX: Final = 12


def show(
    order_id: OrderId,
    *,
    entry: Entry = None,
    targets: Annotated[
        Path | None, typer.Option(help="Write the whole target list to this file.")
    ] = None,
    list_key: ListKey = None,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Say node by node how it stands there.")
    ] = False,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show an order: what it says, where it stands, its life.

    What holds it, and what would lift that; on how many nodes it is in force, how long that took,
    and which ones leave it out, lag or differ; every entry about it, who signed, when and why.
    """
    from enforcer.app.order_fleet import fleet_plain, known_fleet
    from enforcer.app.order_life import life
    from enforcer.app.orders import particulars
    from enforcer.app.people import Person
    from enforcer.app.sealed_lists import secret_of

    person = Person.load(config)

    async def run(client: ControlClient) -> None:
        order = (await known(client, order_id, entry))[0]
        secret = order.list_secret
        is_sealed = order.payload.publication.is_sealed
        if is_sealed and secret is None and (targets is not None or list_key is not None):
            secret = await secret_of(client, person, order.payload, list_key)
        if as_json and targets is None:
            said = None
        else:
            with busy("read the order's list"):
                said = await particulars(client, order.payload, targets, secret)
        with busy("read its history"):
            events = await life(client, order_id)
        fleet = await known_fleet(client, order.ref, with_nodes=nodes)
        if as_json:
            frees = {guard.name: lift_words(guard) for guard in order.holds}
            history = [event.plain() for event in events]
            at_nodes = fleet_plain(fleet, with_nodes=nodes)
            emit_json({**order.plain(), "would_lift": frees, "nodes": at_nodes, "history": history})
            return
        show_order(order, said, to_stdout=True)
        if order.holds:
            out().print("\n[bold]It is on hold[/]")
            emit_pairs({guard.name: lift_words(guard) for guard in order.holds})
        tell_fleet(fleet, with_nodes=nodes)
        out().print("\n[bold]Its life[/]")
        for event in events:
            _tell(event)

    with_client(person, run)


def lift_words(guard: Guard) -> str:
    """Return what lifts the hold of a guard, for people."""
    rule = LIFT_RULES.get(guard)
    if rule is None:
        return "nobody lifts it: reject or stop the order, and propose one without these targets"
    roles = " or ".join(sorted(role.name.lower() for role in rule.roles))
    who = f"lifted by {roles}"
    if guard is not Guard.PERSON:
        who += " who did not sign the order and will not"
    if rule.needs_court:
        who += "; only for a court's decision that names each protected entry (--override)"
    if rule.needs_assessment:
        who += "; after an assessment was recorded (--assessment)"
    return who


def _tell(event: Event) -> None:
    """Print one entry: when, what, by whom, and why."""
    who = ", ".join(event.signed_by)
    out().print(
        f"{when(event.recorded_at_ms)}  [bold]{escape(event.kind)}[/] by {escape(who)} "
        f"[dim](entry {event.index})[/]"
    )
    out().print(f"    {escape(sentence(event.payload))}")
    lines = (event.why or "").strip().splitlines()
    for line in lines[:WHY_LINES_MAX]:
        out().print(f"    [dim]│[/] {escape(line)}")
    if len(lines) > WHY_LINES_MAX:
        out().print(f"    [dim]│ … and {len(lines) - WHY_LINES_MAX} lines more[/]")
