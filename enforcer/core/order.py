"""Orders: what is asked, and the acts that begin, confirm, prolong and end them.

Every act after the proposal names the order by its entry index and payload hash, so that a
signature given for one order can never serve another. Free text and documents are side
files, named by salted hash (SHA-256 over 32 random octets and the content). So is a list that
is not public at once: it travels as an age file, sealed for an identity of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, TypeAlias

from enforcer.core.age import ListSecret, Recipient
from enforcer.core.fields import (
    EntryIndex,
    Identifier,
    Items,
    Line,
    Range,
    Sha256,
    Text,
    UnixMs,
    Url,
)
from enforcer.core.key import Category, Territory
from enforcer.core.payload import Payload
from enforcer.core.policy import DecisionKind
from enforcer.core.table import Binding, DnsMeasure, IpMeasure
from enforcer.core.target import TARGETS_MAX

OrderId: TypeAlias = Annotated[
    str, Text(14, "[A-Z]{2}-[0-9]{4}-[0-9]{6}", "an order id such as VN-2026-000001")
]


class PublicationMode(IntEnum):
    """Who may read the targets, and when."""

    UNSPECIFIED = 0
    FULL = 1
    RESTRICTED_TARGETS = 2
    DELAYED = 3


@dataclass(frozen=True, slots=True)
class LegalBasis:
    """One provision that the order rests on."""

    instrument: Line
    provision: Line
    uri: Url | None


@dataclass(frozen=True, slots=True)
class Measure:
    """What is done to names and to addresses; each is NONE where the list has no such target."""

    dns: DnsMeasure
    ip: IpMeasure


@dataclass(frozen=True, slots=True)
class Appeal:
    """Where and until when the order can be challenged."""

    body: Line
    address: Line
    deadline_ms: UnixMs | None


@dataclass(frozen=True, slots=True)
class Publication:
    """How the order is made public; all is null where its list is public at once (FULL).

    Else the list travels sealed, as an age file (C2SP age.md) for one recipient of its own, of 32
    random octets of salt and then the canonical text: so nobody can confirm a guess by its hash.
    The salt's first octet is 0x80 or more, so that no salted text is the text of a public list.
    """

    mode: PublicationMode
    publish_at_ms: UnixMs | None
    """Where it is delayed: until then the list is published, or the order ends."""
    sealed_sha256: Sha256 | None
    """Of the age file."""
    list_recipient: Recipient | None
    """Whoever has this recipient's identity opens the list; it is drawn for the list alone."""

    @property
    def is_sealed(self) -> bool:
        """Whether the list travels sealed; what is not known to be public is taken for sealed."""
        return self.mode is not PublicationMode.FULL

    @property
    def names(self) -> tuple[str, ...]:
        """The names of a sealed list, each its own in all orders: of its file, its recipient."""
        return tuple(each for each in (self.sealed_sha256, self.list_recipient) if each)


@dataclass(frozen=True, slots=True)
class OrderRef:
    """An order, named so that it cannot be mistaken: by id, entry index and payload hash."""

    order_id: OrderId
    entry_index: EntryIndex
    payload_sha256: Sha256


@dataclass(frozen=True, slots=True)
class OrderProposed(Payload):
    """The whole order, signed by its proposer; it blocks nothing yet."""

    TYPE: ClassVar = "application/vnd.enforcer.order-proposed.v1+json"

    order_id: OrderId
    version: Annotated[int, Range(1, 10_000)]
    supersedes: OrderRef | None
    authority: Identifier
    legal_basis: Annotated[tuple[LegalBasis, ...], Items(1, 16)]
    case_reference: Line
    decision_kind: DecisionKind
    binding: Binding
    category: Category
    statement_of_reasons_sha256: Sha256
    decision_sha256: Sha256 | None
    evidence_sha256: Annotated[tuple[Sha256, ...], Items(0, 64)]
    target_list_sha256: Sha256
    """Of the canonical text; of a sealed list, of its salt and text together."""
    target_count: Annotated[int, Range(1, TARGETS_MAX)]
    measure: Measure
    territory: Territory
    not_before_ms: UnixMs
    expires_at_ms: UnixMs
    review_due_at_ms: UnixMs
    appeal: Appeal
    publication: Publication
    assessment_sha256: Sha256 | None
    """Side file with the collateral assessment."""
    notifications: Annotated[tuple[Line, ...], Items(0, 16)]
    """Who is to be told."""

    @property
    def list_file_sha256(self) -> str:
        """SHA-256 of the file that the list travels as."""
        return self.publication.sealed_sha256 or self.target_list_sha256


@dataclass(frozen=True, slots=True)
class OrderApproved(Payload):
    """A second person's signature: from here the order blocks, within its times."""

    TYPE: ClassVar = "application/vnd.enforcer.order-approved.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    """Payload hash of the policy that the approver approved under."""


@dataclass(frozen=True, slots=True)
class OrderRejected(Payload):
    """One person says that a proposal will not be approved; for good."""

    TYPE: ClassVar = "application/vnd.enforcer.order-rejected.v1+json"

    order: OrderRef
    reason_sha256: Sha256 | None


@dataclass(frozen=True, slots=True)
class OrderConfirmed(Payload):
    """An emergency order becomes one of a regular decision: signed by two persons, as an extension.

    Until then the 72 hours of the emergency run on, and end it.
    """

    TYPE: ClassVar = "application/vnd.enforcer.order-confirmed.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    decision_kind: DecisionKind
    decision_sha256: Sha256
    evidence_sha256: Annotated[tuple[Sha256, ...], Items(1, 64)]
    expires_at_ms: UnixMs
    review_due_at_ms: UnixMs


@dataclass(frozen=True, slots=True)
class OrderStopped(Payload):
    """One person ends an order, at once and for good."""

    TYPE: ClassVar = "application/vnd.enforcer.order-stopped.v1+json"

    order: OrderRef
    reason_sha256: Sha256 | None


@dataclass(frozen=True, slots=True)
class OrderPublished(Payload):
    """A delayed list is made public: with its secret everybody opens it, for ever."""

    TYPE: ClassVar = "application/vnd.enforcer.order-published.v1+json"

    order: OrderRef
    list_secret: ListSecret
    """The identity of the order's ``list_recipient``."""


@dataclass(frozen=True, slots=True)
class OrderExtended(Payload):
    """A new approval of a later end: signed by a proposer and an approver, two persons."""

    TYPE: ClassVar = "application/vnd.enforcer.order-extended.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    expires_at_ms: UnixMs
    review_due_at_ms: UnixMs
    reason_sha256: Sha256 | None
