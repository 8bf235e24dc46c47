"""What follows a target from order to order: which past orders a new one must be compared with.

Limits are the target's, not the order's (law 2): one emergency in 30 days, a cap on the time
without a court, oversight where it was stopped within 30 days, or is to stay hidden once more.
Lists are not read here: a relation names the list, and what shared lines would mean. Judged at
an entry, by what stands before it: asked later, the answer is the same. Times serve for
durations alone, since entries that are recorded together have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.guard import Guard
from enforcer.core.life import OrderStatus
from enforcer.core.order import PublicationMode
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


def comparable(state: State, order: OrderRecord, t_ms: int) -> list[OrderRecord]:
    """Return the orders that `relations` at `t_ms` are among, ascending by index."""
    found: set[int] = set()
    if order.payload.decision_kind in ADMINISTRATIVE_KINDS:
        found.update(state.administrative)
    if _is_delayed(order):
        found.update(state.delayed)
    found.update(_stops_since(state, t_ms))
    return [state.orders[index] for index in sorted(found)]


def relations(
    state: State,
    order: OrderRecord,
    t_ms: int,
    *,
    at_index: int | None = None,
    among: Iterable[OrderRecord] | None = None,
) -> Iterator[Relation]:
    """Yield what `order` must be compared with if an act at `t_ms` let it block, or longer.

    `at_index` is the act's entry: the order's approval where it has one, else the next entry. An
    order's own versions are one order, and not compared: how long they last together is for the
    judge, and what they add for the fold. Past orders are looked for `among` the
    given ones, else in the whole state, and come as they stand there, ascending by index.
    """
    if at_index is None:
        at_index = state.size if order.approved_index is None else order.approved_index
    for past in comparable(state, order, t_ms) if among is None else among:
        approved_at_ms, approved_index = past.approved_at_ms, past.approved_index
        if approved_at_ms is None or approved_index is None or past.index == order.index:
            continue
        if approved_index >= at_index or past.payload.order_id == order.payload.order_id:
            continue
        found = Relation(
            Guard.UNSPECIFIED,
            past.index,
            past.payload.target_list_sha256,
            _blocked_ms(past, approved_at_ms, t_ms),
        )
        since_ms = t_ms - MEMORY_DAYS * DAY_MS
        kinds = {order.payload.decision_kind, past.payload.decision_kind}
        if kinds == {DecisionKind.EMERGENCY} and approved_at_ms > since_ms:
            yield _as(found, Guard.EMERGENCY_REPEATED)
        if kinds <= ADMINISTRATIVE_KINDS:
            yield _as(found, Guard.ADMINISTRATIVE_TIME)
        if _was_stopped(past, since_ms, at_index):
            yield _as(found, Guard.STOPPED_BEFORE)
        if _is_delayed(order) and _is_delayed(past):
            yield _as(found, Guard.HIDDEN_BEFORE)


def administrative_ms(state: State) -> int:
    """Return the most that all orders together can have blocked without a court."""
    past = (state.orders[index] for index in state.administrative)
    return sum(max(0, _ended_at_ms(each) - (each.approved_at_ms or 0)) for each in past)


def looks_back(state: State, order: OrderRecord, past_ms: int) -> bool:
    """Tell whether a limit on a granted order may have past orders to compare it with.

    `past_ms` is :func:`administrative_ms`: where all of it would not pass the limit, whatever
    targets it was of, no part of it does.
    """
    grant = order.granted
    if grant is None:
        return False
    is_administrative = order.decision_kind in ADMINISTRATIVE_KINDS
    return (
        order.decision_kind is DecisionKind.EMERGENCY
        or (is_administrative and past_ms > grant.administrative_ms_max)
        or (_is_delayed(order) and len(state.delayed) > 1)
        or any(_stops_since(state, grant.t_ms))
    )


def remembered(state: State, orders: Sequence[OrderRecord], past_ms: int) -> list[OrderRecord]:
    """Return what limits may compare some of these granted orders with, ascending by index."""
    found: set[int] = set()
    for order in (each for each in orders if looks_back(state, each, past_ms)):
        if order.granted is not None:
            found.update(_stops_since(state, order.granted.t_ms))
        if order.decision_kind in ADMINISTRATIVE_KINDS:
            found.update(state.administrative)
        if _is_delayed(order):
            found.update(state.delayed)
    return [state.orders[index] for index in sorted(found)]


def is_remembered(order: OrderRecord) -> bool:
    """Tell whether limits compare others with an order once it was approved, stopped or not."""
    return order.payload.decision_kind in ADMINISTRATIVE_KINDS or _is_delayed(order)


def _is_delayed(order: OrderRecord) -> bool:
    """Tell whether its list is published late: a target is hidden so once, whatever came of it."""
    return order.payload.publication.mode is PublicationMode.DELAYED


def _stops_since(state: State, t_ms: int) -> Iterator[int]:
    """Yield the orders whose stop an act at `t_ms` remembers, and those stopped later."""
    for index in reversed(state.stopped):
        if (state.orders[index].ended_at_ms or 0) <= t_ms - MEMORY_DAYS * DAY_MS:
            return
        yield index


def _as(relation: Relation, guard: Guard) -> Relation:
    return Relation(guard, relation.order_index, relation.target_list_sha256, relation.blocked_ms)


def _ended_at_ms(order: OrderRecord) -> int:
    """Return when the order's block ended or will end, by an act or by itself."""
    ended = order.ended_at_ms
    return order.until_ms if ended is None else min(ended, order.until_ms)


def _blocked_ms(order: OrderRecord, approved_at_ms: int, t_ms: int) -> int:
    """Return how long it has blocked without a court."""
    begun_ms = max(approved_at_ms, order.payload.not_before_ms)
    until_ms = min(t_ms, _ended_at_ms(order))
    if order.confirmed_at_ms is not None and order.decision_kind in COURT_KINDS:
        until_ms = min(until_ms, order.confirmed_at_ms)
    return max(0, until_ms - begun_ms)


def _was_stopped(order: OrderRecord, since_ms: int, at_index: int) -> bool:
    ended_index, ended_at_ms = order.ended_index, order.ended_at_ms
    if order.status is not OrderStatus.STOPPED or ended_index is None or ended_at_ms is None:
        return False
    return ended_index < at_index and ended_at_ms > since_ms
