"""The words of every program's file, as an installation begins with them.

Owns what is filled in and what stands there as a comment to be filled in. Always true: what is
written here is read by :mod:`enforcer.config`, and names files beside it by relative paths.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from enforcer.app.redis_files import PUBLISHER, has_users, url_of
from enforcer.backends import pki
from enforcer.config import Address, CanaryPart, Redis, TrustFile, plain_words
from enforcer.core.state import ROOT_THRESHOLD_MIN
from enforcer.errors import InputError

ADMISSION: Final = "redis.password"
"""What the feed's Redis lets a program in by."""
_NO_NODES: Final = '# nodes = ["192.0.2.1:7444"]'
_REACHES_NOBODY: Final = """\
# No network reaches this node: what it attests lies in state/attestation.json, to be carried back
# (enforcer node deliver). Elsewhere it needs these, and a certificate.
"""


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
    """Where the node takes stops and suspensions; the safety officers' client.toml names it."""
    is_canary: bool = False
    """Whether the node takes new blocks first, and others may follow it."""
    gate_user: str | None = None
    """Who the gate becomes when root starts it."""
    reconcile_interval_seconds: float = 5.0
    redis_hosts: tuple[str, ...] = ()
    """Further hosts for its certificate: those of replicas and sentinels."""
    is_redis_ours: bool = True
    """Whether to write what this Redis is set up with; not for one that is there as it is."""
    days: int = pki.CERTIFICATE_DAYS


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
    nodes = f"nodes = [{json.dumps(plan.node_listen)}]" if plan.node_listen else _NO_NODES
    return f"""\
# For `enforcer order`, `enforcer trust` and `enforcer status`.
trust_file = {json.dumps(trust)}
key_file = {json.dumps(key)}
# A safety officer's own nodes (their `listen`): `order suspend` and `resume` go to all at once.
{nodes}

[control]
address = {json.dumps(plan.control_address)}

[tls]
certificate = "tls.crt"
key = {json.dumps(key.removesuffix(".key") + ".tls.key")}
ca = {json.dumps(ca)}
"""


def control_toml(plan: Plan) -> str:
    """Return the control plane's configuration."""
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

{_redis_toml(redis_of(plan, PUBLISHER))}{_witnesses_toml(plan)}"""


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


def node_toml(
    node_id: str,
    *,
    listen: Address | None,
    control: Address | None,
    redis: Redis | None,
    canary: CanaryPart,
    copies: Sequence[Path] = (),
) -> str:
    """Return a node's configuration; without `control` one that no network reaches."""
    is_apart = control is None
    return f"""\
# enforcer node --config node.toml
node_id = {json.dumps(node_id)}
state_dir = "state"
trust_file = "../trust.toml"
key_file = "signing.key"
# Opens sealed lists, in memory alone.
encryption_key_file = "signing.age.key"
# Without it the node has no gate: it does nothing for orders against names.
gate_socket = "../gate/gate.sock"
# Where this node takes stops and suspensions over gRPC, beside the feed, and canaries are asked.
{_line("listen", listen, "192.0.2.1:7444")}
# Where it shows /metrics to Prometheus, and /health; for `enforcer node dashboard`.
# metrics_listen = "127.0.0.1:9464"
# The last paths: copies of the ledger's directory, for a site that no network reaches.
{_list("copies", copies, "/media/ledger")}

{_REACHES_NOBODY if is_apart else ""}{_section("control", is_apart)}
{_line("address", control, "192.0.2.10:7443")}

{_section("tls", is_apart)}
{"# " * is_apart}certificate = "tls.crt"
{"# " * is_apart}key = "signing.tls.key"
{"# " * is_apart}ca = "../ca/ca.crt"
{"# " * is_apart}crl = "../ca/ca.crl"

# The second path: when Redis is away, or offers what cannot be true, the control plane streams the
# ledger itself; stops come by both at once. It is on unless this says no.
# [sync]
# enabled = false

{_redis_toml(redis)}
{_canary_toml(canary)}
# How packets to and from the addresses of orders are blocked on this host: "nftables" (Linux, with
# CAP_NET_ADMIN), "dry-run", or "none", which leaves such orders out. What no order can cut off is
# what this host itself must reach, and what `protect` adds to that.
# [firewall]
# backend = "nftables"
# protect = ["192.0.2.0/24", "2001:db8::/32"]
"""


def redis_of(plan: Plan, user: str) -> Redis:
    """Return how a program gets to the feed's Redis as a user; paths are beside its file."""
    if not (plan.is_redis_ours and has_users(plan.redis_url)):
        return Redis(url=plan.redis_url)
    url = url_of(plan.redis_url, user)
    ca = Path("../ca/ca.crt") if url.startswith("rediss://") else None
    return Redis(url=url, password_file=Path(ADMISSION), ca=ca)


def _canary_toml(canary: CanaryPart) -> str:
    """Return the section; as a comment where the node is no canary and follows none."""
    is_canary = canary.role == "canary"
    silent = "" if is_canary or canary.follows else "# "
    role = '# role = "canary"' if not is_canary else 'role = "canary"'
    return f"""\
# A canary takes new blocks at once and has its gate ask the golden_names of gate.toml; the nodes
# that follow it take them then, or after `wait_seconds`. Stops and ends never wait.
{silent}[canary]
{role}
{_list("follows", canary.follows, "192.0.2.1:7444")}
# wait_seconds = 10
"""


def _redis_toml(redis: Redis | None) -> str:
    if redis is None:
        return '# [redis]\n# url = "rediss://node@192.0.2.20:6379"\n'
    lines = [
        "[redis]",
        _line("url", redis.url, ""),
        _line("password_file", redis.password_file, ADMISSION),
    ]
    if redis.ca is not None:
        lines.append(_line("ca", redis.ca, ""))
    if redis.certificate is not None:
        lines += ["# It asks for a certificate:", '# certificate = "…"', '# key = "…"']
    lines += [
        "# Behind sentinels the url's host is the name by which they know it, without a port:",
        _list(
            "sentinels",
            redis.sentinels,
            *(f"192.0.2.{host}:26379" for host in (11, 12, 13)),
        ),
    ]
    if redis.sentinel_user is not None:
        lines.append(_line("sentinel_user", redis.sentinel_user, ""))
    if redis.sentinel_password_file is not None:
        lines.append(_line("sentinel_password_file", redis.sentinel_password_file, ""))
    if redis.from_replica:
        lines.append("from_replica = true")
    return "\n".join(lines) + "\n"


def _section(name: str, is_comment: bool) -> str:
    return f"{'# ' * is_comment}[{name}]"


def _line(key: str, value: str | Path | None, example: str) -> str:
    """Return a line; with the example, as a comment, where there is no value."""
    if value is None:
        return f"# {key} = {json.dumps(example)}"
    return f"{key} = {json.dumps(str(value))}"


def _list(key: str, values: Sequence[str | Path], *examples: str) -> str:
    text = ", ".join(json.dumps(str(each)) for each in values or examples)
    return f"{'' if values else '# '}{key} = [{text}]"


def gate_toml(
    origin: str,
    *,
    listen: Sequence[Address],
    upstream: Address,
    user: str | None,
    golden_names: Sequence[str] = (),
) -> str:
    """Return a gate's configuration."""
    return f"""\
# enforcer gate --config gate.toml
origin = {json.dumps(origin)}
{_list("listen", listen)}
# The resolvers behind the gate, in the order of preference.
upstreams = [{json.dumps(upstream)}]
# Who may ask, when not only loopback, private, link-local and shared addresses:
# allow = ["192.0.2.0/24", "2001:db8::/32"]
# Names that no order may ever block here: a table that does is given back.
{_list("golden_names", golden_names, "www.example.org")}
state_dir = "state"
control_socket = "gate.sock"
# Who the process becomes after binding, when root starts it.
{_line("user", user, "enforcer-gate")}
# Who may hand it tables, when that is neither root nor the user above: the node's user id.
# allowed_uids = [998]

# The operator's page, for orders with the measure BLOCK_PAGE:
# [block_page]
# ipv4 = "192.0.2.80"
"""
