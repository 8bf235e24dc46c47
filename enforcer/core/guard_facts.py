"""What a scan of one order's list depends on, beside the list: all of it is in the ledger.

Control plane, node and audit make the same facts of the same entries, and so find the same.
Nothing here reads a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.core.guard import Guard
from enforcer.core.history import Relation, relations
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


def guard_facts(state: State, order: OrderRecord, t_ms: int) -> GuardFacts:
    """Return the facts of `order` as `state` has them, if it were approved at `t_ms`."""
    policy = state.policy.payload if state.policy is not None else None
    is_administrative = order.payload.decision_kind in ADMINISTRATIVE_KINDS
    begins_ms = max(t_ms, order.payload.not_before_ms)
    return GuardFacts(
        order.payload.target_list_sha256,
        policy.pins if policy else NO_PINS,
        tuple(relations(state, order, t_ms)),
        max(0, order.payload.expires_at_ms - begins_ms) if is_administrative else 0,
        policy.administrative_days_max * DAY_MS if policy else 0,
    )


def evidence_of(relation: Relation) -> str:
    """Return what a hit names when it fires because of a past order."""
    return f"entry {relation.order_index}"


def related(facts: GuardFacts, guard: Guard) -> tuple[Relation, ...]:
    """Return the past orders that matter for one guard, ascending."""
    return tuple(each for each in facts.relations if each.guard is guard)
