"""Which entries of the ledger concern which order, kept in step with the fold.

An order is meant with all its versions, by its id. Holds nothing but numbers and ids: who wants
the entries reads them from the ledger. Acts without effect are not in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from enforcer.core.entry import Entry, parse_payload
from enforcer.core.fold import Effect
from enforcer.core.guard import Guard
from enforcer.core.key import KeyRevoked
from enforcer.core.remedy import ReviewDone
from enforcer.core.state import State
from enforcer.ports import KeptHistory

NONE: Final = -1


class OrderHistory:
    """The history of one ledger's orders; fed with each entry in turn."""

    def __init__(self) -> None:
        self._order_of = array("q")
        """By entry: a version of the one order that it concerns, or NONE."""
        self._several: dict[int, tuple[int, ...]] = {}
        """Entry index -> versions of orders, where it concerns several."""
        self._ids: dict[int, str] = {}
        """Those versions' entries -> the order's id."""
        self._entries: dict[str, array[int]] = {}
        self._reviews: dict[int, tuple[int, ...]] = {}

    @classmethod
    def restored(cls, state: State, kept: KeptHistory) -> OrderHistory:
        """Return the history that was kept with this very state.

        Raises:
            KeyError: it was kept with another.
        """
        history = cls()
        several = dict(kept.several)
        for index, order_index in enumerate(kept.orders):
            found = several.get(index, () if order_index == NONE else (order_index,))
            history._add(state, index, found)
        for order_index, index in kept.reviews:
            history._add_review(order_index, index)
        return history

    def kept(self) -> KeptHistory:
        """Return all of it, for :meth:`restored`; what comes later does not change it."""
        reviews = tuple((each, at) for each, found in self._reviews.items() for at in found)
        return KeptHistory(self._order_of[:], tuple(self._several.items()), reviews)

    def note(self, state: State, entry: Entry, effect: Effect) -> None:
        """Take in an entry that was just folded into `state`."""
        if not effect.is_effective:
            self._add(state, effect.index, ())
            return
        self._add(state, effect.index, tuple(_concerned(state, entry, effect)))
        if effect.order_index is not None and effect.kind == ReviewDone.__name__:
            self._add_review(effect.order_index, effect.index)

    def entries(self, order_id: str, start: int, end: int) -> list[int]:
        """Return the entries from `start` to before `end`; of all orders where the id is empty."""
        if order_id:
            return [index for index in self._entries.get(order_id, ()) if start <= index < end]
        return [index for index in range(start, end) if self._concerns(index)]

    def order_ids(self, index: int) -> tuple[str, ...]:
        """Return the orders that an entry concerns."""
        return tuple(self._ids[each] for each in self._concerns(index))

    def reviews(self, order_index: int) -> Sequence[int]:
        """Return the entries that reviewed the order proposed by an entry."""
        return self._reviews.get(order_index, ())

    def _concerns(self, index: int) -> tuple[int, ...]:
        if index in self._several:
            return self._several[index]
        found = self._order_of[index] if 0 <= index < len(self._order_of) else NONE
        return (found,) if found != NONE else ()

    def _add(self, state: State, index: int, orders: tuple[int, ...]) -> None:
        self._order_of.append(orders[0] if len(orders) == 1 else NONE)
        if len(orders) > 1:
            self._several[index] = orders
        for each in orders:
            order_id = self._ids[each] = state.orders[each].payload.order_id
            found = self._entries.get(order_id)
            if found is None:
                self._entries[order_id] = array("q", (index,))
            else:
                found.append(index)

    def _add_review(self, order_index: int, index: int) -> None:
        self._reviews[order_index] = (*self._reviews.get(order_index, ()), index)


def _concerned(state: State, entry: Entry, effect: Effect) -> Iterable[int]:
    if effect.order_index is not None:
        return (effect.order_index,)
    if effect.kind != KeyRevoked.__name__:
        return ()
    payload = parse_payload(entry.envelope)
    if not isinstance(payload, KeyRevoked) or payload.compromised_since_index is None:
        return ()
    since = payload.compromised_since_index
    held = (
        order
        for order in state.orders.values()
        if Guard.COMPROMISED_KEY in order.holds
        and any(each.key_id == payload.key_id and each.index >= since for each in order.signers)
    )
    # Of each order one version stands for all.
    return {order.payload.order_id: order.index for order in held}.values()
