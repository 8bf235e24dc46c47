"""``enforcer key``: signing keys, and what is needed to have them registered and certified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import AsJson, emit_json, emit_pairs, err, out
from enforcer.cli.words import choice
from enforcer.core.key import Category, Role

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make keys, and ask for their registration."
)

KeyFile = Annotated[Path, typer.Argument(help="The key file (Ed25519, PEM, mode 600).")]
NoPassphrase = Annotated[
    bool,
    typer.Option("--no-passphrase", help="For a machine, which has nobody to ask: mode 600 alone."),
]
Trust = Annotated[Path, typer.Option(help="The installation's trust.toml.")]


@app.command("new")
def new(path: KeyFile, *, no_passphrase: NoPassphrase = False, as_json: AsJson = False) -> None:
    """Make a signing key; it never leaves this file.

    It is encrypted under a passphrase, asked on the terminal, or read from the file that
    ENFORCER_PASSPHRASE_FILE names or the descriptor that ENFORCER_PASSPHRASE_FD names. Nobody can
    restore it.
    """
    from enforcer.app import keys
    from enforcer.app.passphrase import Passphrases

    key = keys.new_key(path, None if no_passphrase else Passphrases())
    _show(path, key.public_key, key.key_id, {}, as_json=as_json)


@app.command("passphrase")
def passphrase(
    path: Annotated[Path, typer.Argument(help="A signing key or a TLS key.")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away: for machines.")] = False,
) -> None:
    """Give a key a passphrase, another one, or none.

    The new one is asked on the terminal, or read as ENFORCER_NEW_PASSPHRASE_FILE or
    ENFORCER_NEW_PASSPHRASE_FD say.
    """
    from enforcer.app import keys
    from enforcer.app.passphrase import Passphrases

    keys.change_passphrase(path, Passphrases(), remove=remove)
    has = "no passphrase: only its mode (600) protects it" if remove else "the new passphrase"
    out().print(f"[green]Done.[/] {escape(str(path))} has {has}.")


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
    role: Annotated[
        str,
        typer.Option(
            help="proposer, approver, oversight, safety-officer, auditor, node or control."
        ),
    ],
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
    out().print("and to whoever holds the installation's authority (enforcer pki issue).")
    out().print(f"The certificate will be for the TLS key {keys.tls_key_path(path)}.")
    if not made.is_machine and not keys.has_passphrase(path):
        err().print(
            f"[bold yellow]{escape(str(path))} has no passphrase:[/] whoever reads this disk, or a "
            f"copy of it, can sign as {made.identity}. Run: enforcer key passphrase {path}, and "
            f"the same for {keys.tls_key_path(path)}"
        )


def _show(
    path: Path, public_key: bytes, key_id: str, more: dict[str, str], *, as_json: bool
) -> None:
    shown = {"file": str(path), "public_key": public_key.hex(), "key_id": key_id, **more}
    if as_json:
        emit_json(shown)
    else:
        emit_pairs(shown)
