"""From entries to facts: what each entry, and time alone, changed for each order.

Works on the records before and after the fold took an entry, and on a queue of the times at which
orders end by themselves. Judges nothing: the fold has. Always true: an order ends once, by
the first of its acts and its times, and what holds it ends no later than the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from enforcer.core.entry import Entry, parse_payload
from enforcer.core.fold import Effect
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded
from enforcer.core.key import KeyRegistered, KeyRevoked, Role
from enforcer.core.life import ENDED, OrderStatus
from enforcer.core.order import OrderExtended, OrderProposed, OrderStopped
from enforcer.core.policy import DecisionKind
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.core.standing import standing
from enforcer.core.state import OrderRecord, State, in_force
from enforcer.services.report_facts import Fact, What
from enforcer.services.report_nodes import NodeWatch

LIFTED: Final = "LIFTED"
CONFIRMED: Final = "CONFIRMED"
APPEAL_GRANTED: Final = "APPEAL_GRANTED"


class Chronicle:
    """Turns one ledger's entries into facts, in the order of the ledger."""

    def __init__(self, nodes: NodeWatch) -> None:
        self._nodes = nodes
        self._seen: dict[int, OrderRecord] = {}
        self._over: set[int] = set()
        self._ends: list[tuple[int, int]] = []
        """(until_ms, order index) of what will end by itself; may name a time that has moved."""
        self._held_ms: dict[tuple[int, Guard], int] = {}

    def until(self, t_ms: int) -> Iterator[Fact]:
        """Yield what time alone ended, up to and including `t_ms`."""
        while self._ends and self._ends[0][0] <= t_ms:
            end_ms, index = heappop(self._ends)
            order = self._seen[index]
            if index not in self._over and order.until_ms == end_ms:
                outcome = standing(order, end_ms).name
                yield from self._end(order, outcome, end_ms, index)

    def recorded(self, state: State, effect: Effect, entry: Entry) -> Iterator[Fact]:
        """Yield what the entry did that was just folded into `state`."""
        kind, t_ms, index = effect.kind, effect.recorded_at_ms, effect.index
        yield Fact(What.RECORDED, t_ms, index, None, {"entry_kind": kind})
        if effect.refusal is not None:
            traits = {"entry_kind": kind, "error": type(effect.refusal).__name__}
            yield Fact(What.INEFFECTIVE, t_ms, index, None, traits)
            return
        if effect.order_index is None:
            yield from self._of_roots(state, effect, entry)
            return
        order = state.orders[effect.order_index]
        if kind != OrderProposed.__name__:
            yield from _acts(state, order, effect, entry)
        for version in state.versions[order.payload.order_id]:
            yield from self._change(state.orders[version], effect)

    def at_end(self, state: State, t_ms: int) -> Iterator[Fact]:
        """Yield what holds at `t_ms`, the end of the period."""
        for row in in_force(state, t_ms):
            yield Fact(What.NOW_IN_FORCE, t_ms, row.index, state.orders[row.index])
        for index, order in state.orders.items():
            if index in self._over:
                continue
            if order.status is OrderStatus.PROPOSED:
                yield Fact(What.NOW_WAITING, t_ms, index, order)
            for guard in sorted(order.holds):
                yield Fact(What.NOW_HELD, t_ms, index, order, {"guard": guard.name})
            for operator in sorted(order.suspended_by(t_ms)):
                yield Fact(What.NOW_SUSPENDED, t_ms, index, order, {"operator": operator})
        for order in state.orders.values():
            for appeal in order.appeals:
                if appeal.outcome is AppealOutcome.UNSPECIFIED:
                    yield Fact(What.NOW_APPEALED, t_ms, appeal.index, order)
        for key in state.keys.values():
            known = key.registration
            is_valid = key.revoked_index is None and t_ms <= known.not_after_ms
            if known.role is Role.NODE and is_valid:
                traits = {"node": known.machine_id or "", "operator": known.operator or ""}
                yield Fact(What.NOW_REGISTERED, t_ms, key.registered_index, None, traits)

    def _of_roots(self, state: State, effect: Effect, entry: Entry) -> Iterator[Fact]:
        """Yield what an act of the roots did; any but a registration may put orders on hold."""
        t_ms, index = effect.recorded_at_ms, effect.index
        match parse_payload(entry.envelope):
            case KeyRegistered(role=role):
                yield Fact(What.KEY_REGISTERED, t_ms, index, None, {"role": role.name})
                return
            case KeyRevoked(key_id=key_id):
                role = state.keys[key_id].registration.role
                yield Fact(What.KEY_REVOKED, t_ms, index, None, {"role": role.name})
        for order in tuple(state.orders.values()):
            yield from self._change(order, effect)

    def _change(self, order: OrderRecord, effect: Effect) -> Iterator[Fact]:
        """Yield what is other in an order's record than when it was last seen."""
        was = self._seen.get(order.index)
        if was is order:
            return
        self._seen[order.index] = order
        t_ms, index = effect.recorded_at_ms, effect.index
        if was is None:
            yield Fact(What.PROPOSED, t_ms, index, order)
            heappush(self._ends, (order.until_ms, order.index))
            return
        if order.index in self._over:
            return
        if was.until_ms != order.until_ms:
            heappush(self._ends, (order.until_ms, order.index))
        if was.approved_index is None and order.approved_index is not None:
            took_ms = t_ms - order.proposed_at_ms
            yield Fact(What.APPROVED, t_ms, index, order, amount=took_ms)
        if was.decision_kind is not order.decision_kind:
            traits = {"outcome": CONFIRMED}
            yield Fact(What.EMERGENCY_DECIDED, t_ms, index, order, traits)
        for guard in sorted(order.holds - was.holds):
            self._held_ms[order.index, guard] = t_ms
            yield Fact(What.HELD, t_ms, index, order, {"guard": guard.name})
        if order.status in ENDED:
            is_granted = effect.kind == AppealDecided.__name__
            outcome = APPEAL_GRANTED if is_granted else order.status.name
            yield from self._end(was, outcome, t_ms, index)
        else:
            for guard in sorted(was.holds - order.holds):
                yield self._release(order, guard, LIFTED, t_ms, index)
        self._tell_nodes(was, order, effect)

    def _tell_nodes(self, was: OrderRecord, order: OrderRecord, effect: Effect) -> None:
        t_ms, row = effect.recorded_at_ms, order.row
        if was.row is None and row is not None:
            self._nodes.due(order, effect.index, max(row.from_ms, t_ms))
        elif (
            order.status is OrderStatus.STOPPED
            and was.row is not None
            and was.row.is_in_force(t_ms)
        ):
            self._nodes.stopped(order, effect.index, t_ms)

    def _end(self, was: OrderRecord, outcome: str, t_ms: int, index: int) -> Iterator[Fact]:
        """Yield the end of an order that stood as `was` says, and of what held it."""
        self._over.add(was.index)
        for guard in sorted(was.holds):
            yield self._release(was, guard, outcome, t_ms, index)
        traits = {"outcome": outcome, "stage": was.status.name}
        yield Fact(What.ENDED, t_ms, index, was, traits)
        if was.decision_kind is DecisionKind.EMERGENCY and was.approved_index is not None:
            yield Fact(What.EMERGENCY_DECIDED, t_ms, index, was, {"outcome": outcome})

    def _release(
        self, order: OrderRecord, guard: Guard, outcome: str, t_ms: int, index: int
    ) -> Fact:
        took_ms = t_ms - self._held_ms.pop((order.index, guard))
        traits = {"guard": guard.name, "outcome": outcome}
        return Fact(What.RELEASED, t_ms, index, order, traits, took_ms)


def _acts(state: State, order: OrderRecord, effect: Effect, entry: Entry) -> Iterator[Fact]:
    """Yield what counts as an act, whatever it changed."""
    t_ms, index = effect.recorded_at_ms, effect.index
    signer = state.keys[entry.envelope.signatures[0].key_id].registration
    by_role, by_operator = {"role": signer.role.name}, {"operator": signer.operator or ""}
    match parse_payload(entry.envelope):
        case OrderExtended():
            yield Fact(What.EXTENDED, t_ms, index, order)
        case OrderStopped():
            yield Fact(What.STOPPED, t_ms, index, order, by_role)
        case ReviewDone():
            yield Fact(What.REVIEWED, t_ms, index, order, by_role)
        case AssessmentRecorded():
            yield Fact(What.ASSESSED, t_ms, index, order)
        case OrderSuspended():
            yield Fact(What.SUSPENDED, t_ms, index, order, by_operator)
        case OrderResumed():
            yield Fact(What.RESUMED, t_ms, index, order, by_operator)
        case NotificationSent(recipient=recipient):
            yield Fact(What.NOTIFIED, t_ms, index, order, {"recipient": recipient.name})
        case AppealFiled():
            yield Fact(What.APPEALED, t_ms, index, order)
        case AppealDecided(appeal_index=filed, outcome=outcome):
            (appeal,) = (each for each in order.appeals if each.index == filed)
            took_ms, said = t_ms - appeal.filed_at_ms, {"outcome": outcome.name}
            yield Fact(What.APPEAL_DECIDED, t_ms, index, order, said, took_ms)
