"""What a Redis for the feed is set up with: users, certificate, redis.conf and sentinel.conf.

The publisher's user can write this feed, a node's can read it, and nobody else can do anything.
Always true: a password is in the file of who uses it and as a hash in the users' file; what
carries a secret is mode 600.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from enforcer.backends import certificate_request, durable, pki
from enforcer.backends.durable import PRIVATE_MODE
from enforcer.backends.feed_format import node_acl, publisher_acl
from enforcer.backends.redis_place import REDIS_PORT

PUBLISHER: Final = "publisher"
NODE: Final = "node"
PASSWORD_OCTETS: Final = 32
PRIMARY: Final = "feed"
"""By which name sentinels know it."""
SENTINEL_PORT: Final = 26_379
CERTIFICATE_DAYS: Final = pki.CERTIFICATE_DAYS_MAX

# What replicas and sentinels do, as Redis's own manual on ACL has it.
REPLICA_ACL: Final = ("-@all", "+psync", "+replconf", "+ping")
SENTINEL_ACL: Final = (
    "allchannels",
    "-@all",
    *("+multi", "+slaveof", "+ping", "+exec", "+subscribe", "+config|rewrite", "+role", "+publish"),
    *("+info", "+client|setname", "+client|kill", "+script|kill"),
)


def has_users(url: str) -> bool:
    """Tell whether this Redis is ours to set up: over TCP, and no user is named already."""
    return url.startswith(("redis://", "rediss://")) and "@" not in url


def url_of(url: str, user: str) -> str:
    """Return the URL with a user in it, where this Redis is ours to set up."""
    return url.replace("://", f"://{user}@", 1) if has_users(url) else url


def write_redis(
    directory: Path,
    origin: str,
    url: str,
    authority: pki.Authority,
    more_hosts: Sequence[str] = (),
) -> dict[str, bytes]:
    """Write what goes to the Redis hosts into `directory`; return the passwords by user.

    The certificate is for the URL's host and `more_hosts`: those of replicas and sentinels.

    Raises:
        InputError: a host that cannot stand in a certificate.
        ConflictError: there is such a key already.
        UnavailableError: it cannot be written.
    """
    durable.make_directory(directory)
    rules: dict[str, Sequence[str]] = {
        PUBLISHER: publisher_acl(origin),
        NODE: node_acl(origin),
        "replica": REPLICA_ACL,
        "sentinel": SENTINEL_ACL,
    }
    passwords = {user: secrets.token_hex(PASSWORD_OCTETS).encode() for user in rules}
    users = "user default off\n" + "".join(
        f"user {user} on #{sha256(passwords[user]).hexdigest()} {' '.join(rules[user])}\n"
        for user in rules
    )
    durable.write_file(directory / "users.acl", users.encode(), mode=PRIVATE_MODE)
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or REDIS_PORT
    is_encrypted = place.scheme == "rediss"
    if is_encrypted:
        key = certificate_request.new_key(directory / "tls.key")
        certificate = authority.issue_server(
            "redis", key.public_key(), hosts=[host, *more_hosts], days=CERTIFICATE_DAYS
        )
        durable.write_file(directory / "tls.crt", certificate)
        durable.write_file(directory / "ca.crt", authority.pem)
    conf = _conf(host, port, passwords, is_encrypted=is_encrypted)
    durable.write_file(directory / "redis.conf", conf.encode(), mode=PRIVATE_MODE)
    watching = _sentinel_conf(host, port, passwords["sentinel"], is_encrypted=is_encrypted)
    durable.write_file(directory / "sentinel.conf", watching.encode(), mode=PRIVATE_MODE)
    return passwords


def _conf(host: str, port: int, passwords: dict[str, bytes], is_encrypted: bool) -> str:
    return f"""\
# For the feed alone; start it in this directory: redis-server redis.conf
# On a replica's host: bind is its own address, and the line replicaof counts.
bind {host}
{_port(port, is_encrypted)}
aclfile users.acl
# Nothing of the feed may be dropped, and the ledger refills what is lost.
maxmemory-policy noeviction
save ""
appendonly no
# A replica adds where its primary is; every one has these lines, as each may become the primary.
# replicaof PRIMARY {port}
masteruser replica
masterauth {passwords["replica"].decode()}
"""


def _sentinel_conf(host: str, port: int, password: bytes, is_encrypted: bool) -> str:
    return f"""\
# For each of three sentinels or more, on hosts of their own, each in a copy of this directory that
# it can write to: redis-server sentinel.conf --sentinel. Let nobody but programs reach them.
# Programs then have url = "SCHEME://USER@{PRIMARY}", and sentinels = [...].
bind 0.0.0.0
{_port(SENTINEL_PORT, is_encrypted)}
sentinel monitor {PRIMARY} {host} {port} 2
sentinel auth-user {PRIMARY} sentinel
sentinel auth-pass {PRIMARY} {password.decode()}
sentinel down-after-milliseconds {PRIMARY} 5000
sentinel failover-timeout {PRIMARY} 30000
"""


def _port(port: int, is_encrypted: bool) -> str:
    if not is_encrypted:
        return f"port {port}"
    return f"""\
port 0
tls-port {port}
tls-cert-file tls.crt
tls-key-file tls.key
tls-ca-cert-file ca.crt
tls-auth-clients no
tls-replication yes"""
