"""``enforcer node``: runs a node, founds another one, and brings what a far one attested."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import CLIENT_CONFIG, AsJson, Config, emit_json, out, progress, when
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.new_node import NewNode

app = typer.Typer(invoke_without_command=True)


@app.callback()
def node(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Its node.toml.")] = None,
) -> None:
    """Run a node: follows and verifies, keeps a gate's table."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("it is needed to run a node", param_hint="'--config' / '-c'")
    from enforcer.app.node import run_node
    from enforcer.config import NodeConfig, read

    settings = read(config, NodeConfig)
    with progress() as advance:
        asyncio.run(run_node(settings, lambda done, total: advance("fold", done, total)))


@app.command("new")
def new(
    directory: Annotated[Path, typer.Argument(help="A directory that is empty or not there yet.")],
    *,
    like: Annotated[Path, typer.Option(help="An installation with a node, as init wrote it.")],
    node_id: Annotated[str, typer.Option(help="The new node's id.")],
    operator: Annotated[str, typer.Option(help="The ISP whose network it serves.")] = "isp",
    listen: Annotated[str, typer.Option(help="Where its gate takes queries.")] = "127.0.0.1:53",
    upstream: Annotated[str, typer.Option(help="The resolver behind it.")] = "127.0.0.1:5353",
    node_listen: Annotated[
        str | None, typer.Option(help="Where it takes stops, suspensions and questions.")
    ] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="It takes new blocks first; others may follow it.")
    ] = False,
    follow: Annotated[
        list[str] | None, typer.Option(help="A canary's --node-listen, to follow it; repeated.")
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(help="No network reaches it: where copies of the ledger are brought to."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write another node's folder, and say what comes next."""
    from enforcer.app.installation import Installation
    from enforcer.app.new_node import NewNode, add_node
    from enforcer.config import Address, CanaryPart

    def address(field: str, text: str) -> Address:
        try:
            return Address(text)
        except ValueError as error:
            raise InputError(str(error), advice=f"Correct --{field}.", field=field) from error

    try:
        part = CanaryPart(
            role="canary" if canary else "none",
            follows=tuple(address("follow", each) for each in follow or ()),
        )
    except ValueError as error:
        advice = "Leave out --canary or --follow."
        raise InputError(str(error), advice=advice, field="follow") from error
    plan = NewNode(
        node_id=node_id,
        operator=operator,
        dns_listen=address("listen", listen),
        dns_upstream=address("upstream", upstream),
        listen=address("node-listen", node_listen) if node_listen is not None else None,
        canary=part,
        copy=copy.absolute() if copy is not None else None,
    )
    request = add_node(directory, Installation(like), plan)
    if as_json:
        emit_json({"directory": str(directory), "request": str(request)})
        return
    out().print(f"[green]Wrote the node {escape(node_id)} into {escape(str(directory))}[/]")
    for number, step in enumerate(next_steps(directory, like, plan, request), 1):
        out().print(f"{number}. {escape(step)}")


def next_steps(directory: Path, like: Path, plan: NewNode, request: Path) -> list[str]:
    """Return what is to be done after a node's folder was written."""
    host = f" --host {plan.listen.host}" if plan.listen is not None else ""
    steps = []
    if plan.copy is None:
        steps.append(
            f"Who holds ca.key: enforcer pki issue {request} --ca {like}/ca{host} "
            f"--out {directory}/node/tls.crt"
        )
    steps.append(
        f"One root, offline: enforcer trust register {request} --until +365d --out act.json; "
        "roots sign it (enforcer trust sign), and a person with a certificate brings it: "
        "enforcer trust submit act.json -c client.toml"
    )
    if plan.listen is not None:
        steps.append(
            f'Every safety officer of {plan.operator}: "{plan.listen}" into nodes in client.toml.'
        )
    if plan.canary.role == "canary":
        steps.append(
            f"In {directory}/gate/gate.toml: golden_names, which its gate asks for every new "
            "block before others take it."
        )
    steps.append(
        f"Move {directory} to the resolver, and there: enforcer gate -c {directory}/gate/gate.toml;"
        f" enforcer node -c {directory}/node/node.toml (or as services: enforcer gate units "
        f"--installation {directory} --dir /etc/systemd/system)"
    )
    if plan.copy is not None:
        steps.append(
            f"Whenever somebody goes there: bring the ledger to {plan.copy} (enforcer ledger "
            f"backup), and {directory}/node/state/attestation.json back: "
            "enforcer node deliver attestation.json -c client.toml"
        )
    steps.append(
        f"See that all is well: enforcer status --node {directory}/node/node.toml "
        f"--gate {directory}/gate/gate.sock"
    )
    return steps


@app.command("deliver")
def deliver(
    files: Annotated[
        list[Path], typer.Argument(help="attestation.json of nodes, or their state_dirs.")
    ],
    *,
    config: Config = CLIENT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Bring what a node attested that reaches no control plane.

    It is signed by the node, and counts for seven days from the node's own time.
    """
    from enforcer.app import carrying
    from enforcer.app.people import Person

    person = Person.load(config)
    carried = [carrying.read_carried(path) for path in files]
    asyncio.run(carrying.deliver(person, [envelope for envelope, _ in carried]))
    if as_json:
        emit_json(
            [
                {"node_id": said.node_id, "t_ms": said.t_ms, "ledger_size": said.ledger_size}
                for _, said in carried
            ]
        )
        return
    for _, said in carried:
        out().print(
            f"[green]Delivered[/] what {escape(said.node_id)} attested on {when(said.t_ms)}, after "
            f"{said.ledger_size} entries. See: enforcer order show ORDER --nodes"
        )


@app.command("dashboard")
def dashboard() -> None:
    """Print a Grafana dashboard over what nodes show."""
    from enforcer.app.dashboard import dashboard as text

    sys.stdout.write(text())
