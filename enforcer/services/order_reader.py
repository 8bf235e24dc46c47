"""Reading orders and the policy back from the ledger's state, at the control plane's time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from enforcer.core.key import Role
from enforcer.core.standing import Standing, standing
from enforcer.core.state import KeyRecord, OrderRecord, PolicyRecord
from enforcer.errors import InputError, NotFoundError
from enforcer.services.ledger import Ledger


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, and where it stood when it was read."""

    record: OrderRecord
    standing: Standing
    at_ms: int
    reviews: tuple[int, ...] = ()
    """Entry indices of its reviews."""


class OrderReader:
    """What stands in one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, order_id: str, entry_index: int | None) -> OrderView:
        """Return one order: its newest version, or the one proposed by that entry.

        Raises:
            InputError: neither is given.
            NotFoundError: there is none.
        """
        state = self._ledger.state
        if not order_id and entry_index is None:
            raise InputError(
                "no order is named", advice="Give order_id, entry_index, or both.", field="order_id"
            )
        if entry_index is None:
            entry_index = next(reversed(state.versions.get(order_id, ())), None)
        record = state.orders.get(-1 if entry_index is None else entry_index)
        if record is None or (order_id and record.payload.order_id != order_id):
            raise NotFoundError(
                f"no order {order_id or f'proposed by entry {entry_index}'} is in the ledger",
                advice="Check the order id; `enforcer order list` shows all.",
                field="order_id" if order_id else "entry_index",
            )
        return self._view(record, self._ledger.now_ms())

    def page(self, first_index: int, count: int, wanted: Standing | None) -> list[OrderView]:
        """Return up to `count` orders proposed by entry `first_index` or later, ascending."""
        at_ms = self._ledger.now_ms()
        records = self._ledger.state.orders.values()
        views = (self._view(record, at_ms) for record in records if record.index >= first_index)
        return list(islice((v for v in views if wanted in (None, v.standing)), count))

    def versions(self, order_id: str) -> list[OrderView]:
        """Return all versions of an order, ascending; none where it is not known."""
        state, at_ms = self._ledger.state, self._ledger.now_ms()
        return [
            self._view(state.orders[index], at_ms) for index in state.versions.get(order_id, ())
        ]

    def policy(self) -> PolicyRecord:
        """Return the policy in force.

        Raises:
            NotFoundError: none is adopted yet.
        """
        if self._ledger.state.policy is None:
            raise NotFoundError(
                "no policy is adopted yet",
                advice="Have the roots sign a policy, and record that first.",
            )
        return self._ledger.state.policy

    def keys_of(self, role: Role) -> list[KeyRecord]:
        """Return the registered keys of a role that are in force, oldest first."""
        now_ms = self._ledger.now_ms()
        return [
            key
            for key in self._ledger.state.keys.values()
            if key.registration.role is role
            and key.revoked_index is None
            and key.registration.not_after_ms >= now_ms
        ]

    def _view(self, record: OrderRecord, at_ms: int) -> OrderView:
        reviews = tuple(self._ledger.history.reviews(record.index))
        return OrderView(record, standing(record, at_ms), at_ms, reviews)
