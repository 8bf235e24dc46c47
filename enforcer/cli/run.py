"""``enforcer control|node|gate``: the three programs, each in the foreground."""

from __future__ import annotations

import asyncio
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


def node(*, config: Annotated[Path, typer.Option("--config", "-c", help="Its node.toml.")]) -> None:
    """Run a node: follows and verifies, keeps a gate's table."""
    from enforcer.app.node import run_node
    from enforcer.config import NodeConfig, read

    settings = read(config, NodeConfig)
    with progress() as advance:
        asyncio.run(run_node(settings, lambda done, total: advance("fold", done, total)))


def gate(*, config: Annotated[Path, typer.Option("--config", "-c", help="Its gate.toml.")]) -> None:
    """Run a gate: answers DNS by the table, or passes it on."""
    from enforcer.app.gate import run_gate
    from enforcer.config import GateConfig, read

    run_gate(read(config, GateConfig))
