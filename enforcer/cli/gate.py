"""``enforcer gate``: the gate in the foreground, and what its operator does with one that runs."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from enforcer.cli.output import out, when
from enforcer.cli.words import time_of

Mode = Literal["enforce", "shadow", "bypass"]

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


Config = Annotated[Path, typer.Option("--config", "-c", help="The gate's gate.toml.")]
By = Annotated[str, typer.Option(help="Who decides it: your name.")]
Reason = Annotated[str, typer.Option(help="Why; it is shown and kept.")]
Until = Annotated[str, typer.Option(help="When it ends by itself: 90s, 1h, a date; 24h at most.")]


@app.command("bypass")
def bypass(*, config: Config, by: By, reason: Reason, until: Until = "1h") -> None:
    """Switch blocking off at once: every query passes.

    The node attests it, so that everybody can see it. It outlives a restart.
    """
    _set_mode("bypass", config, by, reason, until)


@app.command("shadow")
def shadow(*, config: Config, by: By, reason: Reason, until: Until = "1h") -> None:
    """Decide and count, but pass every query.

    The node attests it, so that everybody can see it. It outlives a restart.
    """
    _set_mode("shadow", config, by, reason, until)


@app.command("resume")
def resume(*, config: Config, by: By, reason: Reason) -> None:
    """Do again what the configuration says."""
    _set_mode("enforce", config, by, reason, "24h")


@app.command("health")
def health(
    *,
    config: Config,
    unconfirmed_max: Annotated[
        str | None,
        typer.Option(help="Unhealthy when no node confirmed its table for so long, such as 1h."),
    ] = None,
) -> None:
    """Say in one line whether clients should be sent here.

    Exit code 0: yes; 1: no.
    """
    from enforcer.app.gate_health import gate_health
    from enforcer.config import GateConfig, read

    bound = None
    if unconfirmed_max is not None:
        bound = time_of(f"+{unconfirmed_max.lstrip('+')}", 0, "unconfirmed-max") // 1_000
    found = asyncio.run(gate_health(read(config, GateConfig), unconfirmed_seconds_max=bound))
    typer.echo(found.line)
    if found.problems:
        raise typer.Exit(1)


@app.command("units")
def units(
    *,
    installation: Annotated[Path, typer.Option(help="What `enforcer init` made.")],
    directory: Annotated[
        Path, typer.Option("--dir", help="Where to write them, such as /etc/systemd/system.")
    ],
    program: Annotated[
        Path | None, typer.Option(help="The enforcer that they run; this one if not given.")
    ] = None,
) -> None:
    """Write systemd units with the narrowest rights.

    For the gate, the node and the control plane.
    """
    from enforcer.app.units import write_units

    own = Path(sys.executable).parent / "enforcer"
    for path in write_units(directory, installation.resolve(), program or own):
        out().print(f"Wrote {escape(str(path))}")


def _set_mode(mode: Mode, config: Path, by: str, reason: str, until: str) -> None:
    from enforcer.app.gate import set_mode
    from enforcer.config import GateConfig, read

    now_ms = time.time_ns() // 1_000_000
    text = until if until.startswith("+") or "-" in until else f"+{until}"
    seconds = (time_of(text, now_ms, "until") - now_ms) // 1_000
    settings = read(config, GateConfig)
    report = asyncio.run(
        set_mode(settings.control_socket, mode, by=by, reason=reason, seconds=seconds)
    )
    override = report.override
    ends = f" until {when(override.until_ms)}" if override is not None else ""
    out().print(f"The gate's mode is {report.mode.name}{ends}")
