"""``enforcer check TARGET``: what decides a name or an address, and why."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import AsJson, emit_json, emit_pairs, now_ms, out, progress, when
from enforcer.cli.words import not_read, plain_not_read, time_of
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.check import AddressExplanation, Explanation

ROWS = {
    1: "row 1: a protected core name passes, whatever orders say",
    2: "row 2: the longest matching target wins",
    3: "row 3: of several orders at one target the earliest is named",
    4: "row 4: nothing matches",
}
CAUSES = {
    "PROTECTED_CORE": "it is in the protected core, which passes whatever orders say",
    "PROTECTED_LIST": "the longest prefix around it is protected",
    "ORDER": "the longest prefix around it is an order's, of several the earliest one's",
    "NO_MATCH": "nothing matches",
}


def check(
    target: Annotated[
        str, typer.Argument(help="A domain name (an IDN may be written as it is), or an address.")
    ],
    *,
    qtype: Annotated[str, typer.Option("--type", help="Query type.")] = "A",
    ledger: Annotated[
        Path | None, typer.Option(help="A ledger's directory, or a node's state directory.")
    ] = None,
    trust: Annotated[Path, typer.Option(help="The installation's trust.toml.")] = Path(
        "trust.toml"
    ),
    gate: Annotated[
        Path | None, typer.Option(help="Ask the running gate at this socket instead.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Decide for this time: +2d, 2027-01-31 …")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what decides a name or an address, and why.

    The order and its line, until when it lasts, and where to appeal.
    """
    from enforcer.app import check as checks
    from enforcer.config import read_trust

    address = checks.address_of(target)
    wanted = checks.name_of(target) if address is None else None
    number = checks.qtype_of(qtype)
    if (gate is None) == (ledger is None):
        raise InputError(
            "there is nothing to look into, or too much",
            advice="Give either --ledger DIRECTORY or --gate SOCKET.",
            field="ledger",
        )
    if gate is not None:
        if wanted is None:
            raise InputError(
                "a gate decides names only",
                advice="Use --ledger, with the node's state directory.",
                field="gate",
            )
        if at is not None:
            raise InputError(
                "a gate decides for now only", advice="Use --ledger with --at.", field="at"
            )
        said = asyncio.run(checks.ask_gate(gate, wanted, number))
        if as_json:
            emit_json({"name": wanted.text, "type": number, **said})
        else:
            _show_gate(wanted.text, said)
    elif ledger is not None:
        with progress() as advance:
            replayed = checks.replay(ledger, read_trust(trust), advance)
        now = now_ms()
        t_ms = time_of(at, now, "at") if at else now
        # What the ledger has recorded has happened, whatever this machine's clock says.
        floor_ms = replayed.state.recorded_at_ms if at is None else 0
        t_ms = max(t_ms, floor_ms)
        policy = replayed.state.policy
        url = policy.payload.register_url if policy else ""
        if wanted is not None:
            _tell_name(replayed.explain(wanted, number, t_ms), url, as_json=as_json)
        elif address is not None:
            _tell_address(replayed.explain_address(address, t_ms), url, as_json=as_json)


def _tell_name(said: Explanation, register_url: str, *, as_json: bool) -> None:
    verdict = said.verdict
    if as_json:
        head = {"name": said.name.text, "type": said.qtype, "denial": verdict.denial.name}
        emit_json({**head, "row": said.row, **_plain(said, register_url)})
        return
    how = verdict.denial.name if verdict.order is not None else None
    _show(said, said.name.text, how, ROWS[said.row], register_url)


def _tell_address(said: AddressExplanation, register_url: str, *, as_json: bool) -> None:
    order = said.verdict.order
    how = order.ip_measure.name if order is not None else None
    if as_json:
        emit_json({"address": str(said.address), "measure": how, **_plain(said, register_url)})
        return
    _show(said, str(said.address), how, CAUSES[said.verdict.cause.name], register_url)


def _show(
    said: Explanation | AddressExplanation,
    target: str,
    how: str | None,
    because: str,
    register_url: str,
) -> None:
    action = said.verdict.action.name
    colour = {"BLOCK": "bold red", "PASS": "bold green"}[action]
    out().print(f"[{colour}]{action}[/]{f' ({how})' if how else ''} [bold]{escape(target)}[/]")
    order = said.order
    emit_pairs(
        {
            "because": because,
            "line": f"{said.line.text!r}, line {said.line.number} of the list "
            f"{said.line.list_sha256[:16]}…"
            if said.line
            else None,
            "order": f"{order.payload.order_id} version {order.payload.version}, "
            f"entry {order.index}"
            if order
            else None,
            "ordered by": order.payload.authority if order else None,
            "signed by": ", ".join(dict.fromkeys(signer.person_id for signer in order.signers))
            if order
            else None,
            "until": when(order.until_ms) if order else None,
            "appeal": f"{order.payload.appeal.body}, {order.payload.appeal.address}"
            if order
            else None,
            "register": register_url + order.payload.order_id if order else None,
            "also there": ", ".join(each.payload.order_id for each in said.also) or None,
            **not_read(said.missing),
            "at": when(said.t_ms),
        }
    )


def _plain(said: Explanation | AddressExplanation, register_url: str) -> dict[str, object]:
    order = said.order
    return {
        "at_ms": said.t_ms,
        "action": said.verdict.action.name,
        "cause": said.verdict.cause.name,
        "line": said.line.text if said.line else None,
        "line_number": said.line.number if said.line else None,
        "list_sha256": said.line.list_sha256 if said.line else None,
        "order_id": order.payload.order_id if order else None,
        "order_index": order.index if order else None,
        "until_ms": order.until_ms if order else None,
        "register_url": register_url + order.payload.order_id if order else None,
        "also": [each.payload.order_id for each in said.also],
        **plain_not_read(said.missing),
    }


def _show_gate(name: str, said: dict[str, str | int | None]) -> None:
    action = str(said["action"])
    colour = {"BLOCK": "bold red", "PASS": "bold green"}.get(action, "bold")
    out().print(f"[{colour}]{action}[/] [bold]{escape(name)}[/]")
    at_ms = said.get("at_ms")
    unshown = ("action", "at_ms") if action == "BLOCK" else ("action", "at_ms", "kind", "denial")
    shown = {key: value for key, value in said.items() if key not in unshown}
    shown["at"] = when(at_ms) if isinstance(at_ms, int) else None
    emit_pairs({key.replace("_", " "): value for key, value in shown.items()})
