"""``enforcer control``: runs the control plane in the foreground."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.output import now_ms, out, progress

app = typer.Typer(invoke_without_command=True)
ControlFile = Annotated[Path | None, typer.Option("--config", "-c", help="Its control.toml.")]


@app.callback()
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


@app.command("erase")
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
