"""What holds after some entries of the ledger, and what is in force at a time.

Plain records: the fold changes them, the rules read them, nothing else does either. Orders
are kept for ever, whatever became of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from enforcer.core.ed25519 import is_small_order
from enforcer.core.envelope import Verify, key_id
from enforcer.core.guard import Guard
from enforcer.core.key import KeyRegistered
from enforcer.core.life import ENDED, OrderStatus
from enforcer.core.order import OrderProposed, PublicationMode
from enforcer.core.policy import DecisionKind, Pins, PolicyAdopted
from enforcer.core.remedy import AppealOutcome
from enforcer.core.running import Additions, LiveOrders
from enforcer.core.table import OrderRow, PolicyRef

ROOT_THRESHOLD_MIN: Final = 2
NO_GUARDS: Final[frozenset[Guard]] = frozenset()
"""One for all orders: the interpreter makes an empty set anew each time."""


@dataclass(frozen=True, slots=True)
class Roots:
    """The root keys (raw octets) and how many of them must sign together."""

    public_keys: tuple[bytes, ...]
    threshold: int

    def __post_init__(self) -> None:
        if any(is_small_order(public_key) for public_key in self.public_keys):
            raise ValueError("anyone can sign under one of the root keys")
        if len(set(self.public_keys)) != len(self.public_keys):
            raise ValueError("a root key stands twice")
        if not ROOT_THRESHOLD_MIN <= self.threshold <= len(self.public_keys):
            raise ValueError("the root threshold is below 2 or above the number of root keys")


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """The policy in force and where it stands."""

    index: int
    payload: PolicyAdopted
    payload_sha256: str
    former_pins: Pins | None = None
    """What the policy before it pinned."""

    @property
    def ref(self) -> PolicyRef:
        """What a table digest binds."""
        return PolicyRef(self.index, self.payload_sha256)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A registered key; ``revoked_index`` is None while it may sign."""

    key_id: str
    public_key: bytes
    registration: KeyRegistered
    registered_index: int
    revoked_index: int | None = None


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed an act: the key, its person, and the entry that the act became."""

    key_id: str
    person_id: str
    index: int


@dataclass(frozen=True, slots=True)
class Lift:
    """What one HoldLifted lifted, and by whose word."""

    index: int
    key_id: str
    person_id: str
    guards: frozenset[Guard]
    overrides: frozenset[str]
    """Entries of the protected list that the order may go beyond, as target lines."""
    pins: Pins
    """Of the policy that it was signed under: it answers what guards find in that data."""


@dataclass(frozen=True, slots=True)
class Appeal:
    """One appeal; ``outcome`` is UNSPECIFIED while nobody has decided."""

    index: int
    filed_at_ms: int
    outcome: AppealOutcome = AppealOutcome.UNSPECIFIED
    decided_index: int | None = None
    decided_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Suspension:
    """One operator's word that it does not enforce an order on its own network."""

    operator: str
    payload_sha256: str
    """By which a resumption names it."""
    person_id: str
    since_ms: int
    until_ms: int | None
    """When it ends by itself; None: with the order."""
    reason_sha256: str | None

    def holds(self, t_ms: int) -> bool:
        """Tell whether it has not ended by itself."""
        return self.until_ms is None or t_ms < self.until_ms


@dataclass(frozen=True, slots=True)
class Grant:
    """The act by which an order last came to block, or to go on: what limits are judged at."""

    index: int
    t_ms: int
    administrative_ms_max: int
    """Most time without a court that the policy of then allowed a target."""


class _Made:
    """Room for what a record makes of itself once; it is no field of it."""

    __slots__ = ("_row",)
    _row: OrderRow | None


@dataclass(frozen=True, slots=True)
class OrderRecord(_Made):
    """One version of an order and what has become of it."""

    index: int
    payload: OrderProposed
    payload_sha256: str
    status: OrderStatus
    proposed_at_ms: int
    signers: tuple[Signer, ...]
    """Everyone whose signature the block rests on: proposer, approver, extenders."""
    expires_at_ms: int
    review_due_at_ms: int
    decision_kind: DecisionKind
    """The payload's, until an emergency is confirmed by a decision of another kind."""
    cosigner: Signer | None = None
    """Oversight's signature on a restricted proposal; it stands behind no block."""
    list_secret: str | None = None
    """What opens a delayed list, from its publication on."""
    published_at_ms: int | None = None
    approved_index: int | None = None
    """The approval that completed the persons; the policy of that index judged it."""
    approved_at_ms: int | None = None
    granted: Grant | None = None
    """Its approval, or the confirmation or extension that came last."""
    confirmed_at_ms: int | None = None
    """When an emergency became an order of a regular decision."""
    ended_index: int | None = None
    ended_at_ms: int | None = None
    holds: frozenset[Guard] = NO_GUARDS
    """What must be lifted; empty unless HELD."""
    is_held_by_oversight: bool = False
    """Oversight has a hand in the hold for PERSON, and alone lifts it."""
    lifts: tuple[Lift, ...] = ()
    assessments: tuple[int, ...] = ()
    """Entry indices of the recorded assessments."""
    appeals: tuple[Appeal, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    """The last of each operator, unless it was resumed; one may have ended by its time."""

    def suspension(self, operator: str | None, t_ms: int) -> Suspension | None:
        """Return the suspension that holds on an operator's network; None: there is none."""
        of_operator = (each for each in self.suspensions if each.operator == operator)
        return next((each for each in of_operator if each.holds(t_ms)), None)

    def suspended_by(self, t_ms: int) -> frozenset[str]:
        """Return the operators that do not enforce it on their own network."""
        return frozenset(each.operator for each in self.suspensions if each.holds(t_ms))

    @property
    def lifted(self) -> frozenset[Guard]:
        """The guards that no longer hold this order."""
        return frozenset(guard for lift in self.lifts for guard in lift.guards)

    @property
    def overrides(self) -> frozenset[str]:
        """Entries of the protected list that it goes beyond by a court's word."""
        return frozenset(line for lift in self.lifts for line in lift.overrides)

    @property
    def persons(self) -> frozenset[str]:
        """Everyone whose signature the block rests on."""
        return frozenset(signer.person_id for signer in self.signers)

    @property
    def all_signers(self) -> tuple[Signer, ...]:
        """Everyone without whose signature the order would not stand: the cosigner as well."""
        return self.signers if self.cosigner is None else (*self.signers, self.cosigner)

    @property
    def is_public(self) -> bool:
        """Whether everybody may read the list: at once, or since it was published."""
        return not self.payload.publication.is_sealed or self.list_secret is not None

    @property
    def unpublished_until_ms(self) -> int | None:
        """When the order ends because its delayed list was not published; None: it does not.

        What is published after that moment is public, and does not bring the block back.
        """
        publication = self.payload.publication
        due_ms, done_ms = publication.publish_at_ms, self.published_at_ms
        if publication.mode is not PublicationMode.DELAYED or due_ms is None:
            return None
        return None if done_ms is not None and done_ms < due_ms else due_ms

    @property
    def until_ms(self) -> int:
        """When the order ends by itself: at its end, unreviewed, or with its list unpublished."""
        end_ms = min(self.expires_at_ms, self.review_due_at_ms)
        unpublished_ms = self.unpublished_until_ms
        return end_ms if unpublished_ms is None else min(end_ms, unpublished_ms)

    def may_block_after(self, t_ms: int) -> bool:
        """Tell whether it was approved, nobody has ended it, and its end is after `t_ms`."""
        return self.approved_index is not None and self.status not in ENDED and self.until_ms > t_ms

    @property
    def row(self) -> OrderRow | None:
        """The table row of an approved order, whether or not its time has come.

        Made once: whoever looks at all orders does so at each change of one.
        """
        if self.status is not OrderStatus.APPROVED:
            return None
        try:
            return self._row
        except AttributeError:
            row = self._make_row()
            object.__setattr__(self, "_row", row)
            return row

    def row_during(self, from_ms: int, until_ms: int) -> OrderRow:
        """Return the row by which the order blocks from one time to before another."""
        order = self.payload
        return OrderRow(
            index=self.index,
            order_id=order.order_id,
            version=order.version,
            target_list_sha256=order.target_list_sha256,
            target_count=order.target_count,
            dns_measure=order.measure.dns,
            ip_measure=order.measure.ip,
            binding=order.binding,
            from_ms=from_ms,
            until_ms=until_ms,
            overrides=tuple(sorted(self.overrides)),
        )

    def _make_row(self) -> OrderRow | None:
        if self.approved_at_ms is None:
            return None
        return self.row_during(max(self.payload.not_before_ms, self.approved_at_ms), self.until_ms)


@dataclass(slots=True)
class State:
    """What holds after ``size`` entries of the ledger ``origin``."""

    origin: str
    roots: Roots
    verify: Verify
    size: int = 0
    recorded_at_ms: int = 0
    """Time of the last entry; the next one's cannot be before it."""
    news_size: int = 0
    """``size`` less the last entries that only record attestations: they are no news to a node."""
    news_at_ms: int = 0
    """When the last entry that is news was recorded."""
    attested_until_ms: int = 0
    """Up to when attestations were received that are recorded."""
    policy: PolicyRecord | None = None
    pinned: frozenset[str] = frozenset()
    """Hashes of all that policies have ever pinned: what was judged by it is judged again."""
    log_vkey: str | None = None
    """The key of checkpoints beyond ``log_key_index``; None: the trust file's is in use."""
    log_key_index: int | None = None
    root_keys: dict[str, bytes] = field(default_factory=dict)
    """Key id -> raw octets of each root key."""
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    orders: dict[int, OrderRecord] = field(default_factory=dict)
    """Entry index of the proposal -> the order."""
    live: LiveOrders = field(default_factory=LiveOrders)
    """Approved orders that may still block. Those that expired before the last approval are left
    out, so that it does not grow with the ledger."""
    growth: dict[str, Additions] = field(default_factory=dict)
    """Authority -> what its approvals added, of the last 24 hours before its last one."""
    administrative: list[int] = field(default_factory=list)
    """Orders without a court that were ever approved, by the approval: limits look back at them."""
    stopped: list[int] = field(default_factory=list)
    """Orders that had been approved and were stopped, by the stop."""
    delayed: list[int] = field(default_factory=list)
    """Orders with lists to be published late that were ever approved, by the approval."""
    versions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Order id -> entry indices of its effective proposals, ascending."""
    sealings: dict[str, OrderProposed] = field(default_factory=dict)
    """Sealed file, or its recipient -> the first order that names it: each serves one list."""
    hidden_since_ms: dict[str, int] = field(default_factory=dict)
    """Sealed file, its recipient, or the list in it -> when an order first blocked by it."""
    index_of_payload: dict[str, int] = field(default_factory=dict)
    index_of_request: dict[str, dict[str, int]] = field(default_factory=dict)
    """Key id -> request id -> entry index."""

    def __post_init__(self) -> None:
        self.set_roots(self.roots)

    def set_roots(self, roots: Roots) -> None:
        """Put other root keys in the place of those that were."""
        self.roots = roots
        self.root_keys = {key_id(public_key): public_key for public_key in roots.public_keys}

    def copy(self) -> State:
        """Return a state that goes on by itself: records are shared, since they never change."""
        return replace(
            self,
            root_keys=dict(self.root_keys),
            keys=dict(self.keys),
            orders=dict(self.orders),
            live=self.live.copy(),
            growth={authority: added.copy() for authority, added in self.growth.items()},
            administrative=list(self.administrative),
            stopped=list(self.stopped),
            delayed=list(self.delayed),
            versions=dict(self.versions),
            sealings=dict(self.sealings),
            hidden_since_ms=dict(self.hidden_since_ms),
            index_of_payload=dict(self.index_of_payload),
            index_of_request={key: dict(found) for key, found in self.index_of_request.items()},
        )

    def is_over(self, order_id: str) -> bool:
        """Tell whether an order is known, and acts have ended all its versions."""
        versions = self.versions.get(order_id, ())
        return bool(versions) and all(self.orders[index].status in ENDED for index in versions)

    def approved_rows(self) -> Iterator[OrderRow]:
        """Yield the rows of all approved orders that no act has ended, past and future ones too."""
        for order in self.orders.values():
            row = order.row
            if row is not None:
                yield row


def in_force(state: State, t_ms: int) -> tuple[OrderRow, ...]:
    """Return what must be blocked at `t_ms`, ascending by entry index."""
    return tuple(row for row in state.approved_rows() if row.is_in_force(t_ms))
