"""What guards find: a target that the law, or what over-blocking taught, sets apart.

Owns the closed list of guards, what each one does to the whole order, and the shape of what is
found. Decides nothing: :mod:`enforcer.core.guards` finds what lists hold, the fold what the
ledger alone can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

EVIDENCE_MAX: Final = 1_024
"""Most distinct pieces of evidence of one guard that a scan hands on; a report has them all."""


class Guard(IntEnum):
    """Why an order is refused or held; 0 is never a guard."""

    UNSPECIFIED = 0
    PUBLIC_SUFFIX = 1
    PRIVATE_SUFFIX = 2
    PROTECTED_CORE = 3
    PROTECTED_NAME = 4
    PROTECTED_NETWORK = 5
    SPECIAL_NETWORK = 6
    SHARED_RANGE = 7
    GROWTH = 8
    EMERGENCY_REPEATED = 9
    ADMINISTRATIVE_TIME = 10
    STOPPED_BEFORE = 11
    COMPROMISED_KEY = 12
    PERSON = 13
    """A person put it on hold by hand."""
    HIDDEN_BEFORE = 14
    """Its list is to be published late, as one of the same targets was."""


class Outcome(IntEnum):
    """What a guard that fires does to the whole order."""

    UNSPECIFIED = 0
    HOLD = 1
    REFUSE = 2


OUTCOMES: Final[Mapping[Guard, Outcome]] = {
    Guard.PUBLIC_SUFFIX: Outcome.REFUSE,
    Guard.PRIVATE_SUFFIX: Outcome.HOLD,
    Guard.PROTECTED_CORE: Outcome.REFUSE,
    Guard.PROTECTED_NAME: Outcome.HOLD,
    Guard.PROTECTED_NETWORK: Outcome.HOLD,
    Guard.SPECIAL_NETWORK: Outcome.REFUSE,
    Guard.SHARED_RANGE: Outcome.HOLD,
    Guard.GROWTH: Outcome.HOLD,
    Guard.EMERGENCY_REPEATED: Outcome.REFUSE,
    Guard.ADMINISTRATIVE_TIME: Outcome.REFUSE,
    Guard.STOPPED_BEFORE: Outcome.HOLD,
    Guard.COMPROMISED_KEY: Outcome.HOLD,
    Guard.PERSON: Outcome.HOLD,
    Guard.HIDDEN_BEFORE: Outcome.HOLD,
}

REPEATING_GUARDS: Final = frozenset(
    (Guard.EMERGENCY_REPEATED, Guard.STOPPED_BEFORE, Guard.HIDDEN_BEFORE)
)
"""Guards that fire at a target because one past order had it, too."""

ANSWERED_GUARDS: Final = frozenset((Guard.STOPPED_BEFORE, Guard.HIDDEN_BEFORE))
"""Guards whose lift answers the past orders until then, and no later one."""

OVERRIDDEN_GUARDS: Final = frozenset((Guard.PROTECTED_NAME, Guard.PROTECTED_NETWORK))
"""Guards whose lift must name every protected line that they fired at."""


@dataclass(frozen=True, slots=True)
class GuardHit:
    """One line of an order's target list at which a guard fires."""

    line_number: int
    """From 1."""
    target: str
    """The line, without LF: ``subtree example.org``."""
    guard: Guard
    evidence: str
    """The line of the pinned data that fired, or the past order: ``icann co.uk``, ``entry 17``."""


@dataclass(frozen=True, slots=True)
class GuardScan:
    """What the guards found in one whole target list."""

    counts: Mapping[Guard, int] = field(default_factory=dict)
    """Lines at which each guard fires; only guards that fire are in it, ascending."""
    evidence: Mapping[Guard, tuple[str, ...]] = field(default_factory=dict)
    """The distinct evidence of each of them, sorted, the first `EVIDENCE_MAX` alone."""
    evidence_counts: Mapping[Guard, int] = field(default_factory=dict)
    """How many distinct pieces there are of each."""
    report: bytes = b""
    """Every hit as text (:mod:`enforcer.core.guard_report`); empty when no guard fires."""

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards that fire, ascending."""
        return tuple(self.counts)

    @property
    def refusing(self) -> tuple[Guard, ...]:
        """The guards that refuse the order."""
        return tuple(each for each in self.counts if OUTCOMES[each] is Outcome.REFUSE)

    @property
    def holding(self) -> tuple[Guard, ...]:
        """The guards that hold the order."""
        return tuple(each for each in self.counts if OUTCOMES[each] is Outcome.HOLD)

    def not_named_in(self, guard: Guard, overrides: frozenset[str]) -> tuple[str, ...]:
        """Return the evidence of `guard` that `overrides` leave out: () if they name it all.

        Evidence beyond `EVIDENCE_MAX` is known to nobody who only has this, so it counts as
        left out.
        """
        known = self.evidence.get(guard, ())
        missing = tuple(each for each in known if each not in overrides)
        unknown = self.evidence_counts.get(guard, 0) - len(known)
        return (*missing, f"and {unknown} more") if unknown else missing
