"""``enforcer control|node``: two of the programs, each in the foreground; `gate` is the third."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.output import now_ms, out, progress

control_app = typer.Typer(invoke_without_command=True)
ControlFile = Annotated[Path | None, typer.Option("--config", "-c", help="Its control.toml.")]


@control_app.callback()
def control(
    context: typer.Context,
    *,
    config: ControlFile = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another process has the ledger.")
    ] = False,
) -> None:
    """Run the control plane: takes acts, keeps the ledger.

    With --standby it follows what the process that serves appends, on the same host and by the
    same control.toml, and takes its place once that has ended or died. Run both with it: whoever
    has the ledger's lock serves. `enforcer status --standby` shows them.
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("it is needed to run it", param_hint="'--config' / '-c'")
    from enforcer.app.control import run_control
    from enforcer.config import ControlConfig, read

    settings = read(config, ControlConfig)
    with progress() as advance:
        asyncio.run(
            run_control(settings, lambda done, total: advance("fold", done, total), standby=standby)
        )


@control_app.command("erase")
def control_erase(
    document: Annotated[str, typer.Argument(help="The document's SHA-256, as acts name it.")],
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="Its control.toml.")],
    reason: Annotated[str, typer.Option(help="The law or decision that asks for it.")],
    by: Annotated[str, typer.Option(help="Who does it.")],
) -> None:
    """Erase a document beside the ledger, as the law may ask.

    The ledger stays whole and verifiable: it has the document's salted hash alone. A mark says
    when, why and by whom it was erased. Copies elsewhere are erased there.
    """
    from enforcer.app.erasure import erase_document
    from enforcer.config import ControlConfig, read

    erase_document(
        read(config, ControlConfig).ledger_dir, document, reason=reason, by=by, now_ms=now_ms()
    )
    out().print(f"Erased {document}. The ledger still verifies: enforcer audit verify.")


node_app = typer.Typer(invoke_without_command=True)


@node_app.callback()
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


@node_app.command("dashboard")
def node_dashboard() -> None:
    """Print a Grafana dashboard over what nodes show."""
    from enforcer.app.dashboard import dashboard

    sys.stdout.write(dashboard())
