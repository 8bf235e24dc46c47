"""The growth guard: how many targets an authority adds within a day (Denmark 2012).

Counted by facts of the ledger alone: every target of a list that did not block before.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.order import OrderProposed
from enforcer.core.policy import DAY_MS
from enforcer.core.running import Additions
from enforcer.core.state import State

GROWTH_WINDOW_MS: Final = DAY_MS


def recent(state: State, authority: str, t_ms: int) -> int:
    """Return how many targets the authority has added in the window before `t_ms`."""
    added = state.growth.get(authority)
    return 0 if added is None else added.after(t_ms - GROWTH_WINDOW_MS)


def note_growth(state: State, authority: str, t_ms: int, targets: int) -> None:
    """Count what an approval at `t_ms` adds; the fold's alone to call."""
    added = state.growth.setdefault(authority, Additions())
    added.forget(t_ms - GROWTH_WINDOW_MS)
    added.add(t_ms, targets)


def added_targets(state: State, order: OrderProposed) -> int:
    """Return how many targets the order might add to those of its versions that now block.

    All of a list that is another: the same number of targets can be quite other targets.
    """
    versions = (index for index in state.versions.get(order.order_id, ()) if index in state.live)
    lists = {state.orders[index].payload.target_list_sha256 for index in versions}
    return 0 if order.target_list_sha256 in lists else order.target_count


def grows_too_fast(state: State, order: OrderProposed, t_ms: int) -> bool:
    """Tell whether approving the order at `t_ms` would pass the policy's bound for a day."""
    if state.policy is None:
        return True
    before = recent(state, order.authority, t_ms)
    return before + added_targets(state, order) > state.policy.payload.growth_targets_max
