"""A node's firewall holds what the ledger says, for as long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from enforcer.core.firewall import FirewallState
from enforcer.core.table import IpMeasure
from enforcer.services.firewall_pace import LEASE_GRACE_SECONDS
from tests.node_world import World, all_shown, cannot, stopped_here
from tests.services.firewall_node import (
    BOTH,
    DROP,
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


async def test_an_order_blocks_its_addresses_and_no_neighbour(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7") and world.blocks("2001:db8:7::1"))
        assert not any(map(world.blocks, ("192.0.2.6", "192.0.2.8", "2001:db8:8::1")))
        await until(lambda: attests(world))


async def test_a_stop_lets_packets_pass_again(world):
    world.firewall_pace = SLOW
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world))


async def test_a_stop_from_any_path_is_obeyed_ahead_of_the_ledger(world):
    world.firewall_pace = SLOW
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        await until(lambda: attests(world, FirewallState.HOLDS, ref.entry_index))


async def test_an_order_begins_and_ends_by_the_nodes_time_with_everything_else_away(world):
    world.clock.ms = world.land.now_ms
    async with world.running():
        begins_ms, ends_ms = world.land.now_ms + 60_000, world.land.now_ms + 120_000
        order(world, not_before_ms=begins_ms, expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
        await world.publish()
        await until(lambda: attests(world))
        await all_shown(world)  # what begins later needs its list by then
        world.feed.is_away = world.control.is_away = world.gate.is_away = True
        assert not world.blocks("192.0.2.7")
        world.clock.advance(begins_ms - world.clock.ms)
        await until(lambda: world.blocks("192.0.2.7"))
        world.clock.advance(ends_ms - world.clock.ms - 1)
        await stays(lambda: world.blocks("192.0.2.7"), looks=5)
        world.clock.advance(1)
        await until(lambda: not world.firewall.content.rows)


async def test_what_a_node_that_is_gone_leaves_ends_with_the_order(world):
    async with world.running():
        ends_ms = world.land.now_ms + 600_000
        order(world, expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
        await world.publish()
        await until(lambda: attests(world))
    world.clock.advance(ends_ms - world.clock.ms - 1_000)
    assert world.blocks("192.0.2.7")
    world.clock.advance(1_000 + LEASE_GRACE_SECONDS * 1_000)
    assert not world.blocks("192.0.2.7")


async def test_a_restart_changes_nothing_that_is_right(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
    before = world.firewall.content
    generation = world.firewall.generation
    world.control.attestations.clear()
    async with world.running():
        await until(lambda: attests(world))
    assert (world.firewall.content, world.firewall.generation) == (before, generation)


async def test_a_restart_beside_a_gate_that_lost_its_table_keeps_what_the_kernel_has(world):
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world))
    world.gate.restart()
    scan, may_scan = world.work.scan_guards, asyncio.Event()

    async def late(job):
        await may_scan.wait()
        return await scan(job)

    world.work.scan_guards = late
    async with world.running():
        await until(lambda: world.gate.loads)
        await stays(lambda: world.blocks("192.0.2.7"))
        may_scan.set()
        await until(lambda: attests(world))
        assert world.blocks("192.0.2.7")


async def test_a_restart_takes_out_what_ended_meanwhile(world):
    async with world.running():
        ends_ms = world.land.now_ms + 600_000
        order(world, expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
        order(world, INNER)
        await world.publish()
        await until(lambda: attests(world))
    world.clock.ms = ends_ms
    async with world.running():
        await until(lambda: not world.blocks("192.0.2.7") and world.blocks("198.51.100.9"))


async def test_a_longer_orders_end_lets_the_shorter_one_count(world):
    async with world.running():
        inner = order(world, INNER, DROP)
        order(world, OUTER)
        await world.publish()
        await until(lambda: world.blocks("198.51.100.9") and world.blocks("198.51.100.8"))
        world.land.stop(inner)
        await world.publish()
        await until(lambda: attests(world))
        assert world.blocks("198.51.100.9")
        assert [row.measure for row in world.firewall.content.rows] == [IpMeasure.REJECT]


async def test_of_two_orders_for_one_address_the_earlier_decides_and_the_other_takes_over(world):
    def deciding():
        return [int.from_bytes(world.firewall.content.pieces.ipv4[8:12], "little")]

    async with world.running():
        first, second = order(world, INNER, DROP), order(world, INNER)
        await world.publish()
        await until(lambda: attests(world) and world.blocks("198.51.100.9"))
        assert deciding() == [first.entry_index]
        world.land.stop(first)
        await world.publish()
        await until(lambda: attests(world))
        assert world.blocks("198.51.100.9")
        assert deciding() == [second.entry_index]
        world.land.stop(second)
        await world.publish()
        await until(lambda: attests(world) and not world.blocks("198.51.100.9"))


async def test_an_order_for_names_and_addresses_is_enforced_as_a_whole(world):
    targets = b"exact bad.example.org\nip 192.0.2.7\n"
    async with world.running():
        order(world, targets, BOTH)
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org") and world.blocks("192.0.2.7"))
        await until(lambda: attests(world))


async def test_without_a_firewall_an_order_against_addresses_is_attested_as_not_enforced(world):
    world.firewall = None
    targets = b"exact bad.example.org\nip 192.0.2.7\n"
    async with world.running():
        ref = order(world, targets, BOTH)
        await world.publish()
        await until(lambda: cannot(world) == [ref.entry_index])
        assert world.attested.firewall is FirewallState.NONE
        assert not world.gate.blocks("bad.example.org")


async def test_a_dry_run_says_what_it_would_do_and_enforces_nothing(world):
    world.is_dry_run = True
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: cannot(world) == [ref.entry_index])
        await until(lambda: world.status.get("firewall", {}).get("pieces") == 2)
        await until(lambda: attests(world, FirewallState.NONE, ref.entry_index))
        await until(lambda: world.status["firewall"]["is_real"] is False)
