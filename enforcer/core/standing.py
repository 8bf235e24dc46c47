"""Where an order stands at a time: what the ledger says of it, and what its times say."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from enforcer.core.life import OrderStatus
from enforcer.core.state import OrderRecord


class Standing(IntEnum):
    """One of these at any time; only an order IN_FORCE blocks."""

    UNSPECIFIED = 0
    PROPOSED = 1
    HELD = 2
    APPROVED = 3
    IN_FORCE = 4
    EXPIRED = 5
    LAPSED = 6
    STOPPED = 7
    SUPERSEDED = 8
    REJECTED = 9


_ENDED: Final = {
    OrderStatus.STOPPED: Standing.STOPPED,
    OrderStatus.SUPERSEDED: Standing.SUPERSEDED,
    OrderStatus.REJECTED: Standing.REJECTED,
}
_WAITING: Final = {
    OrderStatus.PROPOSED: Standing.PROPOSED,
    OrderStatus.HELD: Standing.HELD,
}


def standing(order: OrderRecord, t_ms: int) -> Standing:
    """Return where the order stands at `t_ms` (Unix time, milliseconds).

    IN_FORCE exactly where :func:`enforcer.core.state.in_force` has its row.
    """
    if order.status in _ENDED:
        return _ENDED[order.status]
    if t_ms >= order.until_ms:
        # A review that falls on the end is the end: nobody was late for it.
        is_lapsed = order.until_ms < order.expires_at_ms
        return Standing.LAPSED if is_lapsed else Standing.EXPIRED
    row = order.row
    if row is None:
        return _WAITING[order.status]
    return Standing.IN_FORCE if row.is_in_force(t_ms) else Standing.APPROVED
