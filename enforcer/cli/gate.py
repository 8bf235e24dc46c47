"""``enforcer gate``: the gate in the foreground, and what its operator does with one that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(invoke_without_command=True)


@app.callback()
def gate(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Its gate.toml.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it could run, and with which sockets.")
    ] = False,
) -> None:
    """Run a gate: answers DNS by the table, or passes it on.

    SIGHUP has it become the program as it is installed now, without losing a query.
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("it is needed to run a gate", param_hint="'--config' / '-c'")
    from enforcer.app.gate import check_gate, run_gate
    from enforcer.config import GateConfig, read

    settings = read(config, GateConfig)
    if check:
        typer.echo(check_gate(settings))
    else:
        run_gate(settings)
