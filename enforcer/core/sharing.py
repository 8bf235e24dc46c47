"""What many orders have in common, held once: orders are kept for ever, and are much alike.

Owns nothing but values that never change. A part is put in the place of one that equals it, so
whoever holds the record sees nothing of it. Always true: what was given equals what it was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

from enforcer.core.order import Appeal, OrderProposed
from enforcer.core.state import NO_GUARDS, OrderRecord, Signer

KEPT_MAX: Final = 1_024
"""Values that are shared, those used last."""
_COMMON: Final = (
    *("ledger_origin", "authority", "territory", "legal_basis", "measure", "publication"),
    *("notifications", "evidence_sha256"),
)

T = TypeVar("T")


@lru_cache(maxsize=KEPT_MAX, typed=True)
def one(value: T) -> T:
    """Return a value that equals this one: the same for all who ask."""
    return value


def share(order: OrderProposed) -> OrderProposed:
    """Let an order have those parts that others had too in the place of its own."""
    for name in _COMMON:
        object.__setattr__(order, name, one(getattr(order, name)))
    appeal = order.appeal
    shared = Appeal(one(appeal.body), one(appeal.address), appeal.deadline_ms)
    object.__setattr__(order, "appeal", shared)
    return order


def share_record(record: OrderRecord) -> OrderRecord:
    """Let a record that was read from a file be as small as the fold would have made it."""
    share(record.payload)
    signers = tuple(
        Signer(one(each.key_id), one(each.person_id), each.index) for each in record.signers
    )
    object.__setattr__(record, "signers", signers)
    if not record.holds:
        object.__setattr__(record, "holds", NO_GUARDS)
    return record
