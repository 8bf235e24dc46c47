"""The moment before a signature: show it in plain words, ask, sign; and after: the proof."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Protocol, TypeAlias

import typer
from rich.markup import escape

from enforcer.cli import show
from enforcer.cli.output import emit_json, emit_pairs, err, out
from enforcer.core.entry import AnyPayload
from enforcer.core.receipt import Receipt
from enforcer.errors import InputError

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking.")]
Key: TypeAlias = Annotated[
    Path | None, typer.Option(help="Sign with this key, not with that of client.toml.")
]
ReceiptFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--receipt", help="Keep the receipt here, and the entry beside it (.entry)."),
]


class Proved(Protocol):
    """An act that stands in the ledger, its receipt verified."""

    @property
    def index(self) -> int:
        """Its entry index."""

    @property
    def leaf(self) -> bytes:
        """The entry's bytes."""

    @property
    def receipt(self) -> Receipt:
        """The proof."""

    @property
    def is_repeated(self) -> bool:
        """It had been recorded before."""


def confirm(payload: AnyPayload, *, yes: bool) -> None:
    """Show what is about to be signed, and ask; returns when the answer is yes.

    Raises:
        InputError: nobody can be asked, or the answer is no.
    """
    console = err()
    console.print(f"[bold]You are about to sign:[/] {escape(show.sentence(payload))}")
    emit_pairs(show.lines(payload), console)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is here to confirm the signature",
            advice="Read what is shown above, and repeat the command with --yes.",
            field="yes",
        )
    if not typer.confirm("Sign it?", err=True):
        raise InputError("nothing was signed", advice="Correct what is wrong, and call again.")


def tell(
    what: str,
    proof: Proved,
    receipt_file: Path | None,
    *,
    as_json: bool,
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Say that an act stands in the ledger, and keep its proof when asked; `more` is for JSON."""
    from enforcer.app import keys

    if receipt_file is not None:
        keys.write(receipt_file, proof.receipt.format())
        keys.write(receipt_file.with_suffix(".entry"), proof.leaf)
    if as_json:
        emit_json(
            {
                "entry_index": proof.index,
                "entry": proof.leaf.decode("utf-8"),
                "receipt": proof.receipt.format().decode("utf-8"),
                "is_repeated": proof.is_repeated,
                **more,
            }
        )
        return
    repeated = " It stood there already." if proof.is_repeated else ""
    out().print(f"[green]{escape(what)}[/] Entry {proof.index} of the ledger.{repeated}")
    out().print("The receipt was verified against the trusted log key.", style="dim")
