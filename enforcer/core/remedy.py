"""What follows a block: reviews, notices, appeals, and one operator's suspension.

None of these acts can begin a block or make one wider; a granted appeal ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from enforcer.core.fields import EntryIndex, Sha256, UnixMs
from enforcer.core.order import OrderRef
from enforcer.core.payload import Payload


class Recipient(IntEnum):
    """Who was told of an order; never a subscriber."""

    UNSPECIFIED = 0
    HOLDER = 1
    HOSTING_PROVIDER = 2
    REGISTRAR = 3
    OPERATOR = 4
    PUBLIC = 5


class AppealOutcome(IntEnum):
    """What became of an appeal; GRANTED ends the order."""

    UNSPECIFIED = 0
    GRANTED = 1
    DISMISSED = 2


@dataclass(frozen=True, slots=True)
class ReviewDone(Payload):
    """Somebody has looked again: the order goes on until the next review, or its end."""

    TYPE: ClassVar = "application/vnd.enforcer.review-done.v1+json"

    order: OrderRef
    policy_sha256: Sha256
    review_due_at_ms: UnixMs
    """The next review, at most ``expires_at_ms``."""
    reason_sha256: Sha256 | None


@dataclass(frozen=True, slots=True)
class NotificationSent(Payload):
    """Somebody was told of the order."""

    TYPE: ClassVar = "application/vnd.enforcer.notification-sent.v1+json"

    order: OrderRef
    recipient: Recipient
    notice_sha256: Sha256
    """Side file with the notice."""
    sent_at_ms: UnixMs


@dataclass(frozen=True, slots=True)
class AppealFiled(Payload):
    """Somebody challenges the order; it stays in force until that is decided."""

    TYPE: ClassVar = "application/vnd.enforcer.appeal-filed.v1+json"

    order: OrderRef
    statement_sha256: Sha256
    """Side file with the appeal."""


@dataclass(frozen=True, slots=True)
class AppealDecided(Payload):
    """Oversight decides an appeal; granted, it ends the order as a stop does."""

    TYPE: ClassVar = "application/vnd.enforcer.appeal-decided.v1+json"

    order: OrderRef
    appeal_index: EntryIndex
    outcome: AppealOutcome
    decision_sha256: Sha256
    """Side file with the decision."""


@dataclass(frozen=True, slots=True)
class OrderSuspended(Payload):
    """A safety officer takes an order out on the own network alone."""

    TYPE: ClassVar = "application/vnd.enforcer.order-suspended.v1+json"

    order: OrderRef
    until_ms: UnixMs | None
    """When it ends by itself; None: with the order, or by a resumption."""
    reason_sha256: Sha256 | None


@dataclass(frozen=True, slots=True)
class OrderResumed(Payload):
    """The suspension on the own network ends: the one that it names, and no later one."""

    TYPE: ClassVar = "application/vnd.enforcer.order-resumed.v1+json"

    order: OrderRef
    suspension_sha256: Sha256
    """The payload's hash of the suspension."""
    reason_sha256: Sha256 | None
