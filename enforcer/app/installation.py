"""A first installation: trust, certificates, keys of the machines, and every program's file.

Refuses a directory that has something in it. Always true: private keys are mode 600, nothing is
registered by being here (roots do that, with their signatures), and the directory can be moved,
since its files name each other by relative paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from enforcer.app.installation_files import (
    ADMISSION,
    Plan,
    client_toml,
    control_toml,
    gate_toml,
    node_toml,
    redis_of,
    trust_text,
)
from enforcer.app.keys import KeyRequest, make_request, new_key
from enforcer.app.lost_ledger import mark_unused
from enforcer.app.passphrase import Passphrases
from enforcer.app.pki import certify
from enforcer.app.redis_files import NODE, PUBLISHER, has_users, write_redis
from enforcer.backends import durable, pki
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.durable import PRIVATE_MODE
from enforcer.backends.keys import PrivateKey
from enforcer.config import CanaryPart, Identifier, Origin, Redis, plain_words
from enforcer.core.key import Category, Role
from enforcer.core.note import VerifierKey
from enforcer.errors import ConflictError, InputError

RULES: Final = Path(__file__).resolve().parent.parent.parent / "rules"
PINNED_RULES: Final = (
    "protected-core.txt",
    "protected-names.txt",
    "public-suffixes.txt",
    "shared-ranges.txt",
)
"""The files that a first policy pins, in the order of its pins."""
CONTROL_ID: Final = "control-1"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything of an installation is."""

    directory: Path

    @property
    def trust_file(self) -> Path:
        """The same file for everybody."""
        return self.directory / "trust.toml"

    @property
    def authority(self) -> Path:
        """The certificate authority: ca.crt, ca.crl for everybody, ca.key for its holder alone."""
        return self.directory / "ca"

    @property
    def control(self) -> Path:
        """The control plane's directory."""
        return self.directory / "control"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.control / "ledger"

    @property
    def node(self) -> Path:
        """The node's directory."""
        return self.directory / "node"

    @property
    def gate(self) -> Path:
        """The gate's directory."""
        return self.directory / "gate"

    @property
    def redis(self) -> Path:
        """What the feed's Redis is set up with; there where it is ours to set up."""
        return self.directory / "redis"

    @property
    def kit(self) -> Path:
        """What every person begins with: client.toml, and what it names but the keys."""
        return self.directory / "for-persons"

    def person(self, identity: str) -> Path:
        """Return a person's directory, with client.toml and keys; made by the demo alone."""
        return self.directory / "people" / identity


def install(directory: Path, plan: Plan, passphrases: Passphrases | None = None) -> Installation:
    """Write an installation into the empty or absent `directory`.

    The authority's key is under a passphrase where `passphrases` are given; machines' keys are not.

    Raises:
        ConflictError: something is in it.
        InputError: the plan does not make a trust, or no passphrase was given.
        UnavailableError: it cannot be written.
    """
    check_empty(directory)
    _check(plan)
    log_key = PrivateKey.generate()
    trust = trust_text(plan, VerifierKey(plan.origin, log_key.public_key).text)
    made = Installation(directory)
    files = AuthorityFiles(made.authority)
    passphrase = None if passphrases is None else passphrases.choose(files.key)
    durable.make_directory(directory)
    directory.chmod(0o711)  # the gate's user passes through; keys are mode 600
    for part in (made.authority, made.control, made.node, made.gate, made.kit):
        durable.make_directory(part)
    log_key.save(made.control / "log.key")
    mark_unused(made.control / "log.key")
    durable.write_file(made.trust_file, trust.encode())

    authority = pki.Authority.create(plan.origin)
    files.create(authority, passphrase)
    new_key(made.control / "signing.key")
    asked = make_request(made.control / "signing.key", plan.origin, Role.CONTROL, CONTROL_ID)
    certificate = certify(
        asked, files, authority, hosts=[plan.control_address.host], days=plan.days
    )
    durable.write_file(made.control / "tls.crt", certificate)
    new_key(made.node / "signing.key")
    asked = make_request(
        made.node / "signing.key", plan.origin, Role.NODE, plan.node_id, operator=plan.operator
    )
    hosts = (plan.node_listen.host,) if plan.node_listen else ()
    certificate = certify(asked, files, authority, hosts=hosts, days=plan.days)
    durable.write_file(made.node / "tls.crt", certificate)

    if plan.is_redis_ours and has_users(plan.redis_url):
        passwords = write_redis(
            made.redis, plan.origin, plan.redis_url, authority, plan.redis_hosts
        )
        durable.write_file(made.control / ADMISSION, passwords[PUBLISHER], mode=PRIVATE_MODE)
        durable.write_file(made.node / ADMISSION, passwords[NODE], mode=PRIVATE_MODE)
    _write(made.control / "control.toml", control_toml(plan))
    _write(made.node / "node.toml", _node_toml(plan))
    _write(
        made.gate / "gate.toml",
        gate_toml(
            plan.origin, listen=plan.dns_listen, upstream=plan.dns_upstream, user=plan.gate_user
        ),
    )
    _write(made.kit / "trust.toml", trust)
    durable.write_file(made.kit / "ca.crt", authority.pem)
    _write(
        made.kit / "client.toml",
        client_toml(plan, key="signing.key", trust="trust.toml", ca="ca.crt"),
    )
    return made


def equip_person(
    made: Installation,
    plan: Plan,
    role: Role,
    identity: str,
    *,
    of: str | None = None,
    operator: str | None = None,
    categories: Sequence[Category] = (),
    territories: Sequence[str] = (),
) -> KeyRequest:
    """Make a person's keys, certificate and client.toml, acting for an authority or an operator.

    For the demo: in production each person makes the keys, and they stay there.

    Raises:
        UnavailableError: it cannot be written.
    """
    directory = made.person(identity)
    durable.make_directory(directory)
    new_key(directory / "signing.key")
    asked = make_request(
        directory / "signing.key",
        plan.origin,
        role,
        identity,
        authority=of,
        operator=operator,
        categories=categories,
        territories=territories,
    )
    files = AuthorityFiles(made.authority)
    certificate = certify(asked, files, files.load(None), days=plan.days)
    durable.write_file(directory / "tls.crt", certificate)
    _write(directory / "client.toml", client_toml(plan, key="signing.key"))
    return asked


def check_empty(directory: Path) -> None:
    """Refuse a directory that has something in it.

    Raises:
        ConflictError: it has.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConflictError(
            f"{directory} is not an empty directory",
            advice="Name a new directory: an installation is never written over another.",
            path=str(directory),
        )


def _node_toml(plan: Plan) -> str:
    return node_toml(
        plan.node_id,
        listen=plan.node_listen,
        control=plan.control_address,
        redis=redis_of(plan, NODE),
        canary=CanaryPart(role="canary" if plan.is_canary else "none"),
    )


def _check(plan: Plan) -> None:
    """Refuse what the programs could not read, before anything is written.

    Raises:
        InputError: ``data["field"]`` is what is wrong.
    """
    values = (
        ("origin", plan.origin, Origin),
        ("redis", {"url": plan.redis_url}, Redis),
        ("node-id", plan.node_id, Identifier),
    )
    if plan.is_canary and plan.node_listen is None:
        raise InputError(
            "a canary needs a place where the nodes that follow it ask",
            advice="Give --node-listen HOST:PORT with --canary.",
            field="node-listen",
        )
    for field, value, kind in values:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise InputError(
                f"{field} is wrong: {plain_words(str(error))}",
                advice=f"Correct --{field}.",
                field=field,
            ) from error


def _write(path: Path, text: str) -> None:
    durable.write_file(path, text.encode())
