"""A small country for tests: roots, an authority's people, oversight, a node, and their acts.

Every act is really signed; the ledger here is a list of leaves with one running time, so a
test reads as a story: ``land.propose(...)``, ``land.approve(...)``, ``land.state``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from functools import cached_property
from hashlib import sha256
from itertools import count
from secrets import token_bytes
from typing import TypeVar

from enforcer.backends import sealing
from enforcer.backends.keys import EncryptionKey, PrivateKey, verify
from enforcer.core import age, fields
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.entry import Entry, encode, parse
from enforcer.core.envelope import Envelope, sign
from enforcer.core.fold import Effect, apply
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.key import (
    READING_ROLES,
    Category,
    KeyRegistered,
    KeyRevoked,
    LogKeyRotated,
    Role,
    RootsChanged,
)
from enforcer.core.order import (
    Appeal,
    LegalBasis,
    Measure,
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderPublished,
    OrderRef,
    OrderRejected,
    OrderStopped,
    Publication,
    PublicationMode,
)
from enforcer.core.payload import Payload
from enforcer.core.policy import COURT_KINDS, DAY_MS, DecisionKind, Pins, PolicyAdopted
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    Recipient,
    ReviewDone,
)
from enforcer.core.state import OrderRecord, Roots, State
from enforcer.core.table import Binding, DnsMeasure, IpMeasure

ORIGIN = "example.org/ledger"
T0_MS = 1_800_000_000_000
ALL_CATEGORIES = tuple(category for category in Category if category)

DOCUMENT = sha256(b"a salted document").hexdigest()

FULL = Publication(PublicationMode.FULL, None, None, None)

P = TypeVar("P", bound=Payload)

_serial = count(1)


def request_id() -> str:
    """Return a request id that no other act of this test run has."""
    return f"request-{next(_serial):012d}"


def seal(payload: Payload, *keys: PrivateKey) -> Envelope:
    """Sign `payload` with `keys`, in that order."""
    return sign(payload.TYPE, fields.dump(payload), [(key.key_id, key.sign) for key in keys])


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def identity() -> str:
    """Return a new age identity."""
    return age.encode(age.SECRET_PREFIX, token_bytes(32)).upper()


LIST_SECRET, OTHER_SECRET = identity(), identity()
LIST_RECIPIENT = age.recipient_of(LIST_SECRET)
RECIPIENTS = {
    PublicationMode.RESTRICTED_TARGETS: age.recipient_of(OTHER_SECRET),
    PublicationMode.DELAYED: LIST_RECIPIENT,
}
"""A recipient serves one list, in one mode."""
SALTED = token_bytes(32) + b"exact hidden.example.org\n"
SEALED = {mode: sealing.seal(SALTED, recipient) for mode, recipient in RECIPIENTS.items()}
"""The one list that is hidden in most tests."""


def hidden(mode: PublicationMode, publish_at_ms: int | None = None) -> Publication:
    """Return a publication of the hidden list."""
    octets = SEALED.get(mode, b"sealed")
    return Publication(mode, publish_at_ms, sha256(octets).hexdigest(), RECIPIENTS.get(mode))


@dataclass
class Person:
    """Somebody with a key and what it is registered for."""

    person_id: str
    role: Role
    authority: str | None = None
    categories: tuple[Category, ...] = ()
    operator: str | None = None
    key: PrivateKey = field(default_factory=PrivateKey.generate)

    @cached_property
    def encryption(self) -> EncryptionKey:
        """What this one opens wraps with."""
        return EncryptionKey.generate()

    @property
    def encryption_secret(self) -> str:
        return self.encryption.secret

    @property
    def encryption_key(self) -> str:
        return self.encryption.recipient

    def registration(self, now_ms: int) -> KeyRegistered:
        is_machine = self.role in (Role.NODE, Role.CONTROL)
        return KeyRegistered(
            ledger_origin=ORIGIN,
            request_id=request_id(),
            valid_until_ms=now_ms + DAY_MS,
            public_key=self.key.public_key.hex(),
            role=self.role,
            person_id=None if is_machine else self.person_id,
            machine_id=self.person_id if is_machine else None,
            authority=self.authority,
            operator=self.operator,
            categories=self.categories,
            territories=("VN",),
            not_after_ms=now_ms + 365 * DAY_MS,
            encryption_key=self.encryption_key if self.role in READING_ROLES else None,
        )


@dataclass
class Land:
    """Roots and people, a ledger in memory, and its fold."""

    now_ms: int = T0_MS
    origin: str = ORIGIN
    pins: Pins = Pins(None, None, None, None)  # noqa: RUF009 - frozen, so one default serves all
    roots: list[PrivateKey] = field(
        default_factory=lambda: [PrivateKey.generate() for _ in range(3)]
    )
    leaves: list[bytes] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.proposer = Person("an.nguyen", Role.PROPOSER, "cert-vn", ALL_CATEGORIES)
        self.approver = Person("binh.tran", Role.APPROVER, "cert-vn", ALL_CATEGORIES)
        self.second_approver = Person("chi.le", Role.APPROVER, "cert-vn", ALL_CATEGORIES)
        self.stranger = Person("dung.pham", Role.APPROVER, "other-authority", ALL_CATEGORIES)
        self.oversight = Person("court.clerk", Role.OVERSIGHT)
        self.node = Person("node-1", Role.NODE, operator="isp-1")
        self.officer = Person("giang.do", Role.SAFETY_OFFICER, operator="isp-1")
        self.other_officer = Person("hoa.vu", Role.SAFETY_OFFICER, operator="isp-2")
        self.control = Person("control-1", Role.CONTROL)
        self.state = State(self.origin, Roots(tuple(k.public_key for k in self.roots), 2), verify)

    @classmethod
    def founded(cls, **options: object) -> Land:
        """Return a land with its policy adopted (entry 0) and everybody registered (1 to 6)."""
        land = cls(**options)
        land.record(seal(land.policy(), *land.roots[:2]))
        for person in land.everybody:
            land.record(seal(person.registration(land.now_ms), *land.roots[1:]))
        assert all(effect.is_effective for effect in land.effects)
        return land

    @property
    def everybody(self) -> tuple[Person, ...]:
        return (
            self.proposer,
            self.approver,
            self.second_approver,
            self.stranger,
            self.oversight,
            self.node,
        )

    def register(self, *people: Person) -> None:
        """Have the roots register more people than everybody."""
        for person in people:
            effect = self.record(seal(person.registration(self.now_ms), *self.roots[:2]))
            assert effect.is_effective, effect.refusal

    def act(self, kind: type[P], ref: OrderRef, **fields: object) -> P:
        """Return an act about an order, with what all acts carry filled in."""
        policy = self.state.policy
        assert policy is not None
        common: dict[str, object] = {
            "ledger_origin": self.origin,
            "request_id": request_id(),
            "valid_until_ms": self.now_ms + DAY_MS,
            "order": ref,
        }
        if "policy_sha256" in {each.name for each in dataclass_fields(kind)}:
            common["policy_sha256"] = policy.payload_sha256
        return kind(**(common | fields))

    def order_record(self, ref: OrderRef) -> OrderRecord:
        return self.state.orders[ref.entry_index]

    def policy(self, **changes: object) -> PolicyAdopted:
        policy = PolicyAdopted(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            fold_version=1,
            follows_sha256=self.state.policy.payload_sha256 if self.state.policy else None,
            register_url="https://register.example.org/",
            register_domain="register.example.org",
            targets_max=2_000_000,
            growth_targets_max=20_000_000,
            administrative_days_max=366,
            delayed_days_max=30,
            persons_min=2,
            lifetime_caps=(),
            pins=self.pins,
        )
        return replace(policy, **changes)

    def record(self, envelope: Envelope, *, after_ms: int = 1_000) -> Effect:
        """Append the act `after_ms` later, whether or not it is lawful, and fold it."""
        self.now_ms += after_ms
        leaf = encode(Entry(self.now_ms, envelope))
        effect = apply(self.state, parse(leaf))
        self.leaves.append(leaf)
        self.effects.append(effect)
        return effect

    def attested(self, **changes: object) -> AttestationsRecorded:
        """Return the entry of an interval in which no node said anything; not recorded yet."""
        size = self.state.size
        recorded = AttestationsRecorded(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            from_ms=max(self.state.attested_until_ms, self.now_ms - 600_000),
            until_ms=self.now_ms,
            ledger_size=size,
            read_from_size=size,
            node_count=0,
            root_sha256=sha256(b"").hexdigest(),
            batch_sha256=sha256(b"a batch").hexdigest(),
            exception_count=0,
            exceptions=(),
        )
        return replace(recorded, **changes)

    def record_attested(self, by: Person | None = None, **changes: object) -> Effect:
        return self.record(seal(self.attested(**changes), (by or self.control).key))

    def order(
        self, targets: bytes = b"exact bad.example.org\n", **changes: object
    ) -> OrderProposed:
        """Return a lawful order for this list; nothing is signed or recorded yet."""
        order = OrderProposed(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            order_id=f"VN-2027-{next(_serial):06d}",
            version=1,
            supersedes=None,
            authority="cert-vn",
            legal_basis=(LegalBasis("Law on Cyber Information Security", "Art. 16", None),),
            case_reference="2027/118",
            decision_kind=DecisionKind.ADMINISTRATIVE,
            binding=Binding.BINDING,
            category=Category.PHISHING,
            statement_of_reasons_sha256=sha256(b"salted reasons").hexdigest(),
            decision_sha256=None,
            evidence_sha256=(),
            target_list_sha256=sha256(targets).hexdigest(),
            target_count=targets.count(b"\n"),
            measure=Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE),
            territory="VN",
            not_before_ms=self.now_ms,
            expires_at_ms=self.now_ms + 30 * DAY_MS,
            review_due_at_ms=self.now_ms + 30 * DAY_MS,
            appeal=Appeal("Administrative court", "1 Example Street", None),
            publication=FULL,
            assessment_sha256=None,
            notifications=(),
        )
        order = replace(order, **changes)
        if order.list_file_sha256 in map(digest, SEALED.values()):
            hidden_list = {"target_list_sha256": digest(SALTED), "target_count": 1}
            order = replace(order, **(hidden_list | changes))
        if order.decision_kind in COURT_KINDS and "decision_sha256" not in changes:
            order = replace(order, decision_sha256=DOCUMENT)
        return order

    def propose(self, targets: bytes = b"exact bad.example.org\n", **changes: object) -> OrderRef:
        """Record a proposal and return how later acts name it."""
        envelope = seal(self.order(targets, **changes), self.proposer.key)
        effect = self.record(envelope)
        assert effect.is_effective, effect.refusal
        return self.ref(effect.index)

    def ref(self, index: int) -> OrderRef:
        record = self.state.orders[index]
        return OrderRef(record.payload.order_id, index, record.payload_sha256)

    def approval(self, ref: OrderRef, **changes: object) -> OrderApproved:
        policy = self.state.policy
        assert policy is not None
        approval = OrderApproved(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            order=ref,
            policy_sha256=policy.payload_sha256,
        )
        return replace(approval, **changes)

    def approve(self, ref: OrderRef, by: Person | None = None) -> Effect:
        return self.record(seal(self.approval(ref), (by or self.approver).key))

    def in_force_order(
        self, targets: bytes = b"exact bad.example.org\n", **changes: object
    ) -> OrderRef:
        """Record a proposal and its approval."""
        ref = self.propose(targets, **changes)
        effect = self.approve(ref)
        assert effect.is_effective, effect.refusal
        return ref

    def stopping(self, ref: OrderRef, **changes: object) -> OrderStopped:
        stop = OrderStopped(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            order=ref,
            reason_sha256=None,
        )
        return replace(stop, **changes)

    def stop(self, ref: OrderRef, by: Person | None = None) -> Effect:
        return self.record(seal(self.stopping(ref), (by or self.oversight).key))

    def extension(self, ref: OrderRef, expires_at_ms: int, **changes: object) -> OrderExtended:
        policy = self.state.policy
        assert policy is not None
        extension = OrderExtended(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            order=ref,
            policy_sha256=policy.payload_sha256,
            expires_at_ms=expires_at_ms,
            review_due_at_ms=expires_at_ms,
            reason_sha256=None,
        )
        return replace(extension, **changes)

    # What holds, and what follows a block.

    def hold(
        self,
        ref: OrderRef,
        *guards: Guard,
        by: Person | None = None,
        report: str | None = DOCUMENT,
    ) -> Effect:
        held = self.act(OrderHeld, ref, guards=guards, report_sha256=report)
        return self.record(seal(held, (by or self.control).key))

    def assess(self, ref: OrderRef, by: Person | None = None) -> Effect:
        act = self.act(AssessmentRecorded, ref, facts_sha256=DOCUMENT, necessity_sha256=DOCUMENT)
        return self.record(seal(act, (by or self.proposer).key))

    def lift(
        self,
        ref: OrderRef,
        *guards: Guard,
        by: Person | None = None,
        overrides: tuple[str, ...] = (),
        assessment: int | None = None,
    ) -> Effect:
        act = self.act(
            HoldLifted,
            ref,
            guards=guards,
            overrides=overrides,
            assessment_index=assessment,
            reason_sha256=None,
        )
        return self.record(seal(act, (by or self.second_approver).key))

    def propose_hidden(self, mode: PublicationMode, **changes: object) -> OrderRef:
        """Record a restricted proposal, oversight's signature beside, or a delayed one."""
        keys = [self.proposer.key]
        days = {"publish_at_ms": self.now_ms + 20 * DAY_MS}
        if mode is PublicationMode.RESTRICTED_TARGETS:
            keys.append(self.oversight.key)
            changes = {"category": Category.CHILD_ABUSE_MATERIAL} | changes
            days = {}
        order = self.order(**({"publication": hidden(mode, **days)} | changes))
        effect = self.record(seal(order, *keys))
        assert effect.is_effective, effect.refusal
        return self.ref(effect.index)

    def publish(self, ref: OrderRef, by: Person | None = None, secret: str = LIST_SECRET) -> Effect:
        act = self.act(OrderPublished, ref, list_secret=secret)
        return self.record(seal(act, (by or self.proposer).key))

    def reject(self, ref: OrderRef, by: Person | None = None) -> Effect:
        act = self.act(OrderRejected, ref, reason_sha256=None)
        return self.record(seal(act, (by or self.approver).key))

    def confirm(self, ref: OrderRef, *by: Person, **changes: object) -> Effect:
        fields = {
            "decision_kind": DecisionKind.ADMINISTRATIVE,
            "decision_sha256": DOCUMENT,
            "evidence_sha256": (DOCUMENT,),
            "expires_at_ms": self.now_ms + 30 * DAY_MS,
            "review_due_at_ms": self.now_ms + 30 * DAY_MS,
        }
        act = self.act(OrderConfirmed, ref, **(fields | changes))
        people = by or (self.proposer, self.approver)
        return self.record(seal(act, *(person.key for person in people)))

    def review(self, ref: OrderRef, due_at_ms: int, by: Person | None = None) -> Effect:
        act = self.act(ReviewDone, ref, review_due_at_ms=due_at_ms, reason_sha256=None)
        return self.record(seal(act, (by or self.approver).key))

    def notify(self, ref: OrderRef, by: Person | None = None, **changes: object) -> Effect:
        fields = {
            "recipient": Recipient.HOLDER,
            "notice_sha256": DOCUMENT,
            "sent_at_ms": self.now_ms,
        }
        act = self.act(NotificationSent, ref, **(fields | changes))
        return self.record(seal(act, (by or self.proposer).key))

    def appeal(self, ref: OrderRef, by: Person | None = None) -> Effect:
        act = self.act(AppealFiled, ref, statement_sha256=DOCUMENT)
        return self.record(seal(act, (by or self.control).key))

    def decide(
        self, ref: OrderRef, appeal: int, outcome: AppealOutcome, by: Person | None = None
    ) -> Effect:
        act = self.act(
            AppealDecided, ref, appeal_index=appeal, outcome=outcome, decision_sha256=DOCUMENT
        )
        return self.record(seal(act, (by or self.oversight).key))

    def suspending(self, ref: OrderRef, **changes: object) -> OrderSuspended:
        return self.act(
            OrderSuspended, ref, **({"until_ms": None, "reason_sha256": None} | changes)
        )

    def resuming(self, ref: OrderRef, suspension_sha256: str, **changes: object) -> OrderResumed:
        fields = {"suspension_sha256": suspension_sha256, "reason_sha256": None}
        return self.act(OrderResumed, ref, **(fields | changes))

    def suspend(self, ref: OrderRef, by: Person | None = None, **changes: object) -> Effect:
        return self.record(seal(self.suspending(ref, **changes), (by or self.officer).key))

    def resume(self, ref: OrderRef, by: Person | None = None) -> Effect:
        """End the suspension that holds, or one that there never was."""
        person = by or self.officer
        held = self.order_record(ref).suspension(person.operator, self.now_ms)
        act = self.resuming(ref, held.payload_sha256 if held else DOCUMENT)
        return self.record(seal(act, person.key))

    # What the roots do besides.

    def change_roots(
        self, public_keys: tuple[bytes, ...], threshold: int, *keys: PrivateKey
    ) -> Effect:
        act = RootsChanged(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            public_keys=tuple(each.hex() for each in public_keys),
            threshold=threshold,
            reason_sha256=None,
        )
        return self.record(seal(act, *keys))

    def rotate_log_key(self, log_vkey: str, *keys: PrivateKey) -> Effect:
        act = LogKeyRotated(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            log_vkey=log_vkey,
            reason_sha256=None,
        )
        return self.record(seal(act, *keys))

    def revocation(self, person: Person, since: int | None = None) -> KeyRevoked:
        return KeyRevoked(
            ledger_origin=self.origin,
            request_id=request_id(),
            valid_until_ms=self.now_ms + DAY_MS,
            key_id=person.key.key_id,
            compromised_since_index=since,
            reason_sha256=None,
        )
