"""News of orders at the nodes: every node has it, or one holds something else.

An order is followed from the act that begins or ends it until every node that is heard from has
it in force, or out, or leaves it out for a reason that lasts. Refuses to follow more than
`ORDERS_MAX` at once: then the oldest is let go, and `order show` says how it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from enforcer.core.attestation import NotEnforced
from enforcer.core.attested import LAG_MS_MAX
from enforcer.services.fleet import Fleet, Word
from enforcer.services.fleet_orders import AtNode, FleetOrders, NodeOrder
from enforcer.services.ledger import Appended, Ledger

ORDERS_MAX: Final = 16
SWEEP_MS: Final = 5_000

PASSING: Final = frozenset(
    (
        NotEnforced.UNSPECIFIED,
        NotEnforced.LIST_MISSING,
        NotEnforced.UNWITNESSED,
        NotEnforced.CANARY_AWAITED,
    )
)
"""Reasons to leave an order out that pass by themselves."""
SETTLED: Final = frozenset((AtNode.IN_FORCE, AtNode.OUT, AtNode.LEFT_OUT, AtNode.NOT_CONCERNED))


class NewsKind(IntEnum):
    """What became known."""

    UNSPECIFIED = 0
    REACHED = 1
    """Every node that is heard from has read the act, and does as it says or says why not."""
    NODE_DIFFERS = 2
    """A node holds something else than the ledger gives."""


@dataclass(frozen=True, slots=True)
class FleetNews:
    """One thing that became known of an order at the nodes."""

    kind: NewsKind
    order_index: int
    at_ms: int
    node_id: str
    """Which node differs; empty in other news."""


@dataclass(slots=True)
class _Open:
    """An order that has not reached every node yet."""

    outstanding: set[str]
    swept_at_ms: int
    """When those that are not heard any more were taken out last."""
    told: set[str] = field(default_factory=set)
    """Nodes of which it was told that they differ."""


class FleetWatch:
    """Follows the newest orders of one ledger; use it from one event loop."""

    def __init__(self, ledger: Ledger, fleet: Fleet, orders: FleetOrders) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._orders = orders
        self._open: dict[int, _Open] = {}
        self.on_news: Callable[[FleetNews], None] = lambda _news: None
        """Called with what became known; it must not wait."""
        ledger.on_append(self._appended)
        fleet.on_word(self._heard)

    def _appended(self, appended: Appended) -> None:
        state, history = self._ledger.state, self._ledger.history
        changed = [
            version
            for index in range(appended.first_index, appended.first_index + len(appended.entries))
            for order_id in history.order_ids(index)
            for version in state.versions.get(order_id, ())
            if index in (state.orders[version].approved_index, state.orders[version].ended_index)
        ]
        live = self._live() if changed else set()
        for version in dict.fromkeys(changed[-ORDERS_MAX:]):
            self._open.pop(version, None)
            if live:
                self._open[version] = _Open(set(live), self._ledger.now_ms())
        while len(self._open) > ORDERS_MAX:
            del self._open[next(iter(self._open))]

    def _live(self) -> set[str]:
        since_ms = self._ledger.now_ms() - LAG_MS_MAX
        return {
            node_id
            for node_id, word in self._fleet.words.items()
            if word.received_at_ms >= since_ms and not word.attestation.carried
        }

    def _heard(self, word: Word) -> None:
        if not self._open:
            return
        state, now_ms = self._ledger.state, self._ledger.now_ms()
        node_id = word.attestation.node_id
        standing = self._fleet.standing(state, node_id, now_ms)
        oldest = min(self._open.values(), key=lambda each: each.swept_at_ms)
        if now_ms - oldest.swept_at_ms >= SWEEP_MS:  # one at a time: a fleet may be large
            oldest.swept_at_ms = now_ms
            oldest.outstanding &= self._live()
        for order_index, each in list(self._open.items()):
            order = state.orders[order_index]
            here = self._orders.at_node(order, standing, now_ms)
            if here.at_node is AtNode.DIFFERS and node_id not in each.told:
                each.told.add(node_id)
                self.on_news(FleetNews(NewsKind.NODE_DIFFERS, order_index, now_ms, node_id))
            if is_settled(here):
                each.outstanding.discard(node_id)
            if not each.outstanding:
                del self._open[order_index]
                self.on_news(FleetNews(NewsKind.REACHED, order_index, now_ms, ""))


def is_settled(here: NodeOrder) -> bool:
    """Tell whether nothing more is to be waited for at a node."""
    return here.at_node in SETTLED and not (
        here.at_node is AtNode.LEFT_OUT and here.reason in PASSING
    )
