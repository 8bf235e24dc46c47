"""The life of an order: which act may meet it where, and where that leads. One table.

PROPOSED → (HELD →) APPROVED → STOPPED | SUPERSEDED, or REJECTED; EXPIRED and LAPSED come by time
alone (``standing``). What the table does not list cannot be done. A version that is approved
supersedes the one before; a lifted hold gives back where the order stood. Who may do it is for
the judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.order import (
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderPublished,
    OrderRejected,
    OrderStopped,
)
from enforcer.core.payload import Payload
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)


class OrderStatus(IntEnum):
    """Where an order stands in the ledger; whether it is in force also depends on the time."""

    UNSPECIFIED = 0
    PROPOSED = 1
    HELD = 2
    APPROVED = 3
    STOPPED = 4
    SUPERSEDED = 5
    REJECTED = 6


ENDED: Final = frozenset((OrderStatus.STOPPED, OrderStatus.SUPERSEDED, OrderStatus.REJECTED))

_PROPOSED, _HELD, _APPROVED = OrderStatus.PROPOSED, OrderStatus.HELD, OrderStatus.APPROVED
_STOPPED, _SUPERSEDED = OrderStatus.STOPPED, OrderStatus.SUPERSEDED
_REJECTED = OrderStatus.REJECTED

_ANYWHERE: Final = {status: status for status in OrderStatus if status}

TRANSITIONS: Final[Mapping[type[Payload], Mapping[OrderStatus, OrderStatus]]] = MappingProxyType(
    {
        # Towards a block.
        OrderApproved: {_PROPOSED: _APPROVED},
        OrderHeld: {_PROPOSED: _HELD, _HELD: _HELD, _APPROVED: _HELD},
        AssessmentRecorded: {_PROPOSED: _PROPOSED, _HELD: _HELD, _APPROVED: _APPROVED},
        HoldLifted: {_HELD: _APPROVED},  # or PROPOSED, where nobody has approved it
        # While it blocks.
        OrderConfirmed: {_APPROVED: _APPROVED},
        OrderExtended: {_APPROVED: _APPROVED},
        ReviewDone: {_HELD: _HELD, _APPROVED: _APPROVED},
        OrderSuspended: {_PROPOSED: _PROPOSED, _HELD: _HELD, _APPROVED: _APPROVED},
        OrderResumed: {_PROPOSED: _PROPOSED, _HELD: _HELD, _APPROVED: _APPROVED},
        # The end.
        OrderRejected: {_PROPOSED: _REJECTED, _HELD: _REJECTED},
        OrderStopped: {
            _PROPOSED: _STOPPED,
            _HELD: _STOPPED,
            _APPROVED: _STOPPED,
            _SUPERSEDED: _SUPERSEDED,  # a stop that names an old version ends the later ones
            _REJECTED: _REJECTED,
        },
        # At any time: also of what is over, people are told, may appeal, and read what was hidden.
        OrderPublished: _ANYWHERE,
        NotificationSent: _ANYWHERE,
        AppealFiled: _ANYWHERE,
        AppealDecided: _ANYWHERE,
    }
)


def can_meet(act: type[Payload], status: OrderStatus) -> bool:
    """Tell whether the act may meet an order that stands there."""
    return status in TRANSITIONS[act]
