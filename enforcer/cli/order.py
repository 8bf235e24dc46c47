"""``enforcer order``: propose, approve, prolong, stop, read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from enforcer.cli.output import (
    CLIENT_CONFIG,
    AsJson,
    Config,
    busy,
    emit_json,
    emit_pairs,
    err,
    now_ms,
    out,
    when,
)
from enforcer.cli.propose import propose
from enforcer.cli.show import order_lines
from enforcer.cli.signing import Key, ReceiptFile, Yes, confirm, tell
from enforcer.cli.words import time_of
from enforcer.errors import EnforcerError, InputError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.orders import KnownOrder, Particulars
    from enforcer.app.people import Person
    from enforcer.core.envelope import Envelope

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Propose, approve, prolong, stop and read orders.",
)
app.command("propose")(propose)

OrderId = Annotated[str, typer.Argument(help="Such as VN-2026-000001.")]
Entry = Annotated[
    int | None, typer.Option(help="Entry index of the proposal, for an older version.")
]
Reason = Annotated[str | None, typer.Option(help="Why; kept beside the ledger, erasable.")]


@app.command("approve")
def approve(
    order_id: OrderId,
    *,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Have it judged, and record nothing.")
    ] = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Approve an order as the second person: it blocks."""
    from enforcer.app.orders import approval, particulars
    from enforcer.app.people import Person

    person = Person.load(config, key)

    async def run(client: ControlClient) -> None:
        known, policy_sha256 = await _known(client, order_id, entry)
        payload = approval(person.trust.origin, known, policy_sha256, now_ms())
        with busy("read the order's list"):
            said = await particulars(client, known.payload)
        _show_order(known, said)
        confirm(payload, yes=yes)
        proof = await client.approve(_signed(payload, person), validate_only=validate_only)
        if proof is not None:
            tell("Approved.", proof, receipt, as_json=as_json)
        elif as_json:
            emit_json({"valid": True})
        else:
            out().print("[green]It would be accepted.[/] Nothing was recorded.")

    _with_client(person, run)


@app.command("extend")
def extend(
    order_id: OrderId,
    *,
    until: Annotated[str, typer.Option(help="The new end: +30d from now, or a date.")],
    to: Annotated[Path, typer.Option("--out", help="Where to write the act for the other person.")],
    review: Annotated[
        str | None, typer.Option(help="When it is reviewed; else at its end.")
    ] = None,
    entry: Entry = None,
    key: Key = None,
    yes: Yes = False,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Begin an extension, as the first of two persons.

    The other one signs the file that this writes, and submits it: enforcer order sign.
    """
    from enforcer.app.acts import write_act
    from enforcer.app.orders import extension
    from enforcer.app.people import Person

    person = Person.load(config, key)
    now = now_ms()
    until_ms = time_of(until, now, "until")
    review_ms = time_of(review, now, "review") if review else until_ms

    async def run(client: ControlClient) -> None:
        known, policy_sha256 = await _known(client, order_id, entry)
        origin = person.trust.origin
        payload = extension(origin, known, policy_sha256, until_ms, review_ms, now)
        _show_order(known)
        confirm(payload, yes=yes)
        write_act(to, _signed(payload, person))

    _with_client(person, run)
    if as_json:
        emit_json({"act": str(to), "signatures": 1})
    else:
        out().print(f"[green]Wrote[/] {escape(str(to))}. A person of the other role (proposer or")
        out().print(f"approver) signs and submits it: enforcer order sign {escape(str(to))}")


@app.command("sign")
def sign(
    act_file: Annotated[Path, typer.Argument(help="The extension that the first person signed.")],
    *,
    key: Key = None,
    yes: Yes = False,
    receipt: ReceiptFile = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Sign an extension as the second person, and submit it."""
    from enforcer.app.acts import add_signature, read_act
    from enforcer.app.people import Person
    from enforcer.core.order import OrderExtended

    act, payload = read_act(act_file)
    if not isinstance(payload, OrderExtended):
        raise InputError(
            f"{act_file} is no extension",
            advice="Name a file that `enforcer order extend` wrote.",
            path=str(act_file),
        )
    person = Person.load(config, key)
    confirm(payload, yes=yes)
    signed = add_signature(act, person.key)

    async def run(client: ControlClient) -> None:
        proof = await client.extend(signed)
        if proof is not None:
            tell("Extended.", proof, receipt, as_json=as_json)

    _with_client(person, run)


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
    from enforcer.app.acts import side_file, write_stop
    from enforcer.app.orders import find_in_ledger, stopping
    from enforcer.app.people import Person

    person = Person.load(config, key)
    documents = [side_file(reason.encode("utf-8"))] if reason else []

    async def run(client: ControlClient) -> None:
        if ledger is not None:
            known = find_in_ledger(ledger, person.trust, order_id, entry)
        else:
            known = (await _known(client, order_id, entry))[0]
        payload = stopping(person.trust.origin, known, documents, now_ms())
        _show_order(known)
        confirm(payload, yes=yes)
        act = _signed(payload, person)
        if to is not None:
            write_stop(to, act)
        pushed = await _push(person, act, node or [])
        try:
            proof = await client.stop(act, documents)
        except EnforcerError as error:
            if not pushed:
                raise
            err().print(f"[yellow]The control plane did not record it:[/] {escape(error.message)}")
            err().print("The nodes above obey it all the same, and bring it to the ledger.")
        else:
            tell("Stopped.", proof, receipt, as_json=as_json)

    _with_client(person, run)


@app.command("show")
def show(
    order_id: OrderId,
    *,
    entry: Entry = None,
    targets: Annotated[
        Path | None, typer.Option(help="Write the whole target list to this file.")
    ] = None,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show an order: what it says, who signed, where it stands."""
    from enforcer.app.orders import particulars
    from enforcer.app.people import Person

    person = Person.load(config)

    async def run(client: ControlClient) -> None:
        known = (await _known(client, order_id, entry))[0]
        if as_json and targets is None:
            emit_json(known.plain())
            return
        with busy("read the order's list"):
            said = await particulars(client, known.payload, targets)
        if as_json:
            emit_json(known.plain())
        else:
            _show_order(known, said, to_stdout=True)

    _with_client(person, run)


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

    _with_client(person, run)
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


def _with_client(person: Person, run: Callable[[ControlClient], Awaitable[None]]) -> None:
    async def connected() -> None:
        async with person.client() as client:
            await run(client)

    asyncio.run(connected())


async def _known(client: ControlClient, order_id: str, entry: int | None) -> tuple[KnownOrder, str]:
    from enforcer.app.orders import known_order

    order = await client.get(order_id, entry)
    return known_order(order, order_id), order.policy_sha256


def _signed(payload: object, person: Person) -> Envelope:
    from enforcer.app.acts import signed
    from enforcer.core.payload import Payload

    if not isinstance(payload, Payload):
        raise TypeError("only payloads are signed")
    return signed(payload, person.key)


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


def _show_order(
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
