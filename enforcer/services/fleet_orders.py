"""One order over all nodes: where it is in force, since when, who leaves it out, lags or differs.

Judged by what nodes signed, each by its newest word; a node that was not heard for three minutes
counts for nothing, one whose word is carried after a week. Always true: every node has exactly one
of the states here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from statistics import median_low

from enforcer.core.attestation import NOTHING_ENFORCED, Attestation, GateState, NotEnforced
from enforcer.core.attested import Exceptional
from enforcer.core.state import OrderRecord
from enforcer.core.table import DnsMeasure
from enforcer.services.effect_history import EffectHistory, Latencies
from enforcer.services.fleet import Fleet, NodeStanding, Word
from enforcer.services.fleet_walk import FleetWalk
from enforcer.services.ledger import Ledger


class AtNode(IntEnum):
    """How an order stands at one node."""

    UNSPECIFIED = 0
    IN_FORCE = 1
    OUT = 2
    """It is not to block, and does not."""
    LEFT_OUT = 3
    """It is to block, and the node says why it does not."""
    NOT_CONCERNED = 4
    """It is for names, and the node has no gate."""
    DIFFERS = 5
    """The node holds something else than the ledger gives, or showed another history."""
    LAGS = 6
    """The node was not heard for three minutes, or has not read the last act."""
    SILENT = 7
    """Nothing was ever heard of the node."""


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """One order at one node."""

    node_id: str
    at_node: AtNode
    reason: NotEnforced
    """Why it is left out; else UNSPECIFIED."""
    seen_at_ms: int | None
    """When the node was heard last."""
    in_force_at_ms: int | None
    """When the node came to enforce it first, by its own time; None: not known any more."""
    out_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Took:
    """How long an act took to reach nodes."""

    nodes: int
    median_ms: int
    slowest_ms: int
    slowest_node: str


@dataclass(frozen=True, slots=True)
class OrderFleet:
    """One order over all nodes."""

    nodes: tuple[NodeOrder, ...]
    """By node id."""
    counts: Counter[AtNode]
    """How many nodes are in which state."""
    began: Took | None
    """From when it was to block until nodes enforced it; None: nobody knows any more."""
    ended: Took | None
    """From the act that ended it until nodes did not."""


class FleetOrders:
    """The orders of one ledger at the nodes that its control plane knows."""

    def __init__(self, ledger: Ledger, fleet: Fleet, walk: FleetWalk) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._walk = walk
        self._history = EffectHistory()
        self.began, self.ended = Latencies(), Latencies()
        """Over all orders and nodes, since this process began."""
        fleet.on_word(self._note)

    async def order(self, order: OrderRecord, *, is_news: bool = False) -> OrderFleet:
        """Return how an order stands at every node; news go before what is asked for.

        Raises:
            UnavailableError: too many ask about other orders.
        """
        return await self._walk.shared(
            ("order", order.index, is_news),
            partial(self._over_all, order.index),
            is_first=is_news,
        )

    async def _over_all(self, order_index: int) -> OrderFleet:
        order = self._ledger.state.orders[order_index]
        nodes: list[NodeOrder] = []
        came: list[tuple[int, str]] = []
        went: list[tuple[int, str]] = []
        async for standing in self._walk.standings():
            here = self.at_node(order, standing, self._ledger.now_ms())
            nodes.append(here)
            if here.in_force_at_ms is not None and self._was_there(order, here.node_id):
                came.append((here.in_force_at_ms, here.node_id))
            if here.out_at_ms is not None and here.at_node is AtNode.OUT:
                went.append((here.out_at_ms, here.node_id))
        return OrderFleet(
            tuple(nodes),
            Counter(each.at_node for each in nodes),
            _took(_begins_ms(order), came),
            _took(order.ended_at_ms, went),
        )

    def at_node(self, order: OrderRecord, standing: NodeStanding, at_ms: int) -> NodeOrder:
        """Return how an order stands at one node."""
        word = standing.word
        at_node, reason = _judged(order, standing, at_ms)
        began_ms, ended_ms = self._history.times(order.index, standing.node_id)
        return NodeOrder(
            standing.node_id,
            at_node,
            reason,
            word.seen_at_ms if word is not None else None,
            began_ms,
            ended_ms,
        )

    def _was_there(self, order: OrderRecord, node_id: str) -> bool:
        """Tell whether an order could reach the node when it was approved, as far as is known.

        Not one that was registered later, and not one to which the ledger is carried.
        """
        word = self._fleet.words.get(node_id)
        if word is None or word.attestation.carried:
            return False
        key = self._ledger.state.keys.get(word.envelope.signatures[0].key_id)
        return key is not None and key.registered_index < (order.approved_index or 0)

    def _note(self, word: Word) -> None:
        orders = self._ledger.state.orders
        for effect in self._history.note(word.attestation):
            order = orders.get(effect.order_index)
            if order is None or word.attestation.carried:
                continue
            begins_ms = _begins_ms(order)
            if effect.in_force_at_ms is not None and begins_ms is not None:
                self.began.add(max(effect.in_force_at_ms - begins_ms, 0))
            if effect.out_at_ms is not None and order.ended_at_ms is not None:
                self.ended.add(max(effect.out_at_ms - order.ended_at_ms, 0))


def _judged(order: OrderRecord, standing: NodeStanding, at_ms: int) -> tuple[AtNode, NotEnforced]:
    """Return the state of an order at a node, and why it is left out."""
    nothing = NotEnforced.UNSPECIFIED
    if standing.word is None:
        return AtNode.SILENT, nothing
    said = standing.word.attestation
    last = max(order.approved_index or 0, order.ended_index or 0)
    if not standing.is_live or said.ledger_size <= last:
        return AtNode.LAGS, nothing
    if standing.exception in (Exceptional.DIFFERS, Exceptional.SPLIT_VIEW):
        return AtNode.DIFFERS, nothing
    row = order.row
    if row is None or not row.is_in_force(at_ms):
        return AtNode.OUT, nothing
    if said.gate is GateState.NONE and row.dns_measure is not DnsMeasure.NONE:
        return AtNode.NOT_CONCERNED, nothing
    if not row.is_in_force(said.t_ms):
        return AtNode.LAGS, nothing  # it began since
    reason = reason_of(said, order.index)
    return (AtNode.IN_FORCE, nothing) if reason is None else (AtNode.LEFT_OUT, reason)


def reason_of(said: Attestation, order_index: int) -> NotEnforced | None:
    """Return why a node leaves an order out, UNSPECIFIED if it names not all; None: it does not."""
    named = {each.order_index: each.reason for each in said.omissions}
    if order_index in named:
        return named[order_index]
    off = [each.reason for each in said.omissions if each.reason in NOTHING_ENFORCED]
    if off:
        return off[0]
    return NotEnforced.UNSPECIFIED if said.omission_count > len(said.omissions) else None


def _begins_ms(order: OrderRecord) -> int | None:
    if order.approved_at_ms is None:
        return None
    return max(order.approved_at_ms, order.payload.not_before_ms)


def _took(since_ms: int | None, reached: Sequence[tuple[int, str]]) -> Took | None:
    """Return how long it took; what came before the act was recorded took no time."""
    if since_ms is None or not reached:
        return None
    slowest_at_ms, slowest_node = max(reached)
    median_at_ms = median_low(at_ms for at_ms, _ in reached)
    median_ms, slowest_ms = (max(at_ms - since_ms, 0) for at_ms in (median_at_ms, slowest_at_ms))
    return Took(len(reached), median_ms, slowest_ms, slowest_node)
