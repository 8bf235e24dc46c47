"""``enforcer control|node``: two of the programs, each in the foreground; `gate` is the third."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.output import progress


def control(
    *, config: Annotated[Path, typer.Option("--config", "-c", help="Its control.toml.")]
) -> None:
    """Run the control plane: takes acts, keeps the ledger."""
    from enforcer.app.control import run_control
    from enforcer.config import ControlConfig, read

    settings = read(config, ControlConfig)
    with progress() as advance:
        asyncio.run(run_control(settings, lambda done, total: advance("fold", done, total)))


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
