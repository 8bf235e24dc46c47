"""Another node for an installation: its folder, with a gate, as its host is to have it.

Made after the example of a node that is there: the same ledger, control plane and Redis; keys of
its own. Refuses a directory that has something in it. Always true: nothing is registered or
certified by being here, and what an example's operator filled in for one host is not copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from enforcer.app.installation import Installation, check_empty
from enforcer.app.installation_files import ADMISSION, gate_toml, node_toml
from enforcer.app.keys import format_request, make_request, new_key
from enforcer.backends import durable
from enforcer.backends.durable import PRIVATE_MODE
from enforcer.config import (
    Address,
    CanaryPart,
    GateConfig,
    Identifier,
    NodeConfig,
    Redis,
    plain_words,
    read,
    read_trust,
)
from enforcer.core.key import Role
from enforcer.errors import InputError

SENTINEL_ADMISSION: Final = "sentinel.password"
REDIS_AUTHORITY: Final = "redis-ca.crt"
FILE_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class NewNode:
    """What another node is to be."""

    node_id: str
    operator: str
    """Whose network it belongs to."""
    dns_listen: Address
    dns_upstream: Address
    listen: Address | None = None
    canary: CanaryPart = field(default_factory=CanaryPart)
    copy: Path | None = None
    """Where copies of the ledger come to a site that no network reaches: it has no other path."""


def add_node(directory: Path, like: Installation, new: NewNode) -> Path:
    """Write a node's folder into the empty or absent `directory`; return its key request.

    Raises:
        ConflictError: something is in it.
        InputError: what the node is to be does not fit together.
        NotFoundError, UnavailableError: the example is not there, or nothing can be written.
    """
    check_empty(directory)
    _check(new)
    example = read(like.node / "node.toml", NodeConfig)
    control = example.control
    if new.copy is None and control is None:
        raise InputError(
            f"the node in {like.node} has no control plane that another could have too",
            advice="Name the installation of a node that is on the network, or give --copy.",
            field="like",
        )
    trust_file = durable.read_file(like.trust_file, size_bytes_max=FILE_BYTES_MAX)
    origin = read_trust(like.trust_file).origin
    gate = like.gate / "gate.toml"
    user = read(gate, GateConfig).user if gate.exists() else None
    files: dict[str, bytes] = {}
    for name in ("ca.crt", "ca.crl"):
        files[name] = durable.read_file(like.authority / name, size_bytes_max=FILE_BYTES_MAX)
    secrets: dict[str, bytes] = {}
    redis = None
    if new.copy is None and example.redis is not None:
        redis = _redis(example.redis, files["ca.crt"], secrets)

    made = Installation(directory)
    for part in (directory, made.authority, made.node, made.gate):
        durable.make_directory(part)
    directory.chmod(0o711)  # the gate's user passes through; keys are mode 600
    durable.write_file(made.trust_file, trust_file)
    for name, data in files.items():
        durable.write_file(made.authority / name, data)
    for name, data in secrets.items():
        durable.write_file(made.node / name, data, mode=PRIVATE_MODE)
    new_key(made.node / "signing.key")
    key = made.node / "signing.key"
    asked = make_request(key, origin, Role.NODE, new.node_id, operator=new.operator)
    request = made.node / "request.json"
    durable.write_file(request, format_request(asked))
    text = node_toml(
        new.node_id,
        listen=new.listen,
        control=control.address if new.copy is None and control is not None else None,
        redis=redis,
        canary=new.canary,
        copies=(new.copy,) if new.copy is not None else (),
    )
    durable.write_file(made.node / "node.toml", text.encode())
    text = gate_toml(origin, listen=(new.dns_listen,), upstream=new.dns_upstream, user=user)
    durable.write_file(made.gate / "gate.toml", text.encode())
    return request


def _check(new: NewNode) -> None:
    """Refuse what the node could not run by.

    Raises:
        InputError: ``data["field"]`` is what is wrong.
    """
    try:
        msgspec.convert(new.node_id, Identifier)
        msgspec.convert(new.operator, Identifier)
    except msgspec.ValidationError as error:
        raise InputError(
            f"the node's or operator's id is wrong: {plain_words(str(error))}",
            advice="Correct --node-id or --operator.",
            field="node-id",
        ) from error
    if new.canary.role == "canary" and new.listen is None:
        raise InputError(
            "a canary needs a place where the nodes that follow it ask",
            advice="Give --node-listen HOST:PORT with --canary.",
            field="node-listen",
        )
    if new.copy is not None and (new.listen or new.canary.follows):
        raise InputError(
            "a node that no network reaches can be asked by nobody and follow nobody",
            advice="Leave out --node-listen, --canary and --follow, or --copy.",
            field="copy",
        )


def _redis(example: Redis, authority: bytes, secrets: dict[str, bytes]) -> Redis:
    """Return the same Redis with files beside the new node's; `secrets` takes their contents."""
    replace, made = msgspec.structs.replace, example
    if example.password_file is not None:
        secrets[ADMISSION] = (example.password() or "").encode()
        made = replace(made, password_file=Path(ADMISSION))
    if example.sentinel_password_file is not None:
        secrets[SENTINEL_ADMISSION] = (example.sentinel_password() or "").encode()
        made = replace(made, sentinel_password_file=Path(SENTINEL_ADMISSION))
    if example.ca is not None:
        believed = durable.read_file(example.ca, size_bytes_max=FILE_BYTES_MAX)
        is_ours = believed == authority
        if not is_ours:
            secrets[REDIS_AUTHORITY] = believed
        made = msgspec.structs.replace(
            made, ca=Path("../ca/ca.crt" if is_ours else REDIS_AUTHORITY)
        )
    return made
