"""What puts an order on hold, what is recorded about it, and what lifts the hold.

A guard speaks through the control plane's own key, with the report of every offending line as
a side file; a person may hold an order too. Only persons lift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from enforcer.core.fields import EntryIndex, Items, Line, Sha256
from enforcer.core.guard import Guard
from enforcer.core.order import OrderRef
from enforcer.core.payload import Payload

OVERRIDES_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class OrderHeld(Payload):
    """An order waits: it blocks nothing until what holds it has been lifted."""

    TYPE: ClassVar = "application/vnd.enforcer.order-held.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    """The policy whose data the guards read."""
    guards: Annotated[tuple[Guard, ...], Items(1, 13)]
    """Ascending, each once."""
    report_sha256: Sha256 | None
    """Side file with every line that a guard fired on; null where a person holds."""


@dataclass(frozen=True, slots=True)
class AssessmentRecorded(Payload):
    """A person attests what an order would hit beside its aim, and why it is needed."""

    TYPE: ClassVar = "application/vnd.enforcer.assessment-recorded.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    facts_sha256: Sha256
    """Side file: what is known of the targets, by the ledger and its data (:mod:`collateral`)."""
    necessity_sha256: Sha256
    """Side file: what was considered, why a DNS order does not do, who attests it."""


@dataclass(frozen=True, slots=True)
class HoldLifted(Payload):
    """One person lifts holds, each by its own condition."""

    TYPE: ClassVar = "application/vnd.enforcer.hold-lifted.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    guards: Annotated[tuple[Guard, ...], Items(1, 13)]
    """Ascending, each once."""
    overrides: Annotated[tuple[Line, ...], Items(0, OVERRIDES_MAX)]
    """Entries of the protected list that a court's decision names, as ``subtree example.org``."""
    assessment_index: EntryIndex | None
    """The AssessmentRecorded that a hold for a shared range is lifted by."""
    reason_sha256: Sha256 | None
