"""The growth guard: how many targets an authority adds within a day (Denmark 2012).

Counted from what approvals brought beyond the version before, by facts of the ledger alone.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.order import OrderProposed
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State

GROWTH_WINDOW_MS: Final = DAY_MS


def recent(state: State, authority: str, t_ms: int) -> list[tuple[int, int]]:
    """Return (time, targets added) of the authority's approvals in the window before `t_ms`."""
    return [
        added for added in state.growth.get(authority, ()) if added[0] > t_ms - GROWTH_WINDOW_MS
    ]


def added_targets(state: State, order: OrderProposed) -> int:
    """Return how many targets the order would add to those of its versions that now block."""
    versions = (index for index in state.versions.get(order.order_id, ()) if index in state.live)
    former = max((state.live[index][1] for index in versions), default=0)
    return max(0, order.target_count - former)


def grows_too_fast(state: State, order: OrderProposed, t_ms: int) -> bool:
    """Tell whether approving the order at `t_ms` would pass the policy's bound for a day."""
    if state.policy is None:
        return True
    before = sum(targets for _, targets in recent(state, order.authority, t_ms))
    return before + added_targets(state, order) > state.policy.payload.growth_targets_max
