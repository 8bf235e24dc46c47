"""What commands of the roots share: an act is made, perhaps signed at once, and kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from enforcer.cli.output import counted, emit_json, out
from enforcer.cli.signing import confirm

if TYPE_CHECKING:
    from enforcer.core.envelope import Envelope
    from enforcer.core.payload import Payload

Trust: TypeAlias = Annotated[Path, typer.Option(help="The installation's trust.toml.")]
Out: TypeAlias = Annotated[Path, typer.Option("--out", help="Where to write the act.")]
RootKey: TypeAlias = Annotated[
    Path | None, typer.Option(help="Sign it at once with this root key.")
]


def make(payload: Payload, to: Path, key: Path | None, *, yes: bool, as_json: bool) -> None:
    """Write an act, with the first signature when there is a key."""
    from enforcer.app.acts import add_signature, unsigned, write_act
    from enforcer.app.keys import load_key
    from enforcer.core.entry import parse_payload

    act: Envelope = unsigned(payload)
    if key is not None:
        signer = load_key(key)
        confirm(parse_payload(act), yes=yes)
        act = add_signature(act, signer)
    write_act(to, act)
    tell(to, len(act.signatures), as_json=as_json)


def tell(path: Path, signatures: int, *, as_json: bool) -> None:
    """Say where an act is and how many have signed it."""
    if as_json:
        emit_json({"act": str(path), "signatures": signatures})
    else:
        signed = counted(signatures, "signature")
        out().print(f"[green]Wrote[/] {escape(str(path))}: {signed} so far.")
