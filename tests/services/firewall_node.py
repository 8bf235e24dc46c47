"""A node's world with a firewall in memory, and orders against addresses."""

from __future__ import annotations

from pathlib import Path

from enforcer.backends.memory_firewall import FirewallMemory
from enforcer.core.attestation import GateState
from enforcer.core.firewall import FirewallState
from enforcer.core.order import Measure
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.ports import FirewallCount
from enforcer.services.firewall_pace import FirewallPace
from tests.node_world import World

REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
DROP = Measure(DnsMeasure.NONE, IpMeasure.DROP)
BOTH = Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
TARGETS = b"ip 192.0.2.7\nnet 2001:db8:7::/48\n"
INNER = b"ip 198.51.100.9\n"
OUTER = b"net 198.51.100.0/24\n"
NOTHING = FirewallCount(0, 0)
UNWELL = (
    b"ok: the gate holds what the ledger says\nthe firewall does not answer: the firewall is away\n"
)
SLOW = FirewallPace(3_600.0, count_seconds=3_600.0)
"""Nothing is looked at but what is told to have changed."""


def with_firewall(directory: Path) -> World:
    """Return a world whose node has a firewall."""
    world = World(directory)
    world.firewall = FirewallMemory()
    return world


def order(world: World, targets: bytes = TARGETS, measure: Measure = REJECT, **changes):
    world.bring(targets)
    return world.land.in_force_order(targets, measure=measure, **changes)


def attests(world: World, state: FirewallState = FirewallState.HOLDS, *omits: int) -> bool:
    """Tell whether the last attestation is of the ledger's end, true, and says just that."""
    said = world.attested
    return (
        said is not None
        and said.firewall is state
        and (said.pieces_digest is not None) is (state is FirewallState.HOLDS)
        and said.gate is GateState.HOLDS_TABLE
        and [each.order_index for each in said.omissions] == list(omits)
        and said.ledger_size == len(world.land.leaves)
        and said.table_digest == world.expected_digest(said)
    )
