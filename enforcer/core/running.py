"""Sums that the fold keeps up, so that no act's cost grows with the orders in force.

Owns what may still block with its targets, and what an authority has added of late. Always true:
each says what a walk over all records would. One owner, the state; :meth:`copy` gives another.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

_NONE: Final[Mapping[int, tuple[int, int]]] = {}


class LiveOrders(Mapping[int, tuple[int, int]]):
    """Approved orders that may still block: entry index -> (until_ms, target_count)."""

    def __init__(self, ends: Mapping[int, tuple[int, int]] = _NONE) -> None:
        self._ends = dict(ends)
        self._by_end = sorted((until_ms, index) for index, (until_ms, _) in self._ends.items())
        self._targets = sum(count for _, count in self._ends.values())

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self._ends[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    def __repr__(self) -> str:
        return f"LiveOrders({self._ends})"

    def put(self, index: int, until_ms: int, target_count: int) -> None:
        """Take an order in, or give one that is here another end."""
        self.remove(index)
        self._ends[index] = until_ms, target_count
        insort(self._by_end, (until_ms, index))
        self._targets += target_count

    def remove(self, index: int) -> None:
        """Leave an order out; one that is not here is no error."""
        found = self._ends.pop(index, None)
        if found is not None:
            until_ms, target_count = found
            del self._by_end[bisect_left(self._by_end, (until_ms, index))]
            self._targets -= target_count

    def forget_ended(self, t_ms: int) -> None:
        """Leave out what has ended by `t_ms`."""
        for _, index in self._ended(t_ms):
            self.remove(index)

    def targets(self, t_ms: int) -> int:
        """Return how many targets those have together that end after `t_ms`."""
        return self._targets - sum(self._ends[index][1] for _, index in self._ended(t_ms))

    def copy(self) -> LiveOrders:
        """Return the same orders, to be changed apart from these."""
        return LiveOrders(self._ends)

    def _ended(self, t_ms: int) -> list[tuple[int, int]]:
        return list(takewhile(lambda end: end[0] <= t_ms, self._by_end))


@dataclass(slots=True)
class Additions:
    """Targets that one authority has added, by the time of the approval, ascending."""

    added: deque[tuple[int, int]] = field(default_factory=deque)
    sum: int = 0

    def add(self, t_ms: int, targets: int) -> None:
        """Take in an approval; `t_ms` is not before that of any other here."""
        self.added.append((t_ms, targets))
        self.sum += targets

    def forget(self, t_ms: int) -> None:
        """Leave out what was added at `t_ms` or before."""
        while self.added and self.added[0][0] <= t_ms:
            self.sum -= self.added.popleft()[1]

    def after(self, t_ms: int) -> int:
        """Return how many targets were added after `t_ms`."""
        past = takewhile(lambda each: each[0] <= t_ms, self.added)
        return self.sum - sum(targets for _, targets in past)

    def copy(self) -> Additions:
        """Return the same, to be changed apart from this."""
        return Additions(self.added.copy(), self.sum)
