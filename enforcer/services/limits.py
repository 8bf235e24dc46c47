"""What past orders say of those that block, at one node: limits that follow a target (law 3).

An order is judged at the act by which it last came to block, by the lists of the past orders that
its limits look back at, fetched like any list. One whose past has not been looked at waits. A
past list that nobody can bring is left out, and counted: a file lost years after its order
ended must not keep a country's new orders from beginning. It is asked for again at times, and
what was judged without it is judged again when it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import structlog

from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import NO_PINS, GuardFacts, granted_facts
from enforcer.core.history import administrative_ms, is_remembered, looks_back, remembered
from enforcer.core.life import OrderStatus
from enforcer.core.policy import DAY_MS
from enforcer.core.state import Grant, Lift, OrderRecord, State
from enforcer.errors import EnforcerError
from enforcer.ports import GuardJob, ListWork
from enforcer.services.guarding import objections
from enforcer.services.lists import ListKeeper
from enforcer.services.near_lists import NearLists
from enforcer.services.plan import is_concerned

AHEAD_ORDERS_MAX: Final = 256
"""So many of the newest orders are looked at while they wait for an approval."""

_CLEAR: Final = GuardScan()

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Judged:
    """An order, as it stood, and what was found of it."""

    scan: GuardScan
    unread: frozenset[str]
    """Past lists that nobody could bring."""
    granted: Grant | None
    lifts: tuple[Lift, ...]

    def is_of(self, order: OrderRecord) -> bool:
        """Tell whether an order is still what was judged."""
        return (self.granted, self.lifts) == (order.granted, order.lifts)


class Limits:
    """The limits on one node's orders; use it from one event loop."""

    def __init__(self, work: ListWork, lists: ListKeeper, *, blocks_names: bool = True) -> None:
        """Judge all orders; without a gate (`blocks_names`) those alone that need none."""
        self._work = work
        self._blocks_names = blocks_names
        self._lists = lists
        self._near = NearLists(work, lists)
        self._judged: dict[int, _Judged] = {}
        self._due: dict[int, tuple[OrderRecord, GuardFacts, frozenset[str]]] = {}
        """Orders that share a group with past ones, and are to be scanned."""
        self._summed_size, self._past_ms = 0, 0
        self.wanted: tuple[str, ...] = ()
        """Past lists to have at hand: for what waits, and for what was judged without."""

    @property
    def unread(self) -> frozenset[str]:
        """Past lists that nobody can bring and that orders were judged without."""
        return frozenset(each for judged in self._judged.values() for each in judged.unread)

    def object(self, state: State, order: OrderRecord) -> bool | None:
        """Tell whether a limit stands against an order; None: nobody has looked yet."""
        judged = self._judged.get(order.index)
        if judged is not None and judged.is_of(order):
            return bool(objections(order, judged.scan, NO_PINS))
        return None if looks_back(state, order, self._past(state)) else False

    async def look(self, state: State, t_ms: int) -> bool:
        """Judge what is due and whose past lists were asked for; tell whether anything was.

        Raises:
            UnavailableError, IntegrityError, InputError: a list could not be read.
        """
        if self._due:
            await self._scan()
            return True
        news = list(self._news(state, t_ms))
        past = remembered(state, news, self._past(state))
        unread = frozenset(
            each.payload.target_list_sha256
            for each in past
            if not self._lists.has(each.payload.target_list_sha256)
        )
        self.wanted = tuple(sorted(unread | self.unread))
        news = [each for each in news if self._lists.has(each.payload.target_list_sha256)]
        if news and not any(map(self._lists.may_come, unread)):
            await self._group(state, news, past, unread)
            return True
        await self._look_ahead(state, t_ms)
        return False

    async def _look_ahead(self, state: State, t_ms: int) -> None:
        """Compare the lists of what may be approved soon with past ones: then that is done."""
        if state.policy is None:
            return
        days_max = state.policy.payload.administrative_days_max
        grant = Grant(state.size, t_ms, days_max * DAY_MS)
        proposed = [
            replace(each, granted=grant)
            for each in islice(reversed(state.orders.values()), AHEAD_ORDERS_MAX)
            if each.status is OrderStatus.PROPOSED
            and each.until_ms > t_ms
            and self._lists.has(each.payload.target_list_sha256)
        ]
        past_ms = self._past(state)
        concerned = [each for each in proposed if looks_back(state, each, past_ms)]
        past = remembered(state, concerned, past_ms)
        here = filter(self._lists.has, _lists_of(past))
        # Approved, they are of the past themselves: then there is nothing left to compare.
        own = filter(is_remembered, concerned)
        await self._near.of(_lists_of(concerned), [*here, *_lists_of(own)])

    def _news(self, state: State, t_ms: int) -> Iterator[OrderRecord]:
        """Yield the orders that block or will and that are to be judged, or to be judged again."""
        for index in state.live:
            order = state.orders[index]
            if order.status is not OrderStatus.APPROVED or order.until_ms <= t_ms:
                continue
            if not is_concerned(order, blocks_names=self._blocks_names):
                continue
            judged = self._judged.get(index)
            if (
                judged is None
                or not judged.is_of(order)
                or any(map(self._lists.has, judged.unread))
            ):
                yield order
        gone = [index for index in self._judged if index not in state.live]
        for index in gone:
            del self._judged[index]

    async def _group(
        self,
        state: State,
        news: list[OrderRecord],
        past: list[OrderRecord],
        unread: frozenset[str],
    ) -> None:
        """Find the past orders that each may share a target with."""
        found = await self._near.of(_lists_of(news), set(_lists_of(past)) - unread)
        for order in news:
            near = found[order.payload.target_list_sha256]
            among = [each for each in past if each.payload.target_list_sha256 in near]
            facts = granted_facts(state, order, among)
            if facts is not None and facts.relations:
                self._due[order.index] = order, facts, unread
            else:
                self._note(order, _CLEAR, unread)
        if unread:
            _log.warning("limits judged without past lists", lists=len(unread), orders=len(news))

    async def _scan(self) -> None:
        """Scan one order's list beside those of its past."""
        index, (order, facts, unread) = next(iter(self._due.items()))
        del self._due[index]
        if not all(map(self._lists.has, facts.lists)):
            return  # one was closed or altered meanwhile: it is due anew
        paths = {each: self._lists.path(each) for each in facts.lists}
        try:
            scan = await self._work.scan_guards(
                GuardJob(facts, paths, self._lists.salted(facts.lists))
            )
        except EnforcerError as error:
            self._due[index] = order, facts, unread  # behind the others
            _log.warning("limits not judged", index=index, problem=error.message)
            raise
        self._note(order, replace(scan, report=b""), unread)
        if scan.counts:
            names = ", ".join(guard.name for guard in scan.guards)
            _log.warning("limits stand against an order", index=index, guards=names)

    def _note(self, order: OrderRecord, scan: GuardScan, unread: frozenset[str]) -> None:
        self._judged[order.index] = _Judged(scan, unread, order.granted, order.lifts)

    def _past(self, state: State) -> int:
        """Return how long all past orders can have blocked without a court; summed once a size."""
        if self._summed_size != state.size:
            self._summed_size, self._past_ms = state.size, administrative_ms(state)
        return self._past_ms


def _lists_of(orders: Iterable[OrderRecord]) -> list[str]:
    return [each.payload.target_list_sha256 for each in orders]
