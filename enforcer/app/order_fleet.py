"""How an order stands at the nodes, as the control plane says: read, named, as plain values.

Nobody has to believe it: each node's word is signed, `AuditService.ListAttestations` and the
recorded batches have it, and `enforcer audit verify` checks them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from enforcer.api.client import ControlClient
from enforcer.core.order import OrderRef
from enforcer.v1 import order_pb2

_PREFIX = "ORDER_AT_NODE_"


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One order at one node."""

    node_id: str
    state: str
    reason: str
    """Why it is left out; else empty."""
    seen_at_ms: int | None
    in_force_at_ms: int | None
    out_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Took:
    """How long an act took to reach the nodes that told."""

    nodes: int
    median_ms: int
    slowest_ms: int
    slowest_node: str


@dataclass(frozen=True, slots=True)
class KnownFleet:
    """One order over all nodes."""

    counts: dict[str, int]
    """State -> how many nodes are in it, without those that nobody is in."""
    began: Took | None
    ended: Took | None
    nodes: tuple[NodeLine, ...]


async def known_fleet(client: ControlClient, ref: OrderRef, *, with_nodes: bool) -> KnownFleet:
    """Read how one version of an order stands at the nodes."""
    fleet = await client.order_fleet(ref.order_id, ref.entry_index, with_nodes=with_nodes)
    return KnownFleet(
        {_name(each.state): each.nodes for each in fleet.counts},
        _took(fleet.began) if fleet.HasField("began") else None,
        _took(fleet.ended) if fleet.HasField("ended") else None,
        tuple(
            NodeLine(
                each.node_id,
                _name(each.state),
                each.reason,
                each.seen_at_ms or None,
                each.in_force_at_ms or None,
                each.out_at_ms or None,
            )
            for each in fleet.nodes
        ),
    )


def fleet_plain(fleet: KnownFleet, *, with_nodes: bool) -> dict[str, object]:
    """Return it as plain JSON values."""
    plain: dict[str, object] = {
        "counts": fleet.counts,
        "began": asdict(fleet.began) if fleet.began is not None else None,
        "ended": asdict(fleet.ended) if fleet.ended is not None else None,
    }
    return {**plain, "each": list(map(asdict, fleet.nodes))} if with_nodes else plain


def _name(state: order_pb2.OrderAtNode.ValueType) -> str:
    return order_pb2.OrderAtNode.Name(state).removeprefix(_PREFIX)


def _took(took: order_pb2.OrderFleetTook) -> Took:
    return Took(took.nodes, took.median_ms, took.slowest_ms, took.slowest_node)
