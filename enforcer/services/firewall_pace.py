"""When a firewall is looked at, and for how long its rules count without a word from the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.core.table import IpMeasure
from enforcer.services.plan import Plan

LEASE_GRACE_SECONDS: Final = 10
"""How long the rules of a node that is gone may outlast the next end."""


@dataclass(frozen=True, slots=True)
class FirewallPace:
    """How often a node looks at its firewall, in seconds."""

    check_seconds: float = 60.0
    """Between two looks at what it holds, and at what the operator must reach."""
    lease_seconds: int = 3_600
    """How long its rules count without a word from the node, at most."""
    retry_seconds: float = 1.0
    """After it failed."""
    settle_seconds: float = 2.0
    """From the last change until much is read back."""
    count_seconds: float = 5.0

    def lease_of(self, plan: Plan, t_ms: int) -> int:
        """Return how long the rules of a plan may count from `t_ms`: until its next end."""
        ends_ms = [row.until_ms for row in plan.rows if row.is_in_force(t_ms)]
        left_seconds = (min(ends_ms) - t_ms) // 1_000 if ends_ms else self.lease_seconds
        return max(min(self.lease_seconds, left_seconds + LEASE_GRACE_SECONDS), 1)


def next_change_ms(plan: Plan | None, t_ms: int) -> int | None:
    """Return when the next order against addresses begins or ends by itself, after `t_ms`."""
    times = [
        at_ms
        for row in (plan.rows if plan is not None else ())
        if row.ip_measure is not IpMeasure.NONE
        for at_ms in (row.from_ms, row.until_ms)
    ]
    return min((at_ms for at_ms in times if at_ms > t_ms), default=None)
