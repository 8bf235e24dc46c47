"""Which entries of the ledger concern which order, kept in step with the fold.

An order is meant with all its versions, by its id. Holds nothing but numbers and ids: who wants
the entries reads them from the ledger. Acts without effect are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from enforcer.core.entry import Entry, parse_payload
from enforcer.core.fold import Effect
from enforcer.core.guard import Guard
from enforcer.core.key import KeyRevoked
from enforcer.core.remedy import ReviewDone
from enforcer.core.state import State


class OrderHistory:
    """The history of one ledger's orders; fed with each entry in turn."""

    def __init__(self) -> None:
        self._order_ids: dict[int, tuple[str, ...]] = {}
        """Entry index -> the orders that it concerns; ascending."""
        self._entries: dict[str, list[int]] = {}
        self._reviews: dict[int, list[int]] = {}

    def note(self, state: State, entry: Entry, effect: Effect) -> None:
        """Take in an entry that was just folded into `state`."""
        if not effect.is_effective:
            return
        order_ids = tuple(_concerned(state, entry, effect))
        if order_ids:
            self._order_ids[effect.index] = order_ids
        for order_id in order_ids:
            self._entries.setdefault(order_id, []).append(effect.index)
        if effect.order_index is not None and effect.kind == ReviewDone.__name__:
            self._reviews.setdefault(effect.order_index, []).append(effect.index)

    def entries(self, order_id: str, start: int, end: int) -> list[int]:
        """Return the entries from `start` to before `end`; of all orders where the id is empty."""
        if order_id:
            return [index for index in self._entries.get(order_id, ()) if start <= index < end]
        return [index for index in range(start, end) if index in self._order_ids]

    def order_ids(self, index: int) -> tuple[str, ...]:
        """Return the orders that an entry concerns."""
        return self._order_ids.get(index, ())

    def reviews(self, order_index: int) -> Sequence[int]:
        """Return the entries that reviewed the order proposed by an entry."""
        return self._reviews.get(order_index, ())


def _concerned(state: State, entry: Entry, effect: Effect) -> Iterable[str]:
    if effect.order_index is not None:
        return (state.orders[effect.order_index].payload.order_id,)
    if effect.kind != KeyRevoked.__name__:
        return ()
    payload = parse_payload(entry.envelope)
    if not isinstance(payload, KeyRevoked) or payload.compromised_since_index is None:
        return ()
    since = payload.compromised_since_index
    return dict.fromkeys(
        order.payload.order_id
        for order in state.orders.values()
        if Guard.COMPROMISED_KEY in order.holds
        and any(each.key_id == payload.key_id and each.index >= since for each in order.signers)
    )
