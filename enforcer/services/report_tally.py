"""Facts, counted: the rows of each figure.

Every number is an integer. Rows come in one order whatever the order of the facts: the total, then
each breakdown by its members; a member that nothing fell to has no row, a total has one always.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import product
from typing import Final, TypeAlias

from enforcer.services.report_facts import Fact, members
from enforcer.services.report_figures import FIGURES, FIGURES_OF, Figure, Measure
from enforcer.services.report_period import Period

ENTRIES_MAX: Final = 1_000
"""Most entries that a row names one by one; beyond it the figure's rule finds them."""
STATISTIC: Final = "statistic"
MILLISECONDS: Final = "ms"

Place: TypeAlias = tuple[tuple[str, str], ...]
"""(dimension, member) of each dimension of a breakdown; () for the total."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value."""

    place: Place
    value: int
    unit: str
    entries: tuple[int, ...] | None
    """The ledger entries that give it, ascending, each once; None where they are too many."""


@dataclass(slots=True)
class _Cell:
    count: int = 0
    targets: int = 0
    entries: set[int] = field(default_factory=set)
    times_ms: array[int] = field(default_factory=lambda: array("q"))
    members: set[str] = field(default_factory=set)


class Tally:
    """Counts the facts of one period."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._cells: dict[str, dict[Place, _Cell]] = {
            figure.id: {(): _Cell()} for figure in FIGURES
        }

    def add(self, fact: Fact) -> None:
        """Count a fact, if it lies in the period."""
        if self._period.contains(fact.t_ms):
            self._count(fact, is_at_end=False)

    def add_at_end(self, fact: Fact) -> None:
        """Count a fact that tells what holds at the end."""
        self._count(fact, is_at_end=True)

    def rows(self, figure: Figure) -> tuple[Row, ...]:
        """Return the figure's rows."""
        cells = self._cells[figure.id]
        breakdowns = {by: at for at, by in enumerate(figure.by, 1)}

        def key(place: Place) -> tuple[int, tuple[str, ...]]:
            by = tuple(dimension for dimension, _ in place)
            return breakdowns.get(by, 0), tuple(member for _, member in place)

        return tuple(
            row for place in sorted(cells, key=key) for row in _rows(figure, place, cells[place])
        )

    def _count(self, fact: Fact, *, is_at_end: bool) -> None:
        for figure in FIGURES_OF[fact.what]:
            if figure.is_at_end is is_at_end and figure.counts(fact):
                for place in self._places(figure, fact):
                    cell = self._cells[figure.id].setdefault(place, _Cell())
                    _add(cell, figure, fact)

    def _places(self, figure: Figure, fact: Fact) -> list[Place]:
        places: list[Place] = [()]
        for by in figure.by:
            each = [members(fact, name, self._period.utc_offset_minutes) for name in by]
            places += [tuple(zip(by, chosen, strict=True)) for chosen in product(*each)]
        return places


def _add(cell: _Cell, figure: Figure, fact: Fact) -> None:
    cell.count += 1
    if len(cell.entries) <= ENTRIES_MAX:
        cell.entries.add(fact.index)
    if figure.measure is Measure.TIME:
        cell.times_ms.append(fact.amount)
    elif figure.measure is Measure.MEMBERS:
        cell.members.update(members(fact, figure.of))
    elif figure.measure is Measure.TARGETS and fact.order is not None:
        cell.targets += fact.order.payload.target_count


def _rows(figure: Figure, place: Place, cell: _Cell) -> list[Row]:
    entries = tuple(sorted(cell.entries)) if len(cell.entries) <= ENTRIES_MAX else None
    value = cell.count
    if figure.measure is Measure.TARGETS:
        value = cell.targets
    elif figure.measure is Measure.MEMBERS:
        value = len(cell.members)
    if figure.measure is not Measure.TIME:
        return [Row(place, value, figure.unit, entries)]
    rows = [Row((*place, (STATISTIC, "count")), value, figure.unit, entries)]
    times_ms = sorted(cell.times_ms)
    if times_ms:
        for name, percent in (("median", 50), ("p95", 95), ("max", 100)):
            found = times_ms[nearest_rank(percent, len(times_ms))]
            rows.append(Row((*place, (STATISTIC, name)), found, MILLISECONDS, None))
    return rows


def nearest_rank(percent: int, count: int) -> int:
    """Return the place, from 0, of a percentile in `count` sorted values: never between two."""
    return max(0, -(-percent * count // 100) - 1)
