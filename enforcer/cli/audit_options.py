"""What the auditor's commands have in common: what they are given, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from enforcer.cli.words import time_of

GOOD_EXIT: Final = 0
VIOLATION_EXIT: Final = 1
INCOMPLETE_EXIT: Final = 2

Ledger: TypeAlias = Annotated[
    Path, typer.Argument(help="A ledger's directory, live or a copy, or an archive of one.")
]
Trust: TypeAlias = Annotated[Path, typer.Option(help="The installation's trust.toml.")]
TRUST: Final = Path("trust.toml")
At: TypeAlias = Annotated[
    str | None, typer.Option(help="As of this time: 2027-01-31, 2027-01-31T12:00:00Z, +2d …")
]
Identity: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Your encryption key (PEM): opens sealed lists that were wrapped for you."),
]
COLOURS: Final = {"VIOLATION": "bold red", "INCOMPLETE": "bold yellow", "NOTE": "dim"}


def secret_of(identity: Path | None) -> str | None:
    """Return the age identity in a key file; None where none is given.

    Raises:
        NotFoundError, InputError, UnavailableError: it cannot be read.
    """
    if identity is None:
        return None
    from enforcer.app.keys import load_encryption_key

    return load_encryption_key(identity).secret


def moment(text: str | None, now_ms: int, field: str = "at") -> int | None:
    """Return the time that an option gives, in Unix milliseconds; None where it is not given.

    Raises:
        InputError: it is no time; ``data["field"]`` is `field`.
    """
    return time_of(text, now_ms, field) if text is not None else None
