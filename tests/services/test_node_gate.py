"""A node and its gate: restarted, ahead of it, or left alone."""

from __future__ import annotations

from enforcer.core.attestation import GateState
from tests.node_world import BAD, MINUTE_MS, WORSE, World, blocking, holds, omitted
from tests.people import Land
from tests.waiting import until


async def test_a_gate_that_was_restarted_gets_its_table_again(world):
    async with world.running():
        await blocking(world)
        world.gate.is_away = True
        world.clock.ms += MINUTE_MS
        await until(lambda: world.attested and world.attested.gate is GateState.UNREACHABLE)
        await until(lambda: world.status["gate"]["state"] == "UNREACHABLE")
        world.gate.restart()
        world.gate.is_away = False
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)


async def test_a_gate_that_holds_a_newer_table_keeps_it_and_that_is_attested(world):
    async with world.running():
        await blocking(world)
    older = World(world.directory / "older", world.land)
    older.gate, older.clock = world.gate, world.clock
    older.bring(BAD)
    older.land = Land.founded()
    older.log.origin = older.land.origin
    async with older.running():
        for leaves in (older.land.leaves[:7],):
            note = older.book.append(leaves, older.log.seal)
            await older.publisher.publish(0, leaves, note)
        await until(lambda: "refused" in older.status.get("gate", {}).get("problem", ""))
        await until(lambda: older.attested and older.attested.gate is GateState.DIFFERS)


async def test_a_worker_that_died_is_no_end(world):
    async with world.running():
        await blocking(world)
        world.work.is_away = True
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        await world.publish()
        await until(lambda: omitted(world))
        assert world.gate.blocks("bad.example.org")
        world.work.is_away = False
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_orders_that_end_by_themselves_need_nothing_to_be_handed_over(world):
    async with world.running():
        await blocking(world)
        soon = world.land.now_ms + 10 * MINUTE_MS
        for number in range(12):
            name = b"n%d.example.org" % number
            world.bring(b"exact %s\n" % name)
            end = soon if number < 9 else soon + MINUTE_MS
            world.land.in_force_order(b"exact %s\n" % name, expires_at_ms=end, review_due_at_ms=end)
        await world.publish()
        await until(lambda: world.status["orders_in_force"] == 13)
        await until(lambda: world.gate.blocks("n11.example.org"))
        await until(lambda: holds(world))
        loads = world.gate.loads
        world.clock.ms = soon
        await until(lambda: world.status["orders_in_force"] == 4)
        world.clock.ms = soon + MINUTE_MS
        await until(lambda: world.status["orders_in_force"] == 1)
        await until(lambda: holds(world) and world.attested.t_ms == world.clock.ms)
        assert world.gate.loads == loads
        await blocking(world, WORSE, "worse.example.org")
        assert len(world.work.overlays[-1].rows) == 2  # what ended leaves with the next change
