"""``enforcer init``: a first installation in an empty directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import AsJson, emit_json, out
from enforcer.errors import InputError


def init(
    directory: Annotated[Path, typer.Argument(help="A directory that is empty or not there yet.")],
    *,
    origin: Annotated[
        str, typer.Option(help="The ledger's name for ever, such as cert.example.org/ledger.")
    ],
    root: Annotated[
        list[str] | None,
        typer.Option(help="A root's public key (enforcer key new); at least two, repeated."),
    ] = None,
    threshold: Annotated[int, typer.Option(help="How many roots must sign together.")] = 2,
    control: Annotated[str, typer.Option(help="Where the control plane listens.")] = (
        "127.0.0.1:7443"
    ),
    redis: Annotated[str, typer.Option(help="The feed's Redis.")] = "redis://127.0.0.1:6379",
    listen: Annotated[str, typer.Option(help="Where the gate takes queries.")] = "127.0.0.1:53",
    upstream: Annotated[str, typer.Option(help="The resolver behind it.")] = "127.0.0.1:5353",
    node_id: Annotated[str, typer.Option(help="The node's id.")] = "node-1",
    demo: Annotated[
        bool, typer.Option("--demo", help="Make everybody's keys here: to try it, never for real.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a first installation into an empty directory.

    Trust, certificates, machine keys, every program's file; and say what comes next.
    """
    from enforcer.app.demo_land import install_demo
    from enforcer.app.installation import Plan, install
    from enforcer.config import Address

    if demo and root:
        raise InputError(
            "--demo makes the root keys itself", advice="Leave out --root.", field="root"
        )
    addresses = {}
    for field, text in (("control", control), ("listen", listen), ("upstream", upstream)):
        try:
            addresses[field] = Address(text)
        except ValueError as error:
            raise InputError(str(error), advice=f"Correct --{field}.", field=field) from error
    plan = Plan(
        origin=origin,
        root_keys=tuple(root or ()),
        root_threshold=threshold,
        control_address=addresses["control"],
        redis_url=redis,
        dns_listen=(addresses["listen"],),
        dns_upstream=addresses["upstream"],
        node_id=node_id,
    )
    made = install_demo(directory, plan) if demo else install(directory, plan)
    if as_json:
        emit_json({"directory": str(made.directory), "trust": str(made.trust_file)})
        return
    out().print(
        f"[green]Wrote an installation of {escape(origin)} into {escape(str(directory))}[/]"
    )
    steps = demo_steps(directory) if demo else next_steps(directory)
    for number, step in enumerate(steps, 1):
        out().print(f"{number}. {escape(step)}")


def next_steps(directory: Path) -> list[str]:
    """Return what is to be done after a production installation."""
    text = f"""\
Move {directory}/ca/ca.key to a machine that is offline; whoever has it can let anybody speak.
Give {directory}/trust.toml to every root, person, node and auditor; compare its SHA-256 by \
telephone.
Each person: enforcer key new signing.key; then enforcer key request signing.key --role … --id … \
--trust trust.toml --out request.json
The authority's holder, for each request: enforcer key certify request.json \
--ca {directory}/ca --out tls.crt
The roots, offline: enforcer trust policy …, enforcer trust register request.json …, each with \
--out act.json; then each root: enforcer trust sign act.json --key root.key
The node's key as well: enforcer key request {directory}/node/signing.key --role node \
--id node-1 …
Start enforcer control -c {directory}/control/control.toml, then submit the acts, the policy \
first: enforcer trust submit act.json …
On the resolver start enforcer gate -c {directory}/gate/gate.toml and enforcer node -c \
{directory}/node/node.toml
"""
    return text.splitlines()


def demo_steps(directory: Path) -> list[str]:
    """Return what is to be done after a demo installation."""
    people = directory / "people"
    text = f"""\
Start: enforcer control -c {directory}/control/control.toml
The roots have signed: enforcer trust submit -c {people}/auditor/client.toml \
{directory}/acts/*.json \
--list {directory}/acts/protected-core.txt --list {directory}/acts/protected-names.txt
Start: enforcer gate -c {directory}/gate/gate.toml; enforcer node -c {directory}/node/node.toml
Propose as an.nguyen: enforcer order propose -c {people}/an.nguyen/client.toml …
Approve as binh.tran: enforcer order approve -c {people}/binh.tran/client.toml ID
"""
    return text.splitlines()
