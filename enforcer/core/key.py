"""Keys of persons, machines, roots and the log: what registers, changes and ends them.

Roots sign these entries with their threshold. A person may hold several keys; two keys of
one person are never two persons. Every registration ends by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final, TypeAlias

from enforcer.core.age import Recipient
from enforcer.core.fields import EntryIndex, Identifier, Items, Range, Sha256, Text, UnixMs
from enforcer.core.payload import Payload

Territory: TypeAlias = Annotated[
    str, Text(6, "[A-Z]{2}(-[A-Z0-9]{1,3})?", "an ISO 3166 code such as VN or VN-HN")
]
PublicKeyHex: TypeAlias = Annotated[str, Text(64, "[0-9a-f]{64}", "32 octets in lower-case hex")]


class Category(IntEnum):
    """The closed list of what may be blocked at all; there are no opinion categories."""

    UNSPECIFIED = 0
    PHISHING = 1
    SCAM = 2
    MALWARE = 3
    BOTNET_CONTROL = 4
    SPAM_SOURCE = 5
    CHILD_ABUSE_MATERIAL = 6
    COURT_DECISION = 7


class Role(IntEnum):
    """What a key may be used for; one key has one role."""

    UNSPECIFIED = 0
    PROPOSER = 1
    APPROVER = 2
    OVERSIGHT = 3
    SAFETY_OFFICER = 4
    AUDITOR = 5
    NODE = 6
    CONTROL = 7


OPERATOR_ROLES: Final = frozenset((Role.SAFETY_OFFICER, Role.NODE))
MACHINE_ROLES: Final = frozenset((Role.NODE, Role.CONTROL))
ORDERING_ROLES: Final = frozenset((Role.PROPOSER, Role.APPROVER))
STOPPING_ROLES: Final = ORDERING_ROLES | {Role.OVERSIGHT}
READING_ROLES: Final = frozenset((Role.NODE, Role.OVERSIGHT, Role.CONTROL))
"""Whose holders open sealed target lists."""


@dataclass(frozen=True, slots=True)
class KeyRegistered(Payload):
    """A key, whose it is, and what it may sign."""

    TYPE: ClassVar = "application/vnd.enforcer.key-registered.v1+json"

    public_key: PublicKeyHex
    role: Role
    person_id: Identifier | None
    """The person who holds the key; null for machines."""
    machine_id: Identifier | None
    """The node or control plane that holds the key; null for persons."""
    authority: Identifier | None
    """The authority that a proposer or approver acts for; null for the other roles."""
    operator: Identifier | None
    """The ISP whose network a node or safety officer belongs to; null for the other roles."""
    categories: Annotated[tuple[Category, ...], Items(0, 7)]
    territories: Annotated[tuple[Territory, ...], Items(0, 64)]
    not_after_ms: UnixMs
    """When the registration ends by itself."""
    encryption_key: Recipient | None
    """What secrets of sealed lists are wrapped for; null for roles that open none."""


@dataclass(frozen=True, slots=True)
class KeyRevoked(Payload):
    """A key that may sign nothing more; what it signed since an index may be forged."""

    TYPE: ClassVar = "application/vnd.enforcer.key-revoked.v1+json"

    key_id: Sha256
    compromised_since_index: EntryIndex | None
    """Orders that rest on this key from this ledger index on go on hold; null: none do."""
    reason_sha256: Sha256 | None
    """Side file with the reason."""


@dataclass(frozen=True, slots=True)
class RootsChanged(Payload):
    """Other root keys from here on: signed by the threshold of the former and of the new ones."""

    TYPE: ClassVar = "application/vnd.enforcer.roots-changed.v1+json"

    public_keys: Annotated[tuple[PublicKeyHex, ...], Items(2, 16)]
    threshold: Annotated[int, Range(2, 16)]
    reason_sha256: Sha256 | None


@dataclass(frozen=True, slots=True)
class LogKeyRotated(Payload):
    """The key that signs the checkpoints of all sizes beyond this entry; signed by the roots."""

    TYPE: ClassVar = "application/vnd.enforcer.log-key-rotated.v1+json"

    log_vkey: Annotated[str, Text(300, "[!-~]+", "a C2SP signed-note verifier key")]
    reason_sha256: Sha256 | None
