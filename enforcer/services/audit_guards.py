"""Guards, run again by the audit over every order's list, with the data pinned at its approval.

The control plane runs them before it records anything; here it is seen whether it did. What a
guard refuses, or holds without a lift from before the act that answers it, is a violation at the
entry of the act: an approval, or what prolongs a block. What follows a target from order to order
is looked for among the lists that share one, so that the work does not grow with the square of
the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from enforcer.core.entry import Entry, parse_payload
from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts, as_prolonged, guard_facts
from enforcer.core.order import OrderConfirmed, OrderExtended
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
class _Act:
    """An approval, extension or confirmation, and what the order was by it."""

    index: int
    t_ms: int
    order: OrderRecord
    policy: PolicyRecord
    does: str


class GuardAudit:
    """Collects what makes orders block while the ledger is folded, and judges it at the end."""

    def __init__(self, guards: ListGuards) -> None:
        self.count = 0
        """Lists that guards have read at an approval."""
        self._guards = guards
        self._acts: list[_Act] = []

    def record(self, state: State, order: OrderRecord, index: int, entry: Entry) -> None:
        """Remember the act, which entry `index`, just folded, is, if guards speak to it."""
        if state.policy is None:
            return
        if order.approved_index == index:
            does = "was approved"
        elif isinstance(payload := parse_payload(entry.envelope), OrderExtended | OrderConfirmed):
            order = as_prolonged(order, payload)
            does = "was extended" if isinstance(payload, OrderExtended) else "was confirmed"
        else:
            return
        self._acts.append(_Act(index, state.recorded_at_ms, order, state.policy, does))

    def finish(self, state: State, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Judge every act, by what had happened until then."""
        acts = self._acts
        groups = self._guards.groups(each.order.payload.target_list_sha256 for each in acts)
        related: dict[int, dict[int, OrderRecord]] = {}
        for act in acts:
            group = groups.get(act.order.payload.target_list_sha256)
            if group is not None:
                related.setdefault(group, {})[act.order.index] = state.orders[act.order.index]
        for done, act in enumerate(acts, 1):
            order = act.order
            group = groups.get(order.payload.target_list_sha256)
            near = dict(related[group]) if group is not None else {}
            near |= {at: state.orders[at] for at in state.versions[order.payload.order_id]}
            view = replace(state, orders=dict(sorted(near.items())), policy=act.policy)
            yield from self._judge(view, act)
            progress(done, len(acts))

    def _judge(self, state: State, act: _Act) -> Iterator[Finding]:
        facts = guard_facts(state, act.order, act.t_ms, act.index)
        try:
            scan = self._guards.scan(facts)
        except (NotFoundError, IntegrityError, InputError):
            return  # a list is not what it must be: there is a finding for each that is not
        except EnforcerError as error:
            order_id = act.order.payload.order_id
            words = f"guards could not read the list of {order_id}: {error.message}"
            yield Finding(Code.GUARD_UNCHECKED, words, act.index)
            return
        self.count += act.order.approved_index == act.index
        for objection in objections(act.order, scan, facts.pins):
            yield Finding(Code.GUARD_SKIPPED, _words(act, objection, scan), act.index)


def _words(act: _Act, objection: Objection, scan: GuardScan) -> str:
    """Say what was skipped; of a list that is not public, nothing but how much."""
    guard, count = objection.guard, scan.counts[objection.guard]
    does = "refuses" if objection.refuses else "holds"
    lines = f"{count} line{'s' * (count != 1)}"
    order_id = act.order.payload.order_id
    words = f"{order_id} {act.does} though {guard.name} {does} {lines} of its list"
    if not is_public(act.order.payload, act.t_ms):
        return words
    told = ", ".join(objection.evidence[:EVIDENCE_TOLD_MAX])
    more = len(objection.evidence) - EVIDENCE_TOLD_MAX
    return f"{words}: {told}" + (f" and {more} more" if more > 0 else "")
