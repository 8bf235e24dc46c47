"""``enforcer order``: from the proposal to the end, and what is read of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from enforcer.cli import order_holds, order_pairs, order_remedies, order_sealed, order_suspend
from enforcer.cli.lists import split
from enforcer.cli.order_flow import (
    Entry,
    Options,
    OrderId,
    Reason,
    known,
    say,
    show_order,
    signed,
    with_client,
)
from enforcer.cli.order_show import show
from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    busy,
    emit_json,
    err,
    now_ms,
    out,
    when,
)
from enforcer.cli.propose import propose
from enforcer.cli.shared_options import with_options
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm, tell
from enforcer.errors import EnforcerError, UnavailableError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.people import Person
    from enforcer.core.envelope import Envelope

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Propose, approve, hold, prolong, stop, review and read orders.",
)
app.command("propose")(propose)
app.command("cosign")(order_sealed.cosign)
app.command("split")(split)


@app.command("approve")
@with_options(Options)
def approve(options: Options, *, list_key: order_sealed.ListKey = None) -> None:
    """Approve an order as the second person: it blocks.

    With its list's key, targets that are not public are shown before the signature.
    """
    from enforcer.app.order_acts import about
    from enforcer.app.orders import particulars
    from enforcer.app.people import Person
    from enforcer.app.sealed_lists import secret_of
    from enforcer.core.order import OrderApproved

    person = Person.load(options.config, options.key)

    async def run(client: ControlClient) -> None:
        order, policy_sha256 = await known(client, options.order_id, options.entry)
        payload = about(OrderApproved, person.trust.origin, order, policy_sha256, now_ms())
        with busy("read the order's list"):
            secret = order.list_secret
            if list_key is not None and order.payload.publication.is_sealed:
                secret = await secret_of(client, person, order.payload, list_key)
            said = await particulars(client, order.payload, secret=secret)
        show_order(order, said)
        confirm(payload, yes=options.yes)
        act = signed(payload, person)
        proof = await client.approve(act, validate_only=options.validate_only)
        say("Approved.", proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


app.command("reject")(order_holds.reject)
app.command("hold")(order_holds.hold)
app.command("assess")(order_holds.assess)
app.command("lift")(order_holds.lift)
app.command("confirm")(order_pairs.confirm_order)
app.command("extend")(order_pairs.extend)
app.command("sign")(order_pairs.sign)
app.command("publish")(order_sealed.publish)


@app.command("stop")
def stop(
    order_id: OrderId,
    *,
    reason: Reason = None,
    node: Annotated[
        list[str] | None,
        typer.Option(help="Push the stop straight to this node as well; may be repeated."),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Find the order in this copy of the ledger, not at the control plane."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Keep the signed stop here, for any path.")
    ] = None,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Stop an order, alone, at once and for good.

    Nodes obey it from whichever path it comes, before it is in the ledger.
    """
    from enforcer.app.acts import write_stop
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.orders import find_in_ledger
    from enforcer.app.people import Person
    from enforcer.core.order import OrderStopped

    person = Person.load(config, key)
    documents = Documents()
    why = documents.text(reason)

    async def run(client: ControlClient) -> None:
        if ledger is not None:
            order = find_in_ledger(ledger, person.trust, order_id, entry)
        else:
            try:
                order = (await known(client, order_id, entry))[0]
            except UnavailableError as error:
                raise UnavailableError(
                    error.message,
                    advice="Stop it without the control plane: --ledger COPY (of a backup, or a "
                    "node's state_dir) and --node HOST:PORT for each node; they bring it there.",
                ) from error
        origin = person.trust.origin
        payload = about(OrderStopped, origin, order, "", now_ms(), reason_sha256=why)
        show_order(order)
        confirm(payload, yes=yes)
        act = signed(payload, person)
        if to is not None:
            write_stop(to, act)
        pushed = await _push(person, act, node or [])
        try:
            proof = await client.stop(act, documents.files)
        except EnforcerError as error:
            if not pushed:
                raise
            err().print(f"[yellow]The control plane did not record it:[/] {escape(error.message)}")
            err().print("The nodes above obey it all the same, and bring it to the ledger.")
        else:
            tell("Stopped.", proof, receipt, as_json=as_json)

    with_client(person, run)


app.command("review")(order_remedies.review)
app.command("notify")(order_remedies.notify)
app.command("appeal")(order_remedies.appeal)
app.command("decide-appeal")(order_remedies.decide_appeal)
app.command("suspend")(order_suspend.suspend)
app.command("resume")(order_suspend.resume)
app.command("show")(show)


@app.command("list")
def list_orders(
    *,
    status: Annotated[
        str | None, typer.Option(help="Only orders that stand so: in_force …")
    ] = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List orders, oldest first."""
    from enforcer.app.orders import list_known
    from enforcer.app.people import Person

    person = Person.load(config)
    found = []

    async def run(client: ControlClient) -> None:
        found.extend([order async for order in list_known(client, status)])

    with_client(person, run)
    if as_json:
        emit_json(found)
        return
    table = Table("order", "status", "category", "targets", "until", "signed by", box=None)
    for order in found:
        table.add_row(
            f"{order['order_id']} v{order['version']}",
            str(order["status"]),
            str(order["category"]),
            str(order["target_count"]),
            when(int(str(order["until_ms"]))),
            str(order["signed_by"]),
        )
    out().print(table)


async def _push(person: Person, act: Envelope, nodes: list[str]) -> list[str]:
    """Push a stop to each node at once; return those that took it."""
    from enforcer.app.orders import push

    taken = []
    for address, outcome in await asyncio.gather(*(push(person, act, each) for each in nodes)):
        if isinstance(outcome, EnforcerError):
            err().print(f"[yellow]{escape(address)}[/] did not take it: {escape(outcome.message)}")
        else:
            err().print(f"[green]{escape(address)}[/]: {escape(outcome)}")
            taken.append(address)
    return taken
