"""What stands against an order: the one answer that control plane, node and audit give.

A guard that fires stands against an order unless it was lifted for it, and a protected entry
unless the lift names it; what refuses cannot be lifted. Pure: of an order's record and a scan
of its list, made by whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from enforcer.core.growth import added_targets, grows_too_fast, recent
from enforcer.core.guard import (
    ANSWERED_GUARDS,
    OUTCOMES,
    OVERRIDDEN_GUARDS,
    Guard,
    GuardScan,
    Outcome,
)
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.guard_report import report_head
from enforcer.core.judge_parts import present_policy
from enforcer.core.life import OrderStatus
from enforcer.core.order import OrderProposed
from enforcer.core.policy import Pins
from enforcer.core.state import OrderRecord, State

HITS_READ_MAX: Final = 1_000
"""Of a report, to show people the first ones."""


@dataclass(frozen=True, slots=True)
class Objection:
    """One guard that stands against an order, and the evidence that nothing has answered."""

    guard: Guard
    evidence: tuple[str, ...]

    @property
    def refuses(self) -> bool:
        """Whether nobody can lift it."""
        return OUTCOMES[self.guard] is Outcome.REFUSE


def objections(order: OrderRecord, scan: GuardScan, pins: Pins) -> list[Objection]:
    """Return what stands against an order by a scan with the data `pins`, ascending by guard."""
    found = []
    for guard in scan.guards:
        evidence = scan.evidence.get(guard, ())
        if _is_lifted(order, guard, pins):
            evidence = ()
            if guard in OVERRIDDEN_GUARDS:
                evidence = scan.not_named_in(guard, order.overrides)
            if not evidence:
                continue
        found.append(Objection(guard, evidence))
    return found


def _is_lifted(order: OrderRecord, guard: Guard, pins: Pins) -> bool:
    """Tell whether a lift answers a guard: one that knew what the guard finds now.

    Past orders that a lift answered are not among the facts of a scan: what it finds came later.
    """
    if OUTCOMES[guard] is Outcome.REFUSE or guard in ANSWERED_GUARDS:
        return False
    return any(
        guard in lift.guards and _read_by(guard, lift.pins) == _read_by(guard, pins)
        for lift in order.lifts
    )


def _read_by(guard: Guard, pins: Pins) -> str | None:
    """Return the data that a guard reads and whose entries a lift does not name."""
    if guard is Guard.PRIVATE_SUFFIX:
        return pins.public_suffixes
    return pins.shared_ranges if guard is Guard.SHARED_RANGE else None


def as_proposed(state: State, order: OrderProposed, payload_sha256: str, t_ms: int) -> OrderRecord:
    """Return the record that a proposal would be as the ledger's next entry."""
    return OrderRecord(
        index=state.size,
        payload=order,
        payload_sha256=payload_sha256,
        status=OrderStatus.PROPOSED,
        proposed_at_ms=t_ms,
        signers=(),
        expires_at_ms=order.expires_at_ms,
        review_due_at_ms=order.review_due_at_ms,
        decision_kind=order.decision_kind,
    )


def with_growth(
    state: State, order: OrderRecord, facts: GuardFacts, scan: GuardScan, t_ms: int
) -> GuardScan:
    """Return the scan, with GROWTH where the fold would not take the approval for it.

    The fold alone counts. What it refuses is held here, so that a third person can lift it.
    """
    if order.approved_index is not None or not grows_too_fast(state, order.payload, t_ms):
        return scan
    authority, added = order.payload.authority, added_targets(state, order.payload)
    before, most = recent(state, authority, t_ms), present_policy(state).payload.growth_targets_max
    words = f"{authority} adds {added} targets to {before} of the last day, over {most}"
    return with_finding(facts, scan, Guard.GROWTH, added, (words,))


def with_finding(
    facts: GuardFacts, scan: GuardScan, guard: Guard, count: int, evidence: Sequence[str]
) -> GuardScan:
    """Return the scan with a guard more, which fires for no single line; its report says so."""
    counts = dict(sorted({**scan.counts, guard: count}.items()))
    _, _, hits = scan.report.partition(b"\n\n")
    return replace(
        scan,
        counts=counts,
        evidence={**scan.evidence, guard: tuple(evidence)},
        evidence_counts={**scan.evidence_counts, guard: len(evidence)},
        report=report_head(facts, counts) + hits,
    )


def first_hits(report: bytes) -> list[str]:
    """Return the first hits of a report: ``3 GUARD TARGET | EVIDENCE``."""
    _, _, hits = report.partition(b"\n\n")
    lines = hits.split(b"\n", HITS_READ_MAX)[:HITS_READ_MAX]
    return [line.decode("ascii") for line in lines if line]
