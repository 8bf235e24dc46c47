"""What a transparency report counts: facts, one for each thing that happened, with its time.

A fact comes from one entry, from time alone (an order expires), or from a node's attestation. It
carries what figures are broken down by, and names the entry where anybody finds it. Facts of
an order are taken from what changed in its record, so they follow the fold, whatever moved it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from enforcer.core.order import OrderProposed, PublicationMode
from enforcer.core.state import OrderRecord
from enforcer.services.report_period import month


class What(StrEnum):
    """What can happen; every figure counts one of these."""

    RECORDED = "recorded"
    INEFFECTIVE = "ineffective"
    KEY_REGISTERED = "key registered"
    KEY_REVOKED = "key revoked"
    PROPOSED = "proposed"
    APPROVED = "approved"
    EXTENDED = "extended"
    ENDED = "ended"
    HELD = "held"
    RELEASED = "released"
    """One guard's hold of one order is over, whatever ended it."""
    ASSESSED = "assessed"
    EMERGENCY_DECIDED = "emergency decided"
    STOPPED = "stopped"
    REVIEWED = "reviewed"
    NOTIFIED = "notified"
    APPEALED = "appealed"
    APPEAL_DECIDED = "appeal decided"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    ATTESTED = "attested"
    OMITTED = "omitted"
    IN_EFFECT = "in effect"
    """A node attests an order for the first time."""
    GONE = "gone"
    """A node attests that it no longer enforces what was stopped."""
    # What holds at the end of the period.
    NOW_IN_FORCE = "now in force"
    NOW_WAITING = "now waiting"
    NOW_HELD = "now held"
    NOW_SUSPENDED = "now suspended"
    NOW_APPEALED = "now appealed"
    NOW_REGISTERED = "now registered"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened."""

    what: What
    t_ms: int
    index: int
    """The entry that shows it: the act's own; the proposal's where time alone or nobody acted."""
    order: OrderRecord | None = None
    traits: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> member, where it is not the order's."""
    amount: int = 0
    """Milliseconds that it took."""


def _instruments(order: OrderProposed) -> tuple[str, ...]:
    return tuple(sorted({basis.instrument for basis in order.legal_basis}))


_OF_ORDER: Final[Mapping[str, Callable[[OrderProposed], tuple[str, ...]]]] = MappingProxyType(
    {
        "authority": lambda order: (order.authority,),
        "category": lambda order: (order.category.name,),
        "decision_kind": lambda order: (order.decision_kind.name,),
        "instrument": _instruments,
        "binding": lambda order: (order.binding.name,),
        "publication": lambda order: (order.publication.mode.name,),
        "territory": lambda order: (order.territory,),
    }
)


def members(fact: Fact, dimension: str, utc_offset_minutes: int = 0) -> tuple[str, ...]:
    """Return where the fact stands in a dimension: once, or once for each instrument."""
    if dimension == "month":
        return (month(fact.t_ms, utc_offset_minutes),)
    if dimension in fact.traits:
        return (fact.traits[dimension],)
    if fact.order is None:
        raise ValueError(f"{fact.what} has no {dimension}")
    return _OF_ORDER[dimension](fact.order.payload)


def is_restricted(order: OrderRecord) -> bool:
    """Tell whether nothing of the order's list may be told but that it exists."""
    return order.payload.publication.mode is PublicationMode.RESTRICTED_TARGETS
