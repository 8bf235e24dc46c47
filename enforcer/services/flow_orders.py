"""When each order was in force, by the ledger: every interval, not only the last.

An order can be held while it blocks, and go on; it can be stopped, extended or superseded. Made
by the same fold as everything else, and of the times that entries were recorded at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from enforcer.core.entry import Entry
from enforcer.core.fold import apply
from enforcer.core.policy import Pins
from enforcer.core.state import OrderRecord, State
from enforcer.services.replay import order_id_of


@dataclass(slots=True)
class OrderTimes:
    """One version of an order, and when it was in force."""

    order: OrderRecord
    """As it stands after the last entry."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    """From (included) and until (excluded), Unix time in milliseconds, ascending."""

    @property
    def begins_ms(self) -> int:
        """When it was in force first."""
        return self.spans[0][0]

    def span_around(self, t_ms: int) -> tuple[int, int] | None:
        """Return the span that a time is in."""
        return next((span for span in self.spans if span[0] <= t_ms < span[1]), None)


@dataclass(slots=True)
class Timeline:
    """All orders that were ever in force, or will be, and what was protected when."""

    orders: list[OrderTimes] = field(default_factory=list)
    """Ascending by entry index."""
    pins: list[tuple[int, Pins]] = field(default_factory=list)
    """Since when (Unix time, milliseconds) which data was pinned, ascending."""


def timeline(state: State, entries: Iterable[Entry]) -> Timeline:
    """Fold all entries into `state`, and note when each order began and ceased to block.

    Raises:
        IntegrityError: an entry cannot be understood, or time runs backwards.
    """
    pins: list[tuple[int, Pins]] = []
    spans: dict[int, list[tuple[int, int]]] = {}
    running: dict[int, tuple[int, int]] = {}
    for entry in entries:
        policy = state.policy
        effect = apply(state, entry)
        if not effect.is_effective:
            continue
        if state.policy is not None and state.policy is not policy:
            pins.append((effect.recorded_at_ms, state.policy.payload.pins))
        order_id = order_id_of(entry.envelope)
        # What is about no order, such as a revoked key, can hold any that blocks.
        touched = tuple(running) if order_id is None else state.versions.get(order_id, ())
        for index in touched:
            _note(state.orders[index], effect.recorded_at_ms, running, spans)
    for index, span in running.items():
        spans.setdefault(index, []).append(span)
    return Timeline(
        [OrderTimes(state.orders[index], spans[index]) for index in sorted(spans)], pins
    )


def _note(
    order: OrderRecord,
    t_ms: int,
    running: dict[int, tuple[int, int]],
    spans: dict[int, list[tuple[int, int]]],
) -> None:
    row, span = order.row, running.pop(order.index, None)
    if row is not None:
        from_ms = max(row.from_ms, t_ms) if span is None else span[0]
        if from_ms < row.until_ms:
            running[order.index] = from_ms, row.until_ms
    elif span is not None and span[0] < min(span[1], t_ms):
        spans.setdefault(order.index, []).append((span[0], min(span[1], t_ms)))
