"""A node's firewall beside its gate: neither waits for the other, nor an end for anything."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest

from enforcer.backends.memory_firewall import MemoryFirewall
from enforcer.core.attestation import NotEnforced
from enforcer.core.firewall import FirewallState, pack_pieces
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import GateMode
from enforcer.services import firewall_cutting, firewalling
from enforcer.services.firewall_pace import FirewallPace
from tests.node_world import World, cannot
from tests.services.firewall_node import (
    BOTH,
    INNER,
    SLOW,
    TARGETS,
    attests,
    order,
    with_firewall,
)
from tests.waiting import until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return with_firewall(tmp_path)


async def test_what_the_operator_switches_off_at_the_gate_is_off_in_the_firewall(world):
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        world.gate.mode = GateMode.BYPASS
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world, FirewallState.HOLDS, ref.entry_index))
        assert world.attested.omissions[0].reason is NotEnforced.BYPASSED
        world.gate.mode = GateMode.ENFORCE
        await until(lambda: world.blocks("192.0.2.7") and attests(world))


async def test_what_the_gate_cannot_take_is_not_half_enforced(world):
    async with world.running():
        targets = b"exact bad.example.org\nip 192.0.2.7\n"
        index = world.land.state.size

        async def refuse(job):
            if any(row.index == index for row, _ in job.orders):
                raise InputError("it does not fit", advice="Order something else.")
            return await compile_(job)

        compile_, world.work.compile = world.work.compile, refuse
        world.work.compile_overlay = refuse
        order(world, targets, BOTH)
        await world.publish()
        await until(lambda: cannot(world) == [index])
        await until(lambda: not world.blocks("192.0.2.7"))
        await until(lambda: attests(world, FirewallState.HOLDS, index))


async def test_a_gate_that_hangs_keeps_no_stop_from_the_firewall(world):
    world.firewall_pace = SLOW
    async with world.running() as node:
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))

        async def hang(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        world.gate.status = world.gate.overlay = world.gate.load = hang
        stopping = asyncio.create_task(node.offer_stop(world.stop_bytes(ref)))
        await until(lambda: not world.blocks("192.0.2.7"))
        assert not stopping.done()
        stopping.cancel()


async def test_orders_by_the_thousand_are_flattened_while_a_stop_goes_through(world, monkeypatch):
    async with world.running() as node:
        small = order(world)
        await world.publish()
        await until(lambda: attests(world))
        flatten, started = world.pieces.flatten, []

        async def slow(job):
            started.append(job)
            await until(lambda: not world.blocks("192.0.2.7"))
            return await flatten(job)

        monkeypatch.setattr(world.pieces, "flatten", slow)
        big = b"".join(sorted(b"ip 198.51.%d.%d\n" % (n >> 8, n & 255) for n in range(2_000)))
        order(world, big)
        await world.publish()
        await until(lambda: started)
        await node.offer_stop(world.stop_bytes(small))
        await until(lambda: world.blocks("198.51.7.207") and not world.blocks("192.0.2.7"))
        await until(lambda: attests(world, FirewallState.HOLDS, small.entry_index))


async def test_a_stop_does_not_wait_until_much_is_read_back(world, monkeypatch):
    monkeypatch.setattr(firewalling, "PROVEN_AT_ONCE_MAX", 0)
    read, started, may_end = MemoryFirewall.read, [], asyncio.Event()
    world.firewall_pace = FirewallPace(settle_seconds=0.02)

    async def slow(self):
        found = await read(self)
        if found.content.rows:
            started.append(self)
            await may_end.wait()
        return found

    async with world.running():
        monkeypatch.setattr(MemoryFirewall, "read", slow)
        ref = order(world)
        order(world, INNER)
        await world.publish()
        await until(lambda: started and world.blocks("198.51.100.9"))
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("192.0.2.7"))
        may_end.set()
        await until(lambda: attests(world))
        assert world.attested.repairs == 0


async def test_nothing_waits_until_connections_are_cut(world, monkeypatch):
    cut, may_cut = MemoryFirewall.cut, asyncio.Event()

    async def slow(self, pieces):
        await may_cut.wait()
        return await cut(self, pieces)

    monkeypatch.setattr(MemoryFirewall, "cut", slow)
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7") and attests(world))
        ref = order(world, INNER)
        await world.publish()
        await until(lambda: world.blocks("198.51.100.9") and attests(world))
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("198.51.100.9") and attests(world))
        assert not world.firewall.cuts
        may_cut.set()
        await until(lambda: world.firewall.cuts)
        networks = map(ip_network, ("192.0.2.7/32", "2001:db8:7::/48"))
        first = world.firewall.content.rows[0].index
        assert world.firewall.cuts == [pack_pieces((each, first) for each in networks)]


async def test_connections_that_cannot_be_cut_are_tried_again(world, monkeypatch):
    monkeypatch.setattr(firewall_cutting, "RETRY_SECONDS", 0.01)
    cut, failures = MemoryFirewall.cut, [UnavailableError("no memory", advice="Wait.")] * 3

    async def failing(self, pieces):
        if failures:
            raise failures.pop()
        return await cut(self, pieces)

    monkeypatch.setattr(MemoryFirewall, "cut", failing)
    async with world.running():
        order(world)
        await world.publish()
        await until(lambda: attests(world) and world.firewall.cuts)
        assert len(world.firewall.cuts) == 1


@pytest.mark.parametrize("error", [UnavailableError, InputError])
async def test_an_order_that_the_kernel_does_not_take_keeps_no_other_from_ending(
    world, monkeypatch, error
):
    def limited(call):
        async def within_memory(self, change, lease_seconds):
            if len(getattr(change, "added", getattr(change, "pieces", ()))) > 100:
                raise error("it does not fit", advice="Order less.")
            await call(self, change, lease_seconds)

        return within_memory

    monkeypatch.setattr(MemoryFirewall, "apply", limited(MemoryFirewall.apply))
    monkeypatch.setattr(MemoryFirewall, "replace", limited(MemoryFirewall.replace))
    async with world.running():
        ref = order(world)
        await world.publish()
        await until(lambda: attests(world))
        order(world, b"".join(sorted(b"ip 198.51.100.%d\n" % last for last in range(200))))
        await world.publish()
        await until(lambda: world.status["firewall"]["problem"] == "it does not fit")
        assert world.blocks("192.0.2.7")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.blocks("192.0.2.7"))
        assert not world.blocks("198.51.100.7")


async def test_a_list_that_was_altered_on_the_disk_keeps_nothing_from_ending(world):
    async with world.running() as node:
        small = order(world, INNER)
        order(world)
        await world.publish()
        await until(lambda: attests(world))
    altered = world.state_dir / "ledger" / "lists" / sha256(TARGETS).hexdigest()
    altered.write_bytes(b"ip 203.0.113.1\n")
    world.feed.lists.clear()
    async with world.running() as node:
        await until(lambda: world.status)
        await node.offer_stop(world.stop_bytes(small))
        await until(lambda: not world.blocks("198.51.100.9"))
        assert world.blocks("192.0.2.7")
        assert not world.blocks("203.0.113.1")
        world.bring(TARGETS)
        await until(lambda: attests(world, FirewallState.HOLDS, small.entry_index))
        assert world.blocks("192.0.2.7")
