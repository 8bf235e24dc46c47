"""How a plan is laid over a base table: what the overlay holds, and when a new base is due.

Pure rules. Always true: whatever must end can be laid over any base, at once and without a list;
only what is new may have to wait for the next base, and waits alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from enforcer.core.table import OrderRow
from enforcer.services.base_table import Base, RowKey, key_of, table_targets
from enforcer.services.plan import Plan

OVERLAY_TARGETS_MAX: Final = 50_000
"""So many targets, protections included, are compiled at once, each time that one changes."""
REBASE_TARGETS: Final = 10_000
"""A new base is compiled once the overlay has as many of orders: so it stays quick to compile."""
GONE_TARGETS_MIN: Final = 10_000
GONE_PARTS_MAX: Final = 8
"""A new base is due when a share of 1/8 of the base, and no fewer than that, has ended."""


@dataclass(frozen=True, slots=True)
class Layers:
    """A plan over a base."""

    rows: tuple[OrderRow, ...]
    """What counts, ascending: orders of the base that go on, and those laid over it."""
    laid: tuple[OrderRow, ...]
    """Those of `rows` whose names the overlay holds."""
    waiting: tuple[OrderRow, ...]
    """What the plan has besides: it comes with the next base."""
    laid_targets: int

    def without_laid(self) -> Layers:
        """Return the same with nothing new: it needs no list."""
        laid = {row.index for row in self.laid}
        rows = tuple(row for row in self.rows if row.index not in laid)
        waiting = sorted((*self.waiting, *self.laid), key=lambda row: row.index)
        return Layers(rows, (), tuple(waiting), 0)


def lay(
    plan: Plan, base: Base, *, laid_before: Collection[RowKey], protected_targets: int | None
) -> Layers:
    """Say what of the plan can be in force over `base` at once.

    `laid_before` is what the present overlay holds: it comes first. `protected_targets` are
    those of the base's protections; None: their lists are not at hand.
    """
    new = [row for row in plan.rows if key_of(row) not in base.counts]
    # Under other protections than the policy's nothing begins, but what began goes on.
    may_begin = plan.protections == base.protections
    room = -1 if protected_targets is None else OVERLAY_TARGETS_MAX - protected_targets
    laid: list[OrderRow] = []
    laid_targets = 0
    for row in sorted(new, key=lambda row: (key_of(row) not in laid_before, row.index)):
        fits = laid_targets + table_targets(row) <= room
        if fits and (may_begin or key_of(row) in laid_before):
            laid.append(row)
            laid_targets += table_targets(row)
    absent = {row.index for row in new} - {row.index for row in laid}
    return Layers(
        rows=tuple(row for row in plan.rows if row.index not in absent),
        laid=tuple(sorted(laid, key=lambda row: row.index)),
        waiting=tuple(row for row in plan.rows if row.index in absent),
        laid_targets=laid_targets,
    )


def is_base_due(plan: Plan, base: Base, layers: Layers) -> bool:
    """Tell whether it is worth while to compile a new base for the plan."""
    if plan.protections is None:
        return False  # there is nothing that it could be compiled with
    here = {key_of(row) for row in layers.rows}
    gone = sum(count for key, count in base.counts.items() if key not in here)
    gone_max = max(GONE_TARGETS_MIN, sum(base.counts.values()) // GONE_PARTS_MAX)
    return (
        bool(layers.waiting)
        or plan.protections != base.protections
        or layers.laid_targets > REBASE_TARGETS
        or gone > gone_max
    )
