"""What a scan of one order's list depends on, beside the list: all of it is in the ledger.

Control plane, node and audit make the same facts of the same entries, and so find the same.
Which past orders matter is the fold's to say; nothing here reads a list.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.core.guard import Guard
from enforcer.core.policy import Pins


@dataclass(frozen=True, slots=True)
class Precedent:
    """A past order that matters for a new one, if they share targets."""

    guard: Guard
    """One of `REPEATING_GUARDS`, or ADMINISTRATIVE_TIME."""
    entry_index: int
    """The past order's proposal."""
    target_list_sha256: str
    in_force_ms: int = 0
    """How long it has been, or will be, in force; read for ADMINISTRATIVE_TIME alone."""

    @property
    def evidence(self) -> str:
        """What a hit names."""
        return f"entry {self.entry_index}"


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """What the ledger says that a scan of one order's list depends on; its list is the rest."""

    pins: Pins
    """Of the policy whose data counts; a guard whose data is not pinned never fires."""
    precedents: tuple[Precedent, ...] = ()
    administrative_ms: int = 0
    """How long the new order is to be in force by administrative decision; 0: it is no such."""
    administrative_ms_max: int = 0
    """Most time that a target may be blocked by such decisions in all."""
