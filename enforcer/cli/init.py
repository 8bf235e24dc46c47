"""``enforcer init``: a first installation in an empty directory."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from enforcer.cli.output import AsJson, emit_json, out
from enforcer.errors import InputError

if TYPE_CHECKING:
    from enforcer.app.installation_files import Plan


def init(
    directory: Annotated[Path, typer.Argument(help="A directory that is empty or not there yet.")],
    *,
    origin: Annotated[
        str, typer.Option(help="The ledger's name for ever, such as cert.example.org/ledger.")
    ],
    root: Annotated[
        list[str] | None,
        typer.Option(help="A root's public key (enforcer key new); at least two, repeated."),
    ] = None,
    threshold: Annotated[int, typer.Option(help="How many roots must sign together.")] = 2,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="A witness's vkey (enforcer key show --witness NAME), repeated."),
    ] = None,
    witness_quorum: Annotated[
        int, typer.Option(help="How many witnesses new blocks wait for; more than half.")
    ] = 0,
    control: Annotated[str, typer.Option(help="Where the control plane listens.")] = (
        "127.0.0.1:7443"
    ),
    redis: Annotated[
        str, typer.Option(help="The feed's Redis; rediss:// for TLS.")
    ] = "redis://127.0.0.1:6379",
    redis_host: Annotated[
        list[str] | None,
        typer.Option(help="A replica's or sentinel's host, for its certificate; repeated."),
    ] = None,
    listen: Annotated[str, typer.Option(help="Where the gate takes queries.")] = "127.0.0.1:53",
    upstream: Annotated[str, typer.Option(help="The resolver behind it.")] = "127.0.0.1:5353",
    node_id: Annotated[str, typer.Option(help="The node's id.")] = "node-1",
    operator: Annotated[str, typer.Option(help="The ISP whose network the node serves.")] = "isp",
    node_listen: Annotated[
        str | None, typer.Option(help="Where the node takes stops, suspensions and questions.")
    ] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="The node takes new blocks first; others may follow.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make everybody's keys here: to try it, never for real.")
    ] = False,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the authority's key unencrypted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a first installation into an empty directory.

    Trust, certificates, machine keys, every program's file; and say what comes next. The
    certificate authority's key is encrypted under a passphrase, asked as `enforcer key new` does.
    """
    from enforcer.app.demo_land import install_demo
    from enforcer.app.installation import install
    from enforcer.app.installation_files import Plan
    from enforcer.app.passphrase import Passphrases
    from enforcer.config import Address

    if demo and root:
        raise InputError(
            "--demo makes the root keys itself", advice="Leave out --root.", field="root"
        )
    addresses = {}
    named = {"control": control, "listen": listen, "upstream": upstream}
    if node_listen is not None:
        named["node-listen"] = node_listen
    for field, text in named.items():
        try:
            addresses[field] = Address(text)
        except ValueError as error:
            raise InputError(str(error), advice=f"Correct --{field}.", field=field) from error
    plan = Plan(
        origin=origin,
        operator=operator,
        root_keys=tuple(root or ()),
        root_threshold=threshold,
        witness_vkeys=tuple(witness or ()),
        witness_quorum=witness_quorum,
        control_address=addresses["control"],
        redis_url=redis,
        redis_hosts=tuple(redis_host or ()),
        dns_listen=(addresses["listen"],),
        dns_upstream=addresses["upstream"],
        node_id=node_id,
        node_listen=addresses.get("node-listen"),
        is_canary=canary,
    )
    if demo:
        made = install_demo(directory, plan)
    else:
        made = install(directory, plan, None if no_passphrase else Passphrases())
    if as_json:
        emit_json({"directory": str(made.directory), "trust": str(made.trust_file)})
        return
    out().print(
        f"[green]Wrote an installation of {escape(origin)} into {escape(str(directory))}[/]"
    )
    steps = demo_steps(directory) if demo else next_steps(directory, plan, made.trust_file)
    for number, step in enumerate(steps, 1):
        out().print(f"{number}. {escape(step)}")


def next_steps(directory: Path, plan: Plan, trust: Path) -> list[str]:
    """Return what is to be done after a production installation."""
    from enforcer.app.installation import CONTROL_ID, PINNED_RULES, RULES
    from enforcer.app.redis_files import has_users

    pinned = [RULES / name for name in PINNED_RULES]
    options = " ".join(f"--{path.stem} {path}" for path in pinned)
    lists = " ".join(f"--list {path}" for path in pinned)
    redis = f"Start Redis ({plan.redis_url})."
    if has_users(plan.redis_url):
        redis = (
            f"On the Redis host, in a copy of {directory}/redis (users and passwords are made): "
            "redis-server redis.conf (replicas and sentinels: see redis.conf and sentinel.conf)."
        )
    follow = f" --follow {plan.node_listen}" if plan.is_canary else ""
    witnesses = ""
    if plan.witness_vkeys:
        witnesses = (
            f"In {directory}/control/control.toml, at [[witnesses]]: where each witness is asked; "
            f"no new order blocks before {plan.witness_quorum} of them have cosigned it.\n"
        )
    text = f"""\
Move {directory}/ca to a machine that is offline, and leave copies of ca.crt and ca.crl; whoever \
has ca.key and its passphrase can let anybody speak.
Give {directory}/for-persons to every person, and trust.toml to every root and auditor. Its \
SHA-256 is {sha256(trust.read_bytes()).hexdigest()}: compare it by telephone.
Each person, in a copy of for-persons: enforcer key new signing.key; enforcer key request \
signing.key --role proposer --id an.nguyen --authority cert-vn --category phishing --territory VN \
--out request.json (approvers alike; oversight and auditors without authority, category, territory)
Who holds ca.key, for each request: enforcer pki issue request.json --ca {directory}/ca \
--out tls.crt; the person puts tls.crt beside client.toml
The node: enforcer key request {directory}/node/signing.key --role node --id {plan.node_id} \
--operator {plan.operator} --trust {trust} --out node.json (its certificate is there already)
The control plane: enforcer key request {directory}/control/signing.key --role control \
--id {CONTROL_ID} --trust {trust} --out control.json (its certificate is there already)
One root, offline: enforcer trust policy --register-url https://register.example.org/ \
--register-domain register.example.org {options} --trust {trust} --out policy.json
The same root, for each request, the machines' too: enforcer trust register request.json \
--until +365d --out act.json
{plan.root_threshold} roots, for each act: enforcer trust sign act.json --key root.key
{witnesses}{redis} Then: enforcer control -c {directory}/control/control.toml
A person with a certificate, the policy before all other acts: enforcer trust submit \
policy.json act.json … {lists} -c client.toml
On the resolver, with {directory}/node, gate, trust.toml, ca/ca.crt, ca/ca.crl at the same places: \
enforcer gate -c {directory}/gate/gate.toml; enforcer node -c {directory}/node/node.toml (or as \
services: enforcer gate units --installation {directory} --dir /etc/systemd/system)
Each further node: enforcer node new DIRECTORY --like {directory} --node-id NODE --operator \
{plan.operator}{follow}
See that all is well: enforcer status --control client.toml --node {directory}/node/node.toml \
--gate {directory}/gate/gate.sock
"""
    return text.splitlines()


def demo_steps(directory: Path) -> list[str]:
    """Return what is to be done after a demo installation."""
    from enforcer.app.installation import PINNED_RULES

    people = directory / "people"
    lists = " ".join(f"--list {directory}/acts/{name}" for name in PINNED_RULES)
    text = f"""\
Start: enforcer control -c {directory}/control/control.toml
The roots have signed: enforcer trust submit -c {people}/auditor/client.toml \
{directory}/acts/*.json \
{lists}
Start: enforcer gate -c {directory}/gate/gate.toml; enforcer node -c {directory}/node/node.toml
Propose as an.nguyen: enforcer order propose -c {people}/an.nguyen/client.toml …
Approve as binh.tran: enforcer order approve -c {people}/binh.tran/client.toml ID
"""
    return text.splitlines()
