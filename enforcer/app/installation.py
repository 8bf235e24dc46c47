"""A first installation: trust, certificates, keys of the machines, and every program's file.

Refuses a directory that has something in it. Always true: private keys are mode 600, nothing is
registered by being here (roots do that, with their signatures), and the directory can be moved,
since its files name each other by relative paths.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from enforcer.app.keys import KeyRequest, make_request, new_key
from enforcer.app.passphrase import Passphrases
from enforcer.app.pki import certify
from enforcer.app.redis_files import NODE, PUBLISHER, has_users, url_of, write_redis
from enforcer.backends import durable, pki
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.durable import PRIVATE_MODE
from enforcer.backends.keys import PrivateKey
from enforcer.config import Address, Identifier, Origin, Redis, TrustFile, plain_words
from enforcer.core.key import Category, Role
from enforcer.core.note import VerifierKey
from enforcer.core.state import ROOT_THRESHOLD_MIN
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
ADMISSION: Final = "redis.password"
"""What the feed's Redis lets a program in by."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an installation is to be."""

    origin: str
    root_keys: tuple[str, ...]
    """Public keys in hex."""
    control_address: Address
    redis_url: str
    dns_listen: tuple[Address, ...]
    dns_upstream: Address
    root_threshold: int = ROOT_THRESHOLD_MIN
    witness_vkeys: tuple[str, ...] = ()
    witness_quorum: int = 0
    node_id: str = "node-1"
    operator: str = "isp"
    """Whose network the node belongs to."""
    node_listen: Address | None = None
    gate_user: str | None = None
    """Who the gate becomes when root starts it."""
    reconcile_interval_seconds: float = 5.0
    is_redis_ours: bool = True
    """Whether to write what this Redis is set up with; not for one that is there as it is."""
    days: int = pki.CERTIFICATE_DAYS


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
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConflictError(
            f"{directory} is not an empty directory",
            advice="Name a new directory: an installation is never written over another.",
            path=str(directory),
        )
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
        passwords = write_redis(made.redis, plan.origin, plan.redis_url, authority)
        durable.write_file(made.control / ADMISSION, passwords[PUBLISHER], mode=PRIVATE_MODE)
        durable.write_file(made.node / ADMISSION, passwords[NODE], mode=PRIVATE_MODE)
    _write(made.control / "control.toml", _control_toml(plan))
    _write(made.node / "node.toml", _node_toml(plan))
    _write(made.gate / "gate.toml", _gate_toml(plan))
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


def trust_text(plan: Plan, log_vkey: str) -> str:
    """Return the trust file.

    Raises:
        InputError: too few roots, a key that is none, a threshold that no law allows.
    """
    try:
        msgspec.convert(
            {
                "origin": plan.origin,
                "log_vkey": log_vkey,
                "root_keys": plan.root_keys,
                "root_threshold": plan.root_threshold,
                "witnesses": {"quorum": plan.witness_quorum, "vkeys": plan.witness_vkeys},
            },
            TrustFile,
        )
    except msgspec.ValidationError as error:
        raise InputError(
            f"these roots and witnesses make no trust: {plain_words(str(error))}",
            advice="Have each root run `enforcer key new root.key`, and give at least 2 of the "
            "public keys as --root, with a threshold from 2 to their number; and of the witnesses "
            "more than half as the quorum.",
            field="root",
        ) from error
    keys = "".join(f"    {json.dumps(key)},\n" for key in plan.root_keys)
    vkeys = "".join(f"    {json.dumps(vkey)},\n" for vkey in plan.witness_vkeys)
    return f"""\
# What is believed before anything has been read. The same file for everybody; compare its
# SHA-256 by telephone before you use it.
origin = {json.dumps(plan.origin)}
log_vkey = {json.dumps(log_vkey)}
root_keys = [
{keys}]
root_threshold = {plan.root_threshold}

# New blocks wait until `quorum` of these witnesses, more than half, have cosigned a checkpoint
# that covers them; stops never wait. 0: nobody witnesses the ledger yet (UNWITNESSED).
[witnesses]
quorum = {plan.witness_quorum}
vkeys = [{chr(10) * bool(vkeys)}{vkeys}]
"""


def client_toml(
    plan: Plan, *, key: str, trust: str = "../../trust.toml", ca: str = "../../ca/ca.crt"
) -> str:
    """Return a person's configuration; the paths are relative to its directory."""
    return f"""\
# For `enforcer order`, `enforcer trust` and `enforcer status`.
trust_file = {json.dumps(trust)}
key_file = {json.dumps(key)}

[control]
address = {json.dumps(plan.control_address)}

[tls]
certificate = "tls.crt"
key = {json.dumps(key.removesuffix(".key") + ".tls.key")}
ca = {json.dumps(ca)}
"""


def _control_toml(plan: Plan) -> str:
    return f"""\
# enforcer control --config control.toml
ledger_dir = "ledger"
trust_file = "../trust.toml"
log_key_file = "log.key"
# Signs what the control plane itself records, such as holds; the roots register it.
signing_key_file = "signing.key"
# Opens sealed lists, in memory alone.
encryption_key_file = "signing.age.key"
listen = {json.dumps(plan.control_address)}
# Where it shows its nodes to Prometheus (/metrics), and /health.
# metrics_listen = "127.0.0.1:9465"
reconcile_interval_seconds = {plan.reconcile_interval_seconds}

[tls]
certificate = "tls.crt"
key = "signing.tls.key"
client_ca = "../ca/ca.crt"
# Who may speak no more: a copy of the authority's newest list, taken within seconds.
crl = "../ca/ca.crl"

{_redis_toml(plan, PUBLISHER)}{_witnesses_toml(plan)}"""


def _witnesses_toml(plan: Plan) -> str:
    """Return what is to be filled in where witnesses are to be asked."""
    if not plan.witness_vkeys:
        return ""
    names = (vkey.partition("+")[0] for vkey in plan.witness_vkeys)
    asked = "".join(
        f'# [[witnesses]]\n# name = {json.dumps(name)}\n# url = "https://HOST/"\n' for name in names
    )
    return f"""
# Who is asked for a cosignature after each append, and where; without a quorum no new order blocks.
# A node whose key trust.toml names brings its own by itself.
{asked}"""


def _node_toml(plan: Plan) -> str:
    listen = f"listen = {json.dumps(plan.node_listen)}" if plan.node_listen else '# listen = "…"'
    return f"""\
# enforcer node --config node.toml
node_id = {json.dumps(plan.node_id)}
state_dir = "state"
trust_file = "../trust.toml"
key_file = "signing.key"
# Opens sealed lists, in memory alone.
encryption_key_file = "signing.age.key"
# Without it the node has no gate: it does nothing for orders against names.
gate_socket = "../gate/gate.sock"
# Where this node takes stops over gRPC, beside the feed.
{listen}
# Where it shows /metrics to Prometheus, and /health; for `enforcer node dashboard`.
# metrics_listen = "127.0.0.1:9464"
# The last paths: copies of the ledger's directory, for a site that no network reaches.
# copies = ["/media/ledger"]

[control]
address = {json.dumps(plan.control_address)}

[tls]
certificate = "tls.crt"
key = "signing.tls.key"
ca = "../ca/ca.crt"
crl = "../ca/ca.crl"

# The second path: when Redis is away, or offers what cannot be true, the control plane streams the
# ledger itself; stops come by both at once. It is on unless this says no.
# [sync]
# enabled = false

{_redis_toml(plan, NODE)}
# How packets to and from the addresses of orders are blocked on this host: "nftables" (Linux, with
# CAP_NET_ADMIN), "dry-run", or "none", which leaves such orders out. What no order can cut off is
# what this host itself must reach, and what `protect` adds to that.
# [firewall]
# backend = "nftables"
# protect = ["192.0.2.0/24", "2001:db8::/32"]
"""


def _redis_toml(plan: Plan, user: str) -> str:
    is_ours = plan.is_redis_ours and has_users(plan.redis_url)
    url = url_of(plan.redis_url, user) if is_ours else plan.redis_url
    ca = 'ca = "../ca/ca.crt"\n' if is_ours and url.startswith("rediss://") else ""
    return f"""\
[redis]
url = {json.dumps(url)}
{"" if is_ours else "# "}password_file = {json.dumps(ADMISSION)}
{ca}# Behind sentinels the url's host is the name by which they know the primary, without a port:
# sentinels = ["192.0.2.11:26379", "192.0.2.12:26379", "192.0.2.13:26379"]
"""


def _gate_toml(plan: Plan) -> str:
    listen = ", ".join(map(json.dumps, plan.dns_listen))
    user = f"user = {json.dumps(plan.gate_user)}" if plan.gate_user else '# user = "enforcer-gate"'
    return f"""\
# enforcer gate --config gate.toml
origin = {json.dumps(plan.origin)}
listen = [{listen}]
# The resolvers behind the gate, in the order of preference.
upstreams = [{json.dumps(plan.dns_upstream)}]
# Who may ask, when not only loopback, private, link-local and shared addresses:
# allow = ["192.0.2.0/24", "2001:db8::/32"]
# Names that no order may ever block here: a table that does is given back.
# golden_names = ["www.example.org"]
state_dir = "state"
control_socket = "gate.sock"
# Who the process becomes after binding, when root starts it.
{user}
# Who may hand it tables, when that is neither root nor the user above: the node's user id.
# allowed_uids = [998]

# The operator's page, for orders with the measure BLOCK_PAGE:
# [block_page]
# ipv4 = "192.0.2.80"
"""


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
