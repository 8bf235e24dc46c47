"""Every node of a fleet looked at, a few at a time: nothing else waits for it, however many.

One walk goes at a time, whoever asked: so many who ask hold the event loop no longer than one.
Who asks the same while a walk waits for its turn gets that one's answer, never that of a walk
which had begun before. One that nobody waits for any more ends, begun or not. A node counts as it
stands when it is looked at.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from typing import Any, Final, TypeVar

from enforcer.core.attested import Exceptional
from enforcer.errors import UnavailableError
from enforcer.services.exceptions import node_of
from enforcer.services.fleet import Fleet, NodeStanding
from enforcer.services.ledger import Ledger

NODES_AT_ONCE: Final = 32
"""Some 20 µs each."""
KEYS_AT_ONCE: Final = 1_024
NAMED_MAX: Final = 100
WALKS_WAITING_MAX: Final = 256
"""More than one caller can have asked for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """How many nodes are in which state."""

    live: int
    counts: Counter[Exceptional | None]
    """By what is not as it should be; None: all is."""
    named: tuple[tuple[Exceptional, str], ...]
    """The first exceptions, by kind and node id."""

    @property
    def nodes(self) -> int:
        """All nodes."""
        return sum(self.counts.values())


@dataclass(slots=True, eq=False)
class _Walk:
    """One walk, begun or not."""

    task: asyncio.Task[Any]
    askers: int = 0
    """How many wait for what it finds."""


class FleetWalk:
    """Walks over the nodes of one ledger; use it from one event loop."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._turn = asyncio.Lock()
        self._line = asyncio.Lock()
        """Who holds it is the only one of those in line who waits for a turn."""
        self._next: dict[Hashable, _Walk] = {}
        """Walks that have not begun, by what was asked."""

    async def totals(self) -> FleetTotals:
        """Count all nodes by how they stand."""
        return await self.shared("totals", self._count, is_first=True)

    async def shared(
        self, asked: Hashable, walk: Callable[[], Awaitable[T]], *, is_first: bool = False
    ) -> T:
        """Return what a walk finds that begins after this call; one for all who ask the same.

        One that is first waits for the walk that goes on, and not for those in line: only for what
        cannot be asked for at will.

        Raises:
            UnavailableError: too many walks wait for their turn.
        """
        if (mine := self._next.get(asked)) is None:
            if not is_first and len(self._next) >= WALKS_WAITING_MAX:
                raise UnavailableError(
                    f"{len(self._next)} questions about all nodes wait for their answers",
                    advice="Ask again in a moment; an order without the fleet is told at once.",
                )
            mine = _Walk(asyncio.create_task(self._in_turn(asked, walk, is_first)))
            self._next[asked] = mine
        mine.askers += 1
        try:
            found: T = await asyncio.shield(mine.task)
        finally:
            mine.askers -= 1
            if not mine.askers:
                mine.task.cancel()
                if self._next.get(asked) is mine:
                    del self._next[asked]
        return found

    async def standings(self) -> AsyncIterator[NodeStanding]:
        """Yield how every node stands, by node id; for a shared walk."""
        at_ms = self._ledger.now_ms()
        for at, node_id in enumerate(await self._nodes()):
            if at % NODES_AT_ONCE == 0:
                await asyncio.sleep(0)
                at_ms = self._ledger.now_ms()
            yield self._fleet.standing(self._ledger.state, node_id, at_ms)

    async def _in_turn(
        self, asked: Hashable, walk: Callable[[], Awaitable[T]], is_first: bool
    ) -> T:
        line: AbstractAsyncContextManager[None] = nullcontext() if is_first else self._line
        async with line, self._turn:
            del self._next[asked]
            return await walk()

    async def _count(self) -> FleetTotals:
        counts: Counter[Exceptional | None] = Counter()
        wrong: list[tuple[Exceptional, str]] = []
        live = 0
        async for each in self.standings():
            counts[each.exception] += 1
            live += each.is_heard
            if each.exception is not None:
                wrong.append((each.exception, each.node_id))
                if len(wrong) > 2 * NAMED_MAX:
                    wrong = sorted(wrong)[:NAMED_MAX]
        return FleetTotals(live, counts, tuple(sorted(wrong)[:NAMED_MAX]))

    async def _nodes(self) -> Iterator[str]:
        """Return all nodes that are registered or have spoken, ascending; sorted part by part."""
        now_ms = self._ledger.now_ms()
        keys = list(self._ledger.state.keys.values())
        runs = [list(self._fleet.heard)]
        for at in range(0, len(keys), KEYS_AT_ONCE):
            part = (node_of(key, now_ms) for key in keys[at : at + KEYS_AT_ONCE])
            runs.append(sorted(each for each in part if each is not None))
            await asyncio.sleep(0)
        return (each for each, _ in groupby(merge(*runs)))
