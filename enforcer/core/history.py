"""What follows a target from order to order: which past orders a new one must be compared with.

Limits are the target's, not the order's (law 2): one emergency in 30 days, a cap on the time
without a court, oversight where it was stopped within 30 days, growth beyond the version
before. Lists are not read here: a relation names the list, and what shared lines would mean.
Judged at a time, by what had happened until then: asked later, the answer is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from enforcer.core.guard import Guard
from enforcer.core.life import OrderStatus
from enforcer.core.policy import ADMINISTRATIVE_KINDS, COURT_KINDS, DAY_MS, DecisionKind
from enforcer.core.state import OrderRecord, State

MEMORY_DAYS: Final = 30
"""How long an emergency and a stop are remembered for their targets."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A past order whose targets count for a new one, if they share any."""

    guard: Guard
    order_index: int
    target_list_sha256: str
    blocked_ms: int = 0
    """How long it has blocked without a court until then: what ADMINISTRATIVE_TIME adds up."""


def relations(state: State, order: OrderRecord, t_ms: int) -> Iterator[Relation]:
    """Yield what `order` must be compared with if it were approved at `t_ms`.

    An order's own versions are one order: of them only the version that blocks is compared,
    for GROWTH. Past orders come ascending by entry index.
    """
    for past in state.orders.values():
        approved_at_ms = past.approved_at_ms
        if approved_at_ms is None or approved_at_ms >= t_ms or past.index == order.index:
            continue
        found = Relation(
            Guard.UNSPECIFIED,
            past.index,
            past.payload.target_list_sha256,
            _blocked_ms(past, approved_at_ms, t_ms),
        )
        if past.payload.order_id == order.payload.order_id:
            if _blocks(past, t_ms):
                yield _as(found, Guard.GROWTH)
            continue
        since_ms = t_ms - MEMORY_DAYS * DAY_MS
        kinds = {order.payload.decision_kind, past.payload.decision_kind}
        if kinds == {DecisionKind.EMERGENCY} and approved_at_ms > since_ms:
            yield _as(found, Guard.EMERGENCY_REPEATED)
        if kinds <= ADMINISTRATIVE_KINDS:
            yield _as(found, Guard.ADMINISTRATIVE_TIME)
        if _was_stopped(past, since_ms, t_ms):
            yield _as(found, Guard.STOPPED_BEFORE)


def _as(relation: Relation, guard: Guard) -> Relation:
    return Relation(guard, relation.order_index, relation.target_list_sha256, relation.blocked_ms)


def _ended_at_ms(order: OrderRecord) -> int:
    """Return when the order's block ended or will end, by an act or by itself."""
    ended = order.ended_at_ms
    return order.until_ms if ended is None else min(ended, order.until_ms)


def _blocks(order: OrderRecord, t_ms: int) -> bool:
    return t_ms < _ended_at_ms(order)


def _blocked_ms(order: OrderRecord, approved_at_ms: int, t_ms: int) -> int:
    """Return how long it has blocked without a court."""
    begun_ms = max(approved_at_ms, order.payload.not_before_ms)
    until_ms = min(t_ms, _ended_at_ms(order))
    if order.confirmed_at_ms is not None and order.decision_kind in COURT_KINDS:
        until_ms = min(until_ms, order.confirmed_at_ms)
    return max(0, until_ms - begun_ms)


def _was_stopped(order: OrderRecord, since_ms: int, t_ms: int) -> bool:
    ended = order.ended_at_ms
    return order.status is OrderStatus.STOPPED and ended is not None and since_ms < ended <= t_ms
