"""A node without a gate does nothing for orders against names, and its word says just that."""

from __future__ import annotations

from hashlib import sha256
from shutil import rmtree

from enforcer.backends.memory_firewall import FirewallMemory
from enforcer.core.attestation import EffectTime, GateState
from enforcer.core.firewall import FirewallState
from enforcer.core.order import Measure
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.services.gate_rounds import GateRounds
from tests.node_world import BAD, World, in_the_ledger
from tests.waiting import until

REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
BOTH = Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
ADDRESS = b"ip 192.0.2.7\n"
MIXED = b"exact bad.example.org\nip 192.0.2.8\n"


def gateless(world: World) -> World:
    world.has_gate = False
    return world


def attested_all(world: World) -> bool:
    """Tell whether the last word is about the whole ledger, and what an auditor computes."""
    said = world.attested
    return (
        said is not None
        and said.gate is GateState.NONE
        and said.ledger_size == len(world.land.leaves)
        and said.table_digest == world.expected_digest(said)
    )


async def test_orders_against_names_are_neither_enforced_nor_listed_as_omitted(world):
    async with gateless(world).running() as node:
        await in_the_ledger(world, BAD)
        await until(lambda: attested_all(world))
        assert world.attested.omissions == ()
        await until(lambda: world.status["gate"]["state"] == "NONE")
        await until(lambda: world.status["gate"]["problem"] == "")
        await until(lambda: world.status["orders_in_force"] == 0)
        assert node.view().gate is GateState.NONE


async def test_lists_that_only_a_gate_needs_are_not_fetched(world):
    async with gateless(world).running():
        await in_the_ledger(world, BAD)
        world.bring(ADDRESS)
        world.land.in_force_order(ADDRESS, measure=REJECT)
        await world.publish()
        lists = world.state_dir / "ledger" / "lists"
        await until((lists / sha256(ADDRESS).hexdigest()).exists)
        await until(lambda: attested_all(world))
        assert not (lists / sha256(BAD).hexdigest()).exists()
        await until(lambda: world.status["missing_lists"] == [])


async def test_its_firewall_blocks_what_is_against_addresses_alone(world):
    world.firewall = FirewallMemory()
    async with gateless(world).running():
        world.bring(ADDRESS)
        world.bring(MIXED)
        world.land.in_force_order(ADDRESS, measure=REJECT)
        world.land.in_force_order(MIXED, measure=BOTH)
        await world.publish()
        await until(lambda: world.blocks("192.0.2.7"))
        await until(lambda: attested_all(world) and world.attested.firewall is FirewallState.HOLDS)
        await until(lambda: [each.out_at_ms for each in world.attested.effects] == [None])
        assert not world.blocks("192.0.2.8")  # half of an order is no order's words
        assert world.attested.omissions == ()


def effects(world: World) -> dict[int, EffectTime]:
    return {each.order_index: each for each in world.attested.effects}


async def blocking(world: World, address: str = "192.0.2.7") -> int:
    """Have an order against an address enforced, and attested; return its index."""
    targets = f"ip {address}\n".encode()
    world.bring(targets)
    ref = world.land.in_force_order(targets, measure=REJECT)
    await world.publish()
    await until(lambda: world.blocks(address) and ref.entry_index in effects(world))
    return ref.entry_index


async def test_what_its_firewall_has_before_the_first_round_is_over_has_its_time(
    world, monkeypatch
):
    world.firewall = FirewallMemory()
    enforce = GateRounds._enforce

    async def late(rounds):
        await until(lambda: world.blocks("192.0.2.7"))  # the firewall waits for no round
        return await enforce(rounds)

    monkeypatch.setattr(GateRounds, "_enforce", late)
    async with gateless(world).running():
        index = await blocking(world)
        assert effects(world) == {index: EffectTime(index, world.clock.ms, None)}


async def test_what_it_finds_at_its_start_has_no_time_and_what_was_stopped_since_has_its_end(world):
    world.firewall = FirewallMemory()
    async with gateless(world).running():
        kept, stopped = await blocking(world), await blocking(world, "192.0.2.9")
    (world.state_dir / "attestation.json").unlink()
    world.control.attestations.clear()
    world.land.stop(world.land.ref(stopped))
    await world.publish()
    async with world.running():
        await until(lambda: effects(world) == {stopped: EffectTime(stopped, None, world.clock.ms)})
        other = await blocking(world, "192.0.2.10")
        assert effects(world).keys() == {stopped, other}
        assert world.blocks("192.0.2.7"), kept


async def test_what_its_firewall_kept_has_no_time_though_it_must_read_the_whole_ledger(world):
    world.firewall = FirewallMemory()
    async with gateless(world).running():
        await blocking(world)
    rmtree(world.state_dir)
    world.control.attestations.clear()
    async with world.running():
        await until(lambda: attested_all(world) and world.attested.firewall is FirewallState.HOLDS)
        other = await blocking(world, "192.0.2.9")
        assert effects(world).keys() == {other}


async def test_a_stop_of_what_it_does_not_enforce_is_passed_on_all_the_same(world):
    async with gateless(world).running() as node:
        ref = await in_the_ledger(world, BAD)
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: world.control.stops)
        await until(lambda: world.status["unlogged_stops"] and attested_all(world))
        assert world.attested.omissions == ()


async def test_without_orders_against_addresses_it_needs_no_list_at_all(world):
    async with gateless(world).running():
        await in_the_ledger(world, BAD)
        await until(lambda: attested_all(world))
        assert not list((world.state_dir / "ledger" / "lists").glob("*"))
        await until(lambda: world.status["missing_lists"] == [])
