"""Guards, run again by the audit over every order's list, with the data pinned at its approval.

The control plane runs them before it records anything; here it is seen whether it did. What a
guard refuses, or holds without a lift from before the approval that answers it, is a violation
at the entry of the approval. What follows a target from order to order is looked for among the
lists that share one, so that the work does not grow with the square of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts, guard_facts
from enforcer.core.state import OrderRecord, PolicyRecord, State
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.services.findings import Code, Finding
from enforcer.services.guarding import Objection, objections
from enforcer.services.public_lists import is_public

EVIDENCE_TOLD_MAX: Final = 3


class ListGuards(Protocol):
    """Guards over the lists beside a ledger."""

    def groups(self, lists: Iterable[str]) -> dict[str, int]:
        """Return a number for each list that is here: lists that share a target have the same."""

    def scan(self, facts: GuardFacts) -> GuardScan:
        """Scan one order's list.

        Raises:
            NotFoundError: a list is not here.
            IntegrityError, InputError: one is not what it must be.
        """


@dataclass(frozen=True, slots=True)
class _Approval:
    order_index: int
    policy: PolicyRecord


class GuardAudit:
    """Collects approvals while the ledger is folded, and judges them at the end."""

    def __init__(self, guards: ListGuards) -> None:
        self.count = 0
        """Lists that guards have read."""
        self._guards = guards
        self._approvals: list[_Approval] = []

    def record(self, state: State, order: OrderRecord, index: int) -> None:
        """Remember the order if entry `index`, just folded, completed its approval."""
        if order.approved_index == index and state.policy is not None:
            self._approvals.append(_Approval(order.index, state.policy))

    def finish(self, state: State, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Judge every approval, by what had happened until then."""
        approved = [state.orders[each.order_index] for each in self._approvals]
        groups = self._guards.groups(each.payload.target_list_sha256 for each in approved)
        related: dict[int, dict[int, OrderRecord]] = {}
        for order in approved:
            group = groups.get(order.payload.target_list_sha256)
            if group is not None:
                related.setdefault(group, {})[order.index] = order
        for done, (order, approval) in enumerate(zip(approved, self._approvals, strict=True), 1):
            group = groups.get(order.payload.target_list_sha256)
            near = dict(related[group]) if group is not None else {}
            near |= {at: state.orders[at] for at in state.versions[order.payload.order_id]}
            view = replace(state, orders=dict(sorted(near.items())), policy=approval.policy)
            yield from self._judge(view, order)
            progress(done, len(approved))

    def _judge(self, state: State, order: OrderRecord) -> Iterator[Finding]:
        index, t_ms = order.approved_index, order.approved_at_ms
        if index is None or t_ms is None:
            return
        order_id = order.payload.order_id
        # It is an approval of what was proposed: a confirmation after it changes nothing of it.
        then = replace(
            order,
            lifts=tuple(lift for lift in order.lifts if lift.index < index),
            decision_kind=order.payload.decision_kind,
        )
        try:
            scan = self._guards.scan(guard_facts(state, then, t_ms))
        except (NotFoundError, IntegrityError, InputError):
            return  # a list is not what it must be: there is a finding for each that is not
        except EnforcerError as error:
            words = f"guards could not read the list of {order_id}: {error.message}"
            yield Finding(Code.GUARD_UNCHECKED, words, index)
            return
        self.count += 1
        for objection in objections(then, scan):
            yield Finding(Code.GUARD_SKIPPED, _words(order, objection, scan, t_ms), index)


def _words(order: OrderRecord, objection: Objection, scan: GuardScan, t_ms: int) -> str:
    """Say what was skipped; of a list that is not public, nothing but how much."""
    guard, count = objection.guard, scan.counts[objection.guard]
    does = "refuses" if objection.refuses else "holds"
    lines = f"{count} line{'s' * (count != 1)}"
    words = f"{order.payload.order_id} was approved though {guard.name} {does} {lines} of its list"
    if not is_public(order.payload, t_ms):
        return words
    told = ", ".join(objection.evidence[:EVIDENCE_TOLD_MAX])
    more = len(objection.evidence) - EVIDENCE_TOLD_MAX
    return f"{words}: {told}" + (f" and {more} more" if more > 0 else "")
