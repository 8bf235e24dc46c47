"""What a list differs in from the one that it follows: which that is, and what a delta may be.

A delta is text: lines, each ``-`` or ``+`` before a line of a target list, ascending by that line,
none twice; ``-`` takes a line out that the base has, ``+`` adds one that it lacks. Nothing signed
names a delta: who has the base and applies one has the list if the result's SHA-256 says so, and
nothing otherwise. Lists that are or were sealed have none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from enforcer.core.order import OrderProposed
from enforcer.core.policy import Pins
from enforcer.core.state import State

DELTA_BYTES_MAX: Final = 16 << 20
LIST_BYTES_MIN: Final = 4_096
"""Shorter lists travel whole."""
PARTS_MIN: Final = 4
"""A delta is made if the list is more than so many times as long."""


def delta_bytes_max(list_bytes: int) -> int:
    """Return how long a delta to a list of that length may be; 0: none is made."""
    if list_bytes < LIST_BYTES_MIN:
        return 0
    return min(list_bytes // PARTS_MIN, DELTA_BYTES_MAX)


def may_have_delta(base_bytes: int) -> bool:
    """Tell whether a delta is made to any list from one of that length.

    A delta has what the list is longer by, so a list that is `PARTS_MIN` times as long as its
    delta, or more, is at most a third longer than its base.
    """
    return base_bytes * PARTS_MIN >= LIST_BYTES_MIN * (PARTS_MIN - 1)


def base_of(state: State, order: OrderProposed) -> str | None:
    """Return the SHA-256 of the list in whose place an order puts its own; None: of no public one.

    The order need not be recorded yet.
    """
    former = state.orders.get(order.supersedes.entry_index) if order.supersedes else None
    if former is None or order.publication.is_sealed or former.payload.publication.is_sealed:
        return None
    base = former.payload.target_list_sha256
    return base if base != order.target_list_sha256 else None


def bases_of_pins(former: Pins | None, pins: Pins) -> dict[str, str]:
    """Return which of a policy's lists of targets follow which, by SHA-256."""
    if former is None:
        return {}
    pairs = (
        (pins.protected_core, former.protected_core),
        (pins.protected_names, former.protected_names),
    )
    return {new: old for new, old in pairs if new is not None and old is not None and new != old}


def bases(state: State, wanted: Collection[str]) -> dict[str, str]:
    """Return which list each of the `wanted` follows, by SHA-256, as the newest order says it."""
    policy = state.policy
    found = bases_of_pins(policy.former_pins, policy.payload.pins) if policy is not None else {}
    for indices in state.versions.values():
        for index in indices[1:]:
            order = state.orders[index].payload
            base = base_of(state, order) if order.target_list_sha256 in wanted else None
            if base is not None:
                found[order.target_list_sha256] = base
    return {sha256: base for sha256, base in found.items() if sha256 in wanted}
