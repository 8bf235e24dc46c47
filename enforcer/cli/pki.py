"""``enforcer pki``: a small certificate authority, for installations that have no other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from enforcer.cli.output import AsJson, emit_json, emit_pairs, err, out
from enforcer.cli.words import choice
from enforcer.core.key import Role
from enforcer.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Issue, renew and revoke TLS certificates.",
)
ca_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make a certificate authority."
)
app.add_typer(ca_app, name="ca")

Ca = Annotated[Path, typer.Option("--ca", help="The authority's directory (ca.crt, ca.key, …).")]
Days = Annotated[int | None, typer.Option(help="How long it is valid; else 30 days.")]
NoPassphrase = Annotated[
    bool, typer.Option("--no-passphrase", help="Leave the new key unencrypted, mode 600.")
]
Out = Annotated[Path, typer.Option("--out", help="Where to write the certificate (PEM).")]


@ca_app.command("new")
def new(
    directory: Annotated[Path, typer.Argument(help="Where it is to be.")],
    *,
    origin: Annotated[str, typer.Option(help="The ledger's origin, as in trust.toml.")],
    days: Annotated[int | None, typer.Option(help="How long it is valid; else five years.")] = None,
    no_passphrase: NoPassphrase = False,
    as_json: AsJson = False,
) -> None:
    """Make an authority: its key under a passphrase; ca.crt and ca.crl are for everybody."""
    from enforcer.app.passphrase import Passphrases
    from enforcer.app.pki import Authority, describe

    passphrases = None if no_passphrase else Passphrases()
    _tell(describe(Authority.create(directory, origin, passphrases, days=days)), as_json=as_json)


@app.command("issue")
def issue(
    request: Annotated[
        Path | None,
        typer.Argument(help="A request (enforcer key request), or a signing request in PEM."),
    ] = None,
    *,
    ca: Ca,
    to: Out,
    role: Annotated[str | None, typer.Option(help="For a signing request or a new key.")] = None,
    identity: Annotated[
        str | None, typer.Option("--id", help="The person's or machine's id, likewise.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Without a request: make a TLS key in this file.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="DNS name or IP address of a server; may be repeated.")
    ] = None,
    days: Days = None,
    no_passphrase: NoPassphrase = False,
    as_json: AsJson = False,
) -> None:
    """Issue a certificate.

    Look first at who asks. The names in a signing request in PEM are not read: give --role and
    --id. A new key's passphrase comes from ENFORCER_NEW_PASSPHRASE_FILE, or the terminal.
    """
    from enforcer.app.passphrase import Passphrases
    from enforcer.app.pki import Authority, ask_with_new_key, describe, read_asked

    whose = choice(Role, role, "role") if role is not None else None
    passphrases = Passphrases()
    if request is not None and key is None:
        asked = read_asked(request, whose, identity)
        authority = Authority(ca, passphrases)
    elif key is not None and request is None:
        authority = Authority(ca, passphrases)
        asked = ask_with_new_key(key, whose, identity, None if no_passphrase else passphrases)
    else:
        raise InputError(
            "either a request or --key is needed",
            advice="Name the holder's request, or with --key where a new key is to be.",
            field="request",
        )
    made = authority.issue(asked, to, hosts=host or (), days=days)
    _tell({**describe(made), "certificate": str(to)}, as_json=as_json)
    if not as_json:
        err().print("A certificate lets its holder speak; what counts is who the roots register.")


@app.command("renew")
def renew(
    certificates: Annotated[list[Path], typer.Argument(help="The files of what is to be renewed.")],
    *,
    ca: Ca,
    to: Annotated[
        Path | None, typer.Option("--out", help="Where to write it; else in place.")
    ] = None,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Issue certificates again, for the same keys and names.

    A program takes a new certificate within seconds, without a restart.
    """
    from enforcer.app.passphrase import Passphrases
    from enforcer.app.pki import Authority, describe

    if to is not None and len(certificates) > 1:
        raise InputError(
            "one --out cannot hold several certificates",
            advice="Leave it out: each is then renewed in its own file.",
            field="out",
        )
    authority = Authority(ca, Passphrases())
    made = []
    for path in certificates:
        target = to or path
        renewed = authority.renew(path, target, days=days)
        made.append({**describe(renewed), "certificate": str(target)})
    if as_json:
        emit_json(made)
        return
    for each in made:
        _tell(each, as_json=False)


@app.command("revoke")
def revoke(
    which: Annotated[
        list[str],
        typer.Argument(help="A certificate's file, a serial number, or ROLE/ID for all of theirs."),
    ],
    *,
    ca: Ca,
    reason: Annotated[
        str,
        typer.Option(
            help="keyCompromise, affiliationChanged, superseded, cessationOfOperation, unspecified."
        ),
    ] = "unspecified",
    as_json: AsJson = False,
) -> None:
    """Revoke certificates, and sign the new list of revocations.

    It counts where ca.crl is copied to: at every program that has it as `crl`, within seconds. A
    signing key is revoked by the roots: enforcer trust revoke.
    """
    from enforcer.app.passphrase import Passphrases
    from enforcer.app.pki import Authority, describe

    revoked = [describe(each) for each in Authority(ca, Passphrases()).revoke(which, reason)]
    if as_json:
        emit_json(revoked)
        return
    for each in revoked:
        out().print(
            f"[green]Revoked[/] {escape(str(each['serial']))} {escape(str(each['holder']))}"
        )
    out().print(f"Copy {escape(str(ca / 'ca.crl'))} to the control plane and to every node.")


@app.command("crl")
def crl(
    *,
    ca: Ca,
    days: Annotated[
        int | None, typer.Option(help="Until when the next list comes; else 30 days.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the list of revocations again, before it is past its time."""
    from enforcer.app.passphrase import Passphrases
    from enforcer.app.pki import Authority

    path, ends = Authority(ca, Passphrases()).sign_revocations(days=days)
    _tell({"list": str(path), "ends": ends}, as_json=as_json)


@app.command("list")
def list_(
    *,
    ca: Ca,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what has ended or was revoked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what was issued; needs no passphrase."""
    from enforcer.app.pki import list_issued

    shown = [
        each
        for each in list_issued(ca)
        if everything or each["standing"] not in ("ENDED", "REVOKED")
    ]
    if as_json:
        emit_json(shown)
        return
    for each in shown:
        row = f"{each['standing']:<10}{each['ends']}  {each['holder']}  {each['serial']}"
        out().print(escape(row))


def _tell(shown: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(shown)
        return
    hosts = shown.get("hosts")
    emit_pairs({**shown, "hosts": ", ".join(hosts) if hosts else None})
