"""``enforcer order suspend|resume``: a safety officer's power over the own network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from enforcer.cli.order_flow import Options, Reason, say, show_order, signed, with_client
from enforcer.cli.output import emit_json, err, now_ms, out
from enforcer.cli.shared_options import with_options
from enforcer.cli.signing import confirm, tell
from enforcer.cli.words import time_of
from enforcer.errors import EnforcerError, UnavailableError

if TYPE_CHECKING:
    from enforcer.api.client import ControlClient
    from enforcer.app.people import Person
    from enforcer.app.suspending import Said
    from enforcer.core.envelope import Envelope
    from enforcer.core.remedy import OrderResumed, OrderSuspended

Node: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Push it to this node, beside those of client.toml; may be repeated."),
]
Drop: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Write it for nodes without a network: into their folder `stops`."),
]
LedgerCopy: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Find the order in this copy of the ledger; nobody is asked."),
]


@with_options(Options)
def suspend(
    options: Options,
    *,
    reason: Reason = None,
    until: Annotated[
        str | None, typer.Option(help="When it ends by itself: +2d, a date; else with the order.")
    ] = None,
    node: Node = None,
    drop: Drop = None,
    ledger: LedgerCopy = None,
) -> None:
    """Take an order out on the own network, where all see it.

    For its safety officer. All nodes of client.toml lift it at once, with the control plane or
    without; the suspension stands in the ledger as soon as that can be reached.
    """
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.app.suspending import first_known
    from enforcer.core.remedy import OrderSuspended

    person, documents, now = Person.load(options.config, options.key), Documents(), now_ms()
    nodes = _nodes(person, node)
    until_ms = time_of(until, now, "until") if until else None
    why = documents.text(reason)

    async def make() -> OrderSuspended:
        order = await first_known(person, nodes, options.order_id, options.entry, ledger)
        show_order(order)
        origin = person.trust.origin
        return about(OrderSuspended, origin, order, "", now, until_ms=until_ms, reason_sha256=why)

    _bring(options, person, nodes, asyncio.run(make()), documents.files, drop, "Suspended.")


@with_options(Options)
def resume(
    options: Options,
    *,
    reason: Reason = None,
    operator: Annotated[
        str | None, typer.Option(help="Whose suspension, where no node of your own can tell.")
    ] = None,
    node: Node = None,
    drop: Drop = None,
    ledger: LedgerCopy = None,
) -> None:
    """End a suspension on the own network.

    It goes the ways of the suspension, and names it.
    """
    from enforcer.app.order_acts import Documents, about
    from enforcer.app.people import Person
    from enforcer.app.suspending import suspended
    from enforcer.core.remedy import OrderResumed

    person, documents, now = Person.load(options.config, options.key), Documents(), now_ms()
    nodes = _nodes(person, node)
    why = documents.text(reason)

    async def make() -> OrderResumed:
        order, named = await suspended(
            person, nodes, options.order_id, options.entry, ledger, operator
        )
        show_order(order)
        origin = person.trust.origin
        return about(
            OrderResumed, origin, order, "", now, suspension_sha256=named, reason_sha256=why
        )

    _bring(options, person, nodes, asyncio.run(make()), documents.files, drop, "Resumed.")


def _nodes(person: Person, more: Sequence[str] | None) -> list[str]:
    """Return the addresses of all nodes to reach, each once."""
    return list(dict.fromkeys([*map(str, person.config.nodes), *(more or ())]))


def _bring(
    options: Options,
    person: Person,
    nodes: Sequence[str],
    payload: OrderSuspended | OrderResumed,
    documents: Sequence[bytes],
    drop: Path | None,
    done: str,
) -> None:
    """Have it signed, bring it everywhere, and say what came of it."""
    from enforcer.app.suspending import push, write_drop

    confirm(payload, yes=options.yes)
    act = signed(payload, person)
    if options.validate_only:
        _validate(options, person, act, documents, done)
        return
    dropped = write_drop(drop, act, documents) if drop is not None else None
    if dropped is not None:
        err().print(f"[green]{escape(str(dropped))}[/]: written")
    said = asyncio.run(push(person, nodes, act, documents))
    _tell(options, said, dropped, done)


def _validate(
    options: Options, person: Person, act: Envelope, documents: Sequence[bytes], done: str
) -> None:
    async def run(client: ControlClient) -> None:
        proof = await client.record_act(act, documents, validate_only=True)
        say(done, proof, options.receipt, as_json=options.as_json)

    with_client(person, run)


def _tell(options: Options, said: Said, dropped: Path | None, done: str) -> None:
    """Say node by node what became of it, and whether it is recorded.

    Raises:
        EnforcerError: nobody took it, or the ledger says another thing: why it is not recorded.
        typer.Exit: neither the ledger nor all nodes have it.
    """
    shown: dict[str, str] = {}
    for address, outcome in said.nodes.items():
        if isinstance(outcome, EnforcerError):
            shown[address] = outcome.message
            err().print(f"[yellow]{escape(address)}[/] did not take it: {escape(outcome.message)}")
        else:
            shown[address] = outcome
            err().print(f"[green]{escape(address)}[/]: {escape(outcome)}")
    more: Mapping[str, object] = {
        "nodes": shown,
        "away": said.away,
        "drop": str(dropped) if dropped else None,
    }
    _tell_away(said, dropped)
    if said.recorded is not None:
        tell(done, said.recorded, options.receipt, as_json=options.as_json, more=more)
        return
    problem = said.problem
    if problem is not None and (said.is_refused or not (said.taken or dropped)):
        raise problem
    why = problem.message if problem is not None else "it gave no proof"
    err().print(f"[yellow]The control plane did not record it:[/] {escape(why)}")
    if options.as_json:
        emit_json({"entry_index": None, "problem": why, **more})
    elif said.stands:
        out().print(f"[green]{done}[/] The ledger says so already.")
    elif said.taken:
        out().print(f"[green]{done}[/] At {len(said.taken)} of {len(said.nodes)} nodes; they bring")
        out().print("it to the ledger as soon as the control plane answers.")
    if not said.is_everywhere:
        raise typer.Exit(UnavailableError.exit_code)


def _tell_away(said: Said, dropped: Path | None) -> None:
    """Say which nodes do not have it, and how it comes to them."""
    if not said.away:
        return
    err().print(f"[yellow]These nodes do not have it:[/] {escape(', '.join(said.away))}")
    if said.stands:
        err().print("The ledger brings it to them as soon as they read on.")
        return
    files = f"the files in {dropped.parent}" if dropped is not None else "what --drop DIR writes"
    for line in (
        "They go on as before until the ledger has it: nodes that took it bring it there as soon",
        "as the control plane answers. Sooner: run this again once they answer, with the same end",
        f"(a date); nodes that have it say so. Or put {files} into the folder stops",
        "of their state_dir.",
    ):
        err().print(escape(line))
