"""``enforcer key``: signing keys, what roots need to register them, and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.output import AsJson, emit_json, emit_pairs, err, out
from enforcer.cli.words import choice
from enforcer.core.key import Category, Role

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make keys, and ask for their registration."
)

KeyFile = Annotated[Path, typer.Argument(help="The key file (Ed25519, PEM, mode 600).")]
Trust = Annotated[Path, typer.Option(help="The installation's trust.toml.")]


@app.command("new")
def new(path: KeyFile, *, as_json: AsJson = False) -> None:
    """Make a signing key; it never leaves this file."""
    from enforcer.app import keys

    key = keys.new_key(path)
    _show(path, key.public_key, key.key_id, {}, as_json=as_json)


@app.command("show")
def show(
    path: KeyFile,
    *,
    witness: Annotated[
        str | None, typer.Option(help="A name: show the vkey by which trust files name a witness.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the public half of a key."""
    from enforcer.app import keys

    key = keys.load_key(path)
    more = {"witness_vkey": keys.witness_vkey(witness, key)} if witness is not None else {}
    _show(path, key.public_key, key.key_id, more, as_json=as_json)


@app.command("request")
def request(
    path: KeyFile,
    *,
    role: Annotated[str, typer.Option(help="proposer, approver, oversight, node, …")],
    identity: Annotated[str, typer.Option("--id", help="Your person id, or the machine's id.")],
    to: Annotated[Path, typer.Option("--out", help="Where to write the request.")],
    trust: Trust = Path("trust.toml"),
    authority: Annotated[str | None, typer.Option(help="The authority you act for.")] = None,
    operator: Annotated[
        str | None, typer.Option(help="The ISP whose network you serve: node, safety officer.")
    ] = None,
    category: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    territory: Annotated[list[str] | None, typer.Option(help="May be repeated: VN, VN-HN.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what roots need to register a key."""
    from enforcer.app import keys
    from enforcer.config import read_trust

    made = keys.make_request(
        path,
        read_trust(trust).origin,
        choice(Role, role, "role"),
        identity,
        authority=authority,
        operator=operator,
        categories=[choice(Category, each, "category") for each in category or ()],
        territories=territory or (),
    )
    keys.write(to, keys.format_request(made))
    if as_json:
        emit_json({"request": str(to), "tls_key": str(keys.tls_key_path(path))})
        return
    out().print(f"Wrote {to}. It holds no secret; give it to the roots (enforcer trust register)")
    out().print("and to whoever holds the installation's authority (enforcer key certify).")
    out().print(f"The certificate will be for the TLS key {keys.tls_key_path(path)}.")


@app.command("certify")
def certify(
    request_file: Annotated[Path, typer.Argument(help="The holder's request.")],
    *,
    authority: Annotated[Path, typer.Option("--ca", help="Directory with ca.crt and ca.key.")],
    to: Annotated[Path, typer.Option("--out", help="Where to write the certificate (PEM).")],
    host: Annotated[
        list[str] | None, typer.Option(help="DNS name or IP address of a server; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long it is valid.")] = 90,
    as_json: AsJson = False,
) -> None:
    """Issue the TLS certificate that a request asks for.

    Look first at who asked.
    """
    from enforcer.app import keys

    asked = keys.read_request(request_file)
    pem = keys.certify(asked, keys.load_authority(authority), hosts=host or (), days=days)
    keys.write(to, pem)
    names = {"holder": asked.holder.uri, "certificate": str(to), "days": days}
    if as_json:
        emit_json(names)
    else:
        emit_pairs(names)
        err().print("A certificate lets its holder speak; what counts is who the roots register.")


def _show(
    path: Path, public_key: bytes, key_id: str, more: dict[str, str], *, as_json: bool
) -> None:
    shown = {"file": str(path), "public_key": public_key.hex(), "key_id": key_id, **more}
    if as_json:
        emit_json(shown)
    else:
        emit_pairs(shown)
