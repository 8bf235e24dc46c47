"""What a scan of one order's list depends on, beside the list: all of it is in the ledger.

Control plane, node and audit make the same facts of the same entries, and so find the same.
Nothing here reads a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from enforcer.core.guard import ANSWERED_GUARDS, Guard
from enforcer.core.history import Relation, relations
from enforcer.core.order import OrderConfirmed, OrderExtended
from enforcer.core.policy import ADMINISTRATIVE_KINDS, DAY_MS, Pins
from enforcer.core.state import OrderRecord, State

NO_PINS: Final = Pins(None, None, None, None)


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """One order as its guards see it, at one time."""

    target_list_sha256: str
    pins: Pins = NO_PINS
    """Of the policy whose data counts; a guard whose data is not pinned never fires."""
    relations: tuple[Relation, ...] = ()
    """Past orders that it may share targets with."""
    administrative_ms: int = 0
    """How long it is to block without a court; 0: not at all, and past time is not added up."""
    administrative_ms_max: int = 0
    """Most time that a target may be blocked without a court in all."""

    @property
    def lists(self) -> tuple[str, ...]:
        """All lists that a scan reads, each once: its own, then pinned ones, then others'."""
        others = (each.target_list_sha256 for each in self.relations)
        return tuple(dict.fromkeys([self.target_list_sha256, *self.pins.lists, *others]))

    @property
    def administrative_evidence(self) -> str:
        """What a hit of ADMINISTRATIVE_TIME names."""
        return f"over {self.administrative_ms_max // DAY_MS} days"

    def until(self, later: GuardFacts) -> GuardFacts:
        """Return facts by which a scan finds what one by these or by `later` ones would."""
        both = {
            (each.order_index, each.guard): each for each in (*self.relations, *later.relations)
        }
        return replace(self, relations=tuple(both[key] for key in sorted(both)))

    def includes(self, other: GuardFacts) -> bool:
        """Tell whether a scan by these facts finds whatever one by `other`, not later, would."""
        compared = {(each.guard, each.order_index) for each in self.relations}
        return (
            self.target_list_sha256 == other.target_list_sha256
            and self.pins == other.pins
            and self.administrative_ms >= other.administrative_ms
            and self.administrative_ms_max <= other.administrative_ms_max
            and compared.issuperset((each.guard, each.order_index) for each in other.relations)
        )


def guard_facts(
    state: State,
    order: OrderRecord,
    t_ms: int,
    at_index: int | None = None,
    *,
    among: Iterable[OrderRecord] | None = None,
) -> GuardFacts:
    """Return the facts of `order` as `state` has them, if an act at `t_ms` let it block, or longer.

    `at_index` is the act's entry, and `among` what is looked at, as for `relations`. An order that
    was approved already has its time counted from then on. A past order whose stop, or hidden
    list, somebody answered, by a lift for this one after it, is left out.
    """
    policy = state.policy.payload if state.policy is not None else None
    pins = policy.pins if policy else NO_PINS
    most_ms = policy.administrative_days_max * DAY_MS if policy else 0
    return _facts(order, pins, most_ms, t_ms, _open_relations(state, order, t_ms, at_index, among))


def _facts(
    order: OrderRecord, pins: Pins, most_ms: int, t_ms: int, found: tuple[Relation, ...]
) -> GuardFacts:
    is_administrative = order.payload.decision_kind in ADMINISTRATIVE_KINDS
    approved_at_ms = t_ms if order.approved_at_ms is None else order.approved_at_ms
    begins_ms = max(approved_at_ms, order.payload.not_before_ms)
    own_ms = max(0, order.payload.expires_at_ms - begins_ms) if is_administrative else 0
    past_ms = sum(each.blocked_ms for each in found if each.guard is Guard.ADMINISTRATIVE_TIME)
    if own_ms + past_ms <= most_ms:  # then no target comes to more, whichever they share
        found = tuple(each for each in found if each.guard is not Guard.ADMINISTRATIVE_TIME)
    return GuardFacts(order.payload.target_list_sha256, pins, found, own_ms, most_ms)


def _open_relations(
    state: State,
    order: OrderRecord,
    t_ms: int,
    at_index: int | None,
    among: Iterable[OrderRecord] | None,
) -> tuple[Relation, ...]:
    found = relations(state, order, t_ms, at_index=at_index, among=among)
    return tuple(each for each in found if not _is_answered(state, order, each))


def granted_facts(
    state: State, order: OrderRecord, among: Iterable[OrderRecord]
) -> GuardFacts | None:
    """Return what past orders say to the act by which `order` last came to block; None: no act did.

    By the limits of the policy of that time, and with no pinned data: whoever looks at an order
    that blocks, however late, finds what the control plane had to find.
    """
    grant = order.granted
    if grant is None:
        return None
    payload = replace(
        order.payload, decision_kind=order.decision_kind, expires_at_ms=order.expires_at_ms
    )
    ordered = replace(order, payload=payload)
    found = _open_relations(state, ordered, grant.t_ms, grant.index, among)
    return _facts(ordered, NO_PINS, grant.administrative_ms_max, grant.t_ms, found)


def as_prolonged(order: OrderRecord, act: OrderExtended | OrderConfirmed) -> OrderRecord:
    """Return the order as it would be ordered today: to the act's end, by its present decision.

    So what a guard would have said to all of its time it says to the act.
    """
    kind = act.decision_kind if isinstance(act, OrderConfirmed) else order.decision_kind
    payload = replace(
        order.payload,
        decision_kind=kind,
        expires_at_ms=act.expires_at_ms,
        review_due_at_ms=act.review_due_at_ms,
    )
    return replace(
        order,
        payload=payload,
        decision_kind=kind,
        expires_at_ms=act.expires_at_ms,
        review_due_at_ms=act.review_due_at_ms,
    )


def _is_answered(state: State, order: OrderRecord, relation: Relation) -> bool:
    """Tell whether a lift of this order answers a past one: signed when that had happened."""
    if relation.guard not in ANSWERED_GUARDS:
        return False
    past = state.orders[relation.order_index]
    stops = relation.guard is Guard.STOPPED_BEFORE
    since_index = past.ended_index if stops else past.approved_index
    return since_index is not None and any(
        relation.guard in lift.guards and since_index < lift.index for lift in order.lifts
    )


def evidence_of(relation: Relation) -> str:
    """Return what a hit names when it fires because of a past order."""
    return f"entry {relation.order_index}"


def related(facts: GuardFacts, guard: Guard) -> tuple[Relation, ...]:
    """Return the past orders that matter for one guard, ascending."""
    return tuple(each for each in facts.relations if each.guard is guard)
