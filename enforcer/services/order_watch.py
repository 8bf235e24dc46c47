"""Orders as they change: every entry that concerns one, from any ledger index on.

Nothing is left out and nothing comes twice: who is cut off goes on after the last index that
came. Refuses more watchers than it can serve, so that other calls always find room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.entry import Entry, parse
from enforcer.core.tile import TILE_WIDTH
from enforcer.errors import InputError, NotFoundError, UnavailableError
from enforcer.services.fleet_watch import FleetNews, FleetWatch
from enforcer.services.ledger import Ledger
from enforcer.services.order_reader import OrderReader, OrderView

WATCHERS_MAX: Final = 256
NEWS_WAITING_MAX: Final = 64
"""Of nodes, for one watcher that is slow; then the oldest are lost, and can be asked for."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One entry that concerns an order."""

    index: int
    leaf: bytes
    signed_by: tuple[str, ...]
    """Persons and machines."""
    orders: tuple[OrderView, ...]
    """All versions of the orders that it concerns, as they stand now; the newest first."""


class OrderWatch:
    """The watchers of one ledger."""

    def __init__(
        self, ledger: Ledger, reader: OrderReader, fleet: FleetWatch | None = None
    ) -> None:
        """Take the parts; without `fleet` there is no news from the nodes."""
        self._ledger = ledger
        self._reader = reader
        self._news = asyncio.Event()
        self._is_closing = False
        self._watchers = 0
        self._told: list[deque[FleetNews]] = []
        """What each watcher of nodes has not been sent yet."""
        ledger.on_append(lambda _appended: self._wake())
        if fleet is not None:
            fleet.on_news = self._tell

    def close(self) -> None:
        """Let every watcher go: this process ends, and they go on elsewhere or later."""
        self._is_closing = True
        self._wake()

    def _tell(self, news: FleetNews) -> None:
        """Pass on news from the nodes to those who watch for them."""
        for told in self._told:
            told.append(news)
        if self._told:
            self._wake()

    async def entries(
        self, start: int, order_id: str = "", *, once: bool = False, with_fleet: bool = False
    ) -> AsyncGenerator[Watched | FleetNews, None]:
        """Yield the entries that concern an order (or any), and follow unless `once`.

        With `with_fleet` news from the nodes too, as they come from now on.

        Raises:
            InputError: the ledger has no such index yet.
            NotFoundError: there is no such order.
            UnavailableError: there are too many watchers, or the control plane ends.
        """
        state = self._ledger.state
        if start > state.size:
            raise InputError(
                f"the ledger has {state.size} entries, and {start} is beyond them",
                advice="Go on after the last entry that you have; it must be of this ledger.",
                field="start_index",
            )
        if order_id and order_id not in state.versions:
            raise NotFoundError(
                f"no order {order_id} is in the ledger",
                advice="Check the order id; `enforcer order list` shows all.",
                field="order_id",
            )
        if self._watchers >= WATCHERS_MAX:
            raise UnavailableError(
                f"{WATCHERS_MAX} clients watch the orders already",
                advice="Try again in a moment, or ask for what is there now (once).",
            )
        self._watchers += 1
        told: deque[FleetNews] = deque(maxlen=NEWS_WAITING_MAX)
        if with_fleet:
            self._told.append(told)
        try:
            while True:
                news, end = self._news, state.size
                for part in _by_bundle(self._ledger.history.entries(order_id, start, end)):
                    for index, leaf in await asyncio.to_thread(self._read, part):
                        yield self._watched(index, leaf)
                start = end
                while told:
                    if self._is_of(each := told.popleft(), order_id):
                        yield each
                if once:
                    return
                if self._is_closing:
                    raise UnavailableError(
                        "the control plane is shutting down",
                        advice=f"Go on from entry {start} in a moment.",
                    )
                await news.wait()
        finally:
            self._watchers -= 1
            self._told = [each for each in self._told if each is not told]

    def _is_of(self, news: FleetNews, order_id: str) -> bool:
        order = self._ledger.state.orders[news.order_index]
        return order_id in ("", order.payload.order_id)

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _read(self, indices: Sequence[int]) -> list[tuple[int, bytes]]:
        first = indices[0]
        leaves = list(self._ledger.files.entries(first, indices[-1] + 1))
        return [(index, leaves[index - first]) for index in indices]

    def _watched(self, index: int, leaf: bytes) -> Watched:
        views = [
            view
            for order_id in self._ledger.history.order_ids(index)
            for view in self._reader.versions(order_id)
        ]
        views.sort(key=lambda view: -view.record.index)
        return Watched(index, leaf, self._signed_by(parse(leaf)), tuple(views))

    def _signed_by(self, entry: Entry) -> tuple[str, ...]:
        """Return who signed; roots have keys and no names."""
        keys = self._ledger.state.keys
        records = (keys.get(part.key_id) for part in entry.envelope.signatures)
        names = (
            each.registration.person_id or each.registration.machine_id or ""
            for each in records
            if each is not None
        )
        return tuple(dict.fromkeys(names))


def _by_bundle(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ascending entry indices in parts that lie in one bundle of the ledger each."""
    at = 0
    while at < len(indices):
        end = at
        while end < len(indices) and indices[end] // TILE_WIDTH == indices[at] // TILE_WIDTH:
            end += 1
        yield indices[at:end]
        at = end
