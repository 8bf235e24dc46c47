"""An order as one node has it, with what the network's safety officers said of it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from enforcer.core.entry import parse
from enforcer.core.standing import standing
from enforcer.core.state import OrderRecord, PolicyRecord
from enforcer.errors import NotFoundError
from enforcer.services.order_reader import OrderView
from enforcer.services.plan import LocalWord
from enforcer.services.replica import Replica


@dataclass(frozen=True, slots=True)
class OrderHere:
    """An order at one node; of suspensions it has the one that holds there, if one does."""

    view: OrderView
    policy: PolicyRecord | None
    payload: bytes
    """The exact signed bytes."""


def order_here(
    replica: Replica,
    order_id: str,
    entry_index: int | None,
    *,
    t_ms: int,
    operator: str | None,
    said: Mapping[int, LocalWord],
) -> OrderHere:
    """Read an order from a node's own copy of the ledger: the newest version, or that entry's.

    Raises:
        NotFoundError: it is not there.
        UnavailableError, IntegrityError: the copy cannot be read.
    """
    state = replica.state
    versions = state.versions.get(order_id, ())
    if not versions or (entry_index is not None and entry_index not in versions):
        raise NotFoundError(
            f"this node has read of no order {order_id}",
            advice="Check the id and the entry, or ask again once the node follows.",
            field="order_id",
        )
    record = state.orders[versions[-1] if entry_index is None else entry_index]
    shown = _with_own(record, operator, t_ms, said.get(record.index))
    view = OrderView(shown, standing(record, t_ms), t_ms)
    return OrderHere(view, state.policy, parse(replica.leaf(record.index)).envelope.payload)


def _with_own(
    record: OrderRecord, operator: str | None, t_ms: int, word: LocalWord | None
) -> OrderRecord:
    held = record.suspension(operator, t_ms) if word is None else word.holds(t_ms)
    return replace(record, suspensions=() if held is None else (held,))
