"""What the control plane knows of its nodes, as messages."""

from __future__ import annotations

import asyncio
from typing import Final

from enforcer.core.attested import Exceptional
from enforcer.services.fleet_orders import AtNode, NodeOrder, OrderFleet, Took
from enforcer.services.fleet_walk import FleetTotals
from enforcer.services.fleet_watch import FleetNews
from enforcer.v1 import audit_pb2, order_pb2

NODES_AT_ONCE: Final = 256


def order_fleet(fleet: OrderFleet) -> order_pb2.OrderFleet:
    """Write how an order stands at the nodes, without each of them."""
    counts = fleet.counts
    return order_pb2.OrderFleet(
        counts=[
            order_pb2.OrderFleetCount(state=_at_node(each), nodes=counts[each])
            for each in AtNode
            if counts[each]
        ],
        began=_took(fleet.began),
        ended=_took(fleet.ended),
    )


async def order_fleet_with_nodes(fleet: OrderFleet) -> order_pb2.OrderFleet:
    """Write how an order stands at each node, a few at a time: nothing else waits for it."""
    message = order_fleet(fleet)
    for at in range(0, len(fleet.nodes), NODES_AT_ONCE):
        message.nodes.extend(map(_order_node, fleet.nodes[at : at + NODES_AT_ONCE]))
        await asyncio.sleep(0)
    return message


def _order_node(here: NodeOrder) -> order_pb2.OrderNode:
    return order_pb2.OrderNode(
        node_id=here.node_id,
        state=_at_node(here.at_node),
        reason=here.reason.name if here.at_node is AtNode.LEFT_OUT else "",
        seen_at_ms=here.seen_at_ms or 0,
        in_force_at_ms=here.in_force_at_ms or 0,
        out_at_ms=here.out_at_ms or 0,
    )


def news(told: FleetNews, fleet: OrderFleet) -> order_pb2.FleetNews:
    """Write news of an order at the nodes."""
    return order_pb2.FleetNews(
        kind=order_pb2.FleetNewsKind.ValueType(told.kind),
        order_index=told.order_index,
        at_ms=told.at_ms,
        node_id=told.node_id,
        fleet=order_fleet(fleet),
    )


def node_state(exception: Exceptional | None) -> audit_pb2.NodeState.ValueType:
    """Write what is not as it should be with a node, if anything."""
    if exception is None:
        return audit_pb2.NODE_STATE_RIGHT
    return audit_pb2.NodeState.ValueType(exception)


def fleet_counts(totals: FleetTotals, recorded_until_ms: int) -> audit_pb2.GetFleetResponse:
    """Write how many nodes are in which state."""
    return audit_pb2.GetFleetResponse(
        nodes=totals.nodes,
        live=totals.live,
        counts=[
            audit_pb2.FleetCount(state=node_state(kind), nodes=totals.counts[kind])
            for kind in Exceptional
            if totals.counts[kind]
        ],
        recorded_until_ms=recorded_until_ms,
    )


def _at_node(state: AtNode) -> order_pb2.OrderAtNode.ValueType:
    return order_pb2.OrderAtNode.ValueType(state)


def _took(took: Took | None) -> order_pb2.OrderFleetTook | None:
    if took is None:
        return None
    return order_pb2.OrderFleetTook(
        nodes=took.nodes,
        median_ms=took.median_ms,
        slowest_ms=took.slowest_ms,
        slowest_node=took.slowest_node,
    )
