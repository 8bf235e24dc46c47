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
from enforcer.core.guard import Guard, GuardScan
from enforcer.core.guard_facts import GuardFacts, as_prolonged, guard_facts
from enforcer.core.hold import OrderHeld
from enforcer.core.order import OrderConfirmed, OrderExtended
from enforcer.core.state import OrderRecord, PolicyRecord, State
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.services.findings import Code, Finding
from enforcer.services.guarding import Objection, objections
from enforcer.services.guards import SCAN_VALID_MS

EVIDENCE_TOLD_MAX: Final = 3
HOLD_WITHIN_MS: Final = 3_600_000
"""How soon after a policy the control plane must hold what its data objects to."""
NEW_DATA: Final = "blocked for an hour"
BY_LEDGER: Final = frozenset((Guard.GROWTH, Guard.COMPROMISED_KEY, Guard.PERSON))
"""Guards that no list makes fire."""


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
    held_for: frozenset[Guard] = frozenset()
    """Of a hold: guards that must fire."""


class GuardAudit:
    """Collects what makes orders block while the ledger is folded, and judges it at the end."""

    def __init__(self, guards: ListGuards) -> None:
        self.count = 0
        """Lists that guards have read at an approval."""
        self._guards = guards
        self._acts: list[_Act] = []
        self._held_at_ms: dict[int, list[int]] = {}

    def record(self, state: State, order: OrderRecord, index: int, entry: Entry) -> None:
        """Remember the act, which entry `index`, just folded, is, if guards speak to it."""
        if state.policy is None:
            return
        if order.approved_index == index:
            does = "was approved"
        elif entry.kind == OrderHeld.__name__:
            self._held_at_ms.setdefault(order.index, []).append(state.recorded_at_ms)
            held = parse_payload(entry.envelope)
            held_for = frozenset(held.guards if isinstance(held, OrderHeld) else ()) - BY_LEDGER
            if held_for:
                act = _Act(index, state.recorded_at_ms, order, state.policy, "was held", held_for)
                self._acts.append(act)
            return
        elif isinstance(payload := parse_payload(entry.envelope), OrderExtended | OrderConfirmed):
            order = as_prolonged(order, payload)
            does = "was extended" if isinstance(payload, OrderExtended) else "was confirmed"
        else:
            return
        self._acts.append(_Act(index, state.recorded_at_ms, order, state.policy, does))

    def record_policy(self, state: State, index: int) -> None:
        """Remember what blocks when entry `index` adopts a policy: its data is for it as well."""
        if state.policy is not None:
            for order_index in state.live:
                order = state.orders[order_index]
                act = _Act(index, state.recorded_at_ms, order, state.policy, NEW_DATA)
                self._acts.append(act)

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
            near = related[group] if group is not None else {}
            if act.does != NEW_DATA or self._must_be_held(state, act):
                among = [near[index] for index in sorted(near)]
                yield from self._judge(replace(state, policy=act.policy), act, among)
            progress(done, len(acts))

    def _must_be_held(self, state: State, act: _Act) -> bool:
        """Tell whether an order blocked for longer than it may if new data objects to it."""
        due_ms = act.t_ms + HOLD_WITHIN_MS
        order = state.orders[act.order.index]
        ended_at_ms = order.until_ms if order.ended_at_ms is None else order.ended_at_ms
        was_held = any(act.t_ms <= t_ms <= due_ms for t_ms in self._held_at_ms.get(order.index, ()))
        is_superseded = any(
            each.does == NEW_DATA and act.index < each.index and each.t_ms <= due_ms
            for each in self._acts
        )
        return (
            state.recorded_at_ms > due_ms < min(ended_at_ms, act.order.until_ms)
            and not was_held
            and not is_superseded
        )

    def _judge(self, state: State, act: _Act, among: list[OrderRecord]) -> Iterator[Finding]:
        # The control plane reckons with so much more time: what it found was so at one of them.
        t_ms = act.t_ms - SCAN_VALID_MS if act.held_for else act.t_ms
        facts = guard_facts(state, act.order, t_ms, act.index, among=among)
        if act.does == NEW_DATA:
            facts = replace(facts, relations=(), administrative_ms=0)
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
        if act.held_for:
            if needless := sorted(act.held_for - set(scan.guards)):
                names = ", ".join(guard.name for guard in needless)
                words = f"{act.order.payload.order_id} was held for {names}, which does not fire"
                yield Finding(Code.HELD_FOR_NOTHING, words, act.index)
            return
        code = Code.NOT_HELD if act.does == NEW_DATA else Code.GUARD_SKIPPED
        for objection in objections(act.order, scan, facts.pins):
            yield Finding(code, _words(act, objection, scan), act.index)


def _words(act: _Act, objection: Objection, scan: GuardScan) -> str:
    """Say what was skipped; of a list that is not public, nothing but how much."""
    guard, count = objection.guard, scan.counts[objection.guard]
    does = "refuses" if objection.refuses else "holds"
    lines = f"{count} line{'s' * (count != 1)}"
    order_id = act.order.payload.order_id
    words = f"{order_id} {act.does} though {guard.name} {does} {lines} of its list"
    if not act.order.is_public:
        return words
    told = ", ".join(objection.evidence[:EVIDENCE_TOLD_MAX])
    more = len(objection.evidence) - EVIDENCE_TOLD_MAX
    return f"{words}: {told}" + (f" and {more} more" if more > 0 else "")
