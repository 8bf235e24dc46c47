"""What of a guard's findings may be said, where a list is not public.

The report on an order with a sealed list is sealed for that list's own recipient: who can open the
list can read it. In clear stand guards, how many lines, and which. Where a list shares lines with
another one that is hidden, neither which nor how many: that would tell what is in the other, to
whoever guesses. Then guards alone are said, and a report's first part without what they found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.guard_report import report_head
from enforcer.core.state import OrderRecord, State
from enforcer.services.guarding import first_hits


@dataclass(frozen=True, slots=True)
class Told:
    """What may be said of one scan."""

    report: bytes
    """The report as it is kept and handed out."""
    hits: tuple[str, ...]
    """The first hits, in words that may be said."""
    is_hidden: bool
    """No target may be said, and no evidence."""
    are_counts_hidden: bool = False
    """Nor how many lines."""


def tell_findings(
    state: State,
    order: OrderRecord,
    facts: GuardFacts,
    scan: GuardScan,
    seal: Callable[[bytes, str], bytes],
) -> Told:
    """Return what may be said of a scan of `order` by `facts`."""
    recipient = order.payload.publication.list_recipient
    hidden = {
        each.guard
        for each in facts.relations
        if not (other := state.orders[each.order_index]).is_public
        and other.payload.publication.list_recipient != recipient
    }
    if hidden & set(scan.guards):
        head = report_head(facts, dict.fromkeys(scan.counts))
        return Told(head, (), is_hidden=True, are_counts_hidden=True)
    hits = tuple(first_hits(scan.report))
    if not order.is_public:
        report = seal(scan.report, recipient) if recipient else b""
        return Told(report, tuple(map(_without_target, hits)), is_hidden=True)
    return Told(scan.report, hits, is_hidden=False)


def _without_target(hit: str) -> str:
    """Return ``LINE_NUMBER GUARD`` of ``LINE_NUMBER GUARD TARGET | EVIDENCE``."""
    return " ".join(hit.split(" ", 2)[:2])
