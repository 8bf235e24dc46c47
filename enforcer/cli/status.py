"""``enforcer status``: what the programs say about themselves, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.output import AsJson, emit_json, emit_pairs, out, when
from enforcer.errors import EnforcerError, InputError, UnavailableError


def status(
    *,
    control: Annotated[
        Path | None, typer.Option(help="Your client.toml: ask the control plane.")
    ] = None,
    node: Annotated[Path | None, typer.Option(help="A node's node.toml on this host.")] = None,
    gate: Annotated[Path | None, typer.Option(help="A gate's control socket on this host.")] = None,
    standby: Annotated[
        Path | None, typer.Option(help="A control.toml on this host: who serves, who stands by.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask control plane, node and gate how they are.

    Exit code 6 when one of them is away.
    """
    from enforcer.app import status as statuses
    from enforcer.app.people import Person
    from enforcer.config import ControlConfig, NodeConfig, read

    asked: dict[str, Callable[[], dict[str, object]]] = {}
    if control is not None:
        asked["control"] = lambda: asyncio.run(statuses.control_status(Person.load(control)))
    if node is not None:
        settings = read(node, NodeConfig)
        asked["node"] = lambda: statuses.node_status(
            settings.state_dir, is_apart=settings.control is None
        )
    if gate is not None:
        asked["gate"] = lambda: asyncio.run(statuses.gate_status(gate))
    if standby is not None:
        directory = read(standby, ControlConfig).ledger_dir
        asked["control planes here"] = lambda: statuses.standby_status(directory)
    if not asked:
        raise InputError(
            "there is nobody to ask",
            advice="Give one or more of --control FILE, --node FILE, --gate SOCKET, "
            "--standby FILE.",
        )
    shown: dict[str, dict[str, object]] = {}
    for name, ask in asked.items():
        try:
            shown[name] = ask()
        except EnforcerError as error:
            shown[name] = {"state": "AWAY", "problem": error.message, "advice": error.advice}
    if as_json:
        emit_json(shown)
    else:
        for name, values in shown.items():
            out().print(f"[bold]{name}[/]")
            emit_pairs(dict(_flat(values)))
    if any(values.get("state") == "AWAY" for values in shown.values()):
        raise typer.Exit(UnavailableError.exit_code)


def _flat(values: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as lines ``a.b``, times as words, what is empty or zero left out."""
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        if name == "order_counters" and isinstance(value, dict):
            by_entry = {f"order in entry {index}": count for index, count in value.items()}
            what = "stopped by " if prefix.startswith("firewall") else "answers by "
            lines += _flat(by_entry, f"{prefix}{what}")
        elif name == "problems" and isinstance(value, dict):
            lines += [(f"  problem: {where}", what) for where, what in value.items()]
        elif name == "suspensions" and isinstance(value, dict):
            lines += _suspensions(value)
        elif isinstance(value, dict):
            lines += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            if value:
                lines.append((f"  {prefix}{name}", ", ".join(map(str, value))))
        elif name.endswith("_ms") and isinstance(value, int) and value:
            lines.append((f"  {prefix}{name.removesuffix('_ms')}", when(value)))
        elif value not in (None, "", 0):
            lines.append((f"  {prefix}{name}", str(value)))
    return lines


def _suspensions(said: dict[str, list[dict[str, object]]]) -> list[tuple[str, str]]:
    """Return who suspended what, since when, why, and whether the ledger has it."""
    lines = []
    for each in said.get("held", ()):
        until_ms = each.get("until_ms")
        words = [
            f"by {each['person_id']} since {when(int(str(each['since_ms'])))}",
            f"until {when(until_ms)}" if isinstance(until_ms, int) else "",
            "" if each["is_recorded"] else "not in the ledger yet",
            str(each.get("why", "")),
        ]
        lines.append((f"  suspended: {each['order_id']}", "; ".join(filter(None, words))))
    resumed = (each for each in said.get("unlogged", ()) if each["kind"] == "OrderResumed")
    dropped = said.get("dropped", ())
    return [
        *lines,
        *((f"  resumed: {each['order_id']}", "not in the ledger yet") for each in resumed),
        *((f"  dropped: {each['order_id']}", str(each["why"])) for each in dropped),
    ]
