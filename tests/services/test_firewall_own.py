"""What a node's firewall never cuts off: the operator's own addresses, and what the gate asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from enforcer.core.firewall import FirewallState
from enforcer.core.policy import Pins
from enforcer.core.table import LocalLayer
from tests.node_world import World
from tests.people import seal
from tests.services.firewall_node import (
    INNER,
    OUTER,
    SLOW,
    attests,
    order,
    with_firewall,
)
from tests.waiting import stays, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_firewall(tmp_path)


async def test_the_operators_own_addresses_pass_and_the_rest_of_the_order_does_not(world):
    world.host.own = ("192.0.2.7/32", "203.0.113.0/24")
    async with world.running():
        ref = order(world, b"ip 203.0.113.53\nnet 192.0.2.0/29\n")
        other = order(world, INNER)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.6") and world.blocks("198.51.100.9"))
        assert not world.blocks("192.0.2.7")
        assert not world.blocks("203.0.113.53")
        await until(lambda: attests(world) and world.attested.curtailed == (ref.entry_index,))
        local = LocalLayer(protected=b"ip 192.0.2.7\nnet 203.0.113.0/24\n")
        assert world.attested.local_digest == local.digest
        await until(lambda: world.status["firewall"]["curtailed"] == [ref.entry_index])
        assert world.status["firewall"]["protected"] == ["192.0.2.7/32", "203.0.113.0/24"]
        assert ref != other


async def test_no_rule_comes_before_the_operators_own_addresses_are_known(world):
    world.host.is_away = True
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world, FirewallState.UNAVAILABLE))
        assert not world.firewall.content.rows
        world.host.is_away = False
        await until(lambda: world.blocks("192.0.2.7"))


async def test_new_addresses_of_the_host_are_protected_while_it_runs(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        world.host.own = ("192.0.2.7/32",)
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world))


async def test_what_a_gate_asks_is_protected_when_it_comes_and_not_a_minute_later(world):
    world.firewall_pace = SLOW
    world.gate.is_away = True
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        world.host.own = ("192.0.2.7/32",)
        await stays(lambda: world.blocks("192.0.2.7"), looks=5)
        world.gate.is_away = False
        await until(lambda: not world.blocks("192.0.2.7"))


async def test_an_order_that_new_protections_object_to_is_taken_out(world):
    async with world.running():
        ref = order(world, OUTER)
        order(world)
        await world.publish()
        await until(lambda: world.blocks("198.51.100.9") and world.blocks("192.0.2.7"))
        pins = Pins(None, world.bring(INNER), None, None)
        world.land.record(seal(world.land.policy(pins=pins), *world.land.roots[:2]))
        await world.publish()
        await until(lambda: not world.blocks("198.51.100.8"))
        await until(lambda: attests(world, FirewallState.HOLDS, ref.entry_index))
        assert world.blocks("192.0.2.7")
