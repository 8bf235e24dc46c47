"""Sealed target lists, as the orders of a ledger name them.

Pure: whoever can open one is a matter of keys, which nothing here has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.core.state import State


@dataclass(frozen=True, slots=True)
class SealedList:
    """A sealed list, as one order names it."""

    order_id: str
    order_index: int
    sha256: str
    """Of salt and text together."""
    target_count: int
    sealed_sha256: str
    recipient: str
    """Whose secret opens it: an identity of the list alone."""
    secret: str | None
    """That secret, once the list is published."""


def sealed_lists(state: State) -> Iterator[SealedList]:
    """Yield the sealed list of every order that has one, ascending by the order's entry."""
    for order in state.orders.values():
        payload = order.payload
        publication = payload.publication
        if publication.sealed_sha256 is not None and publication.list_recipient is not None:
            yield SealedList(
                payload.order_id,
                order.index,
                payload.target_list_sha256,
                payload.target_count,
                publication.sealed_sha256,
                publication.list_recipient,
                order.list_secret,
            )


def by_list(state: State) -> dict[str, list[SealedList]]:
    """Return the sealed lists of all orders by their SHA-256, as each order names it."""
    found: dict[str, list[SealedList]] = {}
    for each in sealed_lists(state):
        found.setdefault(each.sha256, []).append(each)
    return found


def receiving_keys(state: State, recipient: str) -> list[str]:
    """Return the ids of registered keys whose holders' wraps are for this recipient."""
    return [
        key_id
        for key_id, record in state.keys.items()
        if record.registration.encryption_key == recipient
    ]
