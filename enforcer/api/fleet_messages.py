"""What the control plane knows of its nodes, as messages."""

from __future__ import annotations

from collections import Counter

from enforcer.core.attested import Exceptional
from enforcer.services.fleet import NodeStanding
from enforcer.services.fleet_orders import AtNode, OrderFleet, Took
from enforcer.services.fleet_watch import FleetNews
from enforcer.v1 import audit_pb2, order_pb2


def order_fleet(fleet: OrderFleet, *, with_nodes: bool) -> order_pb2.OrderFleet:
    """Write how an order stands at the nodes."""
    counts = fleet.counts
    return order_pb2.OrderFleet(
        counts=[
            order_pb2.OrderFleetCount(state=_at_node(each), nodes=counts[each])
            for each in AtNode
            if counts[each]
        ],
        began=_took(fleet.began),
        ended=_took(fleet.ended),
        nodes=[
            order_pb2.OrderNode(
                node_id=each.node_id,
                state=_at_node(each.at_node),
                reason=each.reason.name if each.at_node is AtNode.LEFT_OUT else "",
                seen_at_ms=each.seen_at_ms or 0,
                in_force_at_ms=each.in_force_at_ms or 0,
                out_at_ms=each.out_at_ms or 0,
            )
            for each in (fleet.nodes if with_nodes else ())
        ],
    )


def news(told: FleetNews, fleet: OrderFleet) -> order_pb2.FleetNews:
    """Write news of an order at the nodes."""
    return order_pb2.FleetNews(
        kind=order_pb2.FleetNewsKind.ValueType(told.kind),
        order_index=told.order_index,
        at_ms=told.at_ms,
        node_id=told.node_id,
        fleet=order_fleet(fleet, with_nodes=False),
    )


def node_state(exception: Exceptional | None) -> audit_pb2.NodeState.ValueType:
    """Write what is not as it should be with a node, if anything."""
    if exception is None:
        return audit_pb2.NODE_STATE_RIGHT
    return audit_pb2.NodeState.ValueType(exception)


def fleet_counts(
    standings: list[NodeStanding], recorded_until_ms: int
) -> audit_pb2.GetFleetResponse:
    """Write how many nodes are in which state."""
    counts = Counter(each.exception for each in standings if each.exception is not None)
    return audit_pb2.GetFleetResponse(
        nodes=len(standings),
        live=sum(each.is_heard for each in standings),
        counts=[
            audit_pb2.FleetCount(state=node_state(kind), nodes=count)
            for kind, count in sorted(counts.items())
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
