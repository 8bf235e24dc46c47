"""``enforcer audit witness``: cosign checkpoints for others (C2SP tlog-witness)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer


def witness(
    *, config: Annotated[Path, typer.Option("--config", "-c", help="Its witness.toml.")]
) -> None:
    """Run a witness: it cosigns what extends all it has seen.

    Its key (enforcer key new --no-passphrase) is for nothing else; trust files name it by its vkey
    (enforcer key show --witness NAME). One whose state was lost or restored needs another key.
    """
    from enforcer.app.witness import run_witness
    from enforcer.config import WitnessConfig, read

    asyncio.run(run_witness(read(config, WitnessConfig)))
