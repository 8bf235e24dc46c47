"""A node and the time: orders begin and end by themselves, and no clock revives or frees one."""

from __future__ import annotations

from shutil import rmtree

import pytest

from enforcer.core.attestation import GateState
from enforcer.errors import IntegrityError
from tests.node_world import (
    BAD,
    MINUTE_MS,
    WORSE,
    YEAR_MS,
    all_shown,
    blocking,
    feed_is,
    holds,
    in_the_ledger,
    omitted,
    stopped_here,
)
from tests.people import seal
from tests.waiting import stays, until


async def test_an_order_ends_by_itself_and_its_end_is_attested(world):
    async with world.running():
        soon = world.land.now_ms + MINUTE_MS
        await blocking(world, expires_at_ms=soon, review_due_at_ms=soon)
        await until(lambda: holds(world))
        digest = world.attested.table_digest
        world.feed.is_away = True
        world.control.lists.clear()
        world.clock.ms = soon
        await until(lambda: world.attested.table_digest != digest)
        assert not world.gate.blocks("bad.example.org")
        assert world.attested.table_digest == world.expected_digest(world.attested)


async def test_an_order_that_begins_later_begins_by_itself(world):
    world.bring(BAD)
    begins = world.land.now_ms + 10 * MINUTE_MS
    async with world.running():
        world.land.in_force_order(BAD, not_before_ms=begins)
        await world.publish()
        await all_shown(world)
        await until(lambda: world.gate.loads)
        assert not world.gate.blocks("bad.example.org")
        world.feed.is_away = True
        world.clock.ms = begins
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(
            lambda: (said := world.attested) and said.table_digest == world.expected_digest(said)
        )


async def test_a_clock_that_steps_back_revives_nothing(world):
    soon = world.land.now_ms + MINUTE_MS
    async with world.running():
        await blocking(world, expires_at_ms=soon, review_due_at_ms=soon)
        await until(lambda: holds(world))
        digest = world.attested.table_digest
        world.clock.ms = soon + 1
        await until(lambda: world.attested.table_digest != digest)
        world.clock.ms = soon - 30_000
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
    async with world.running():
        await until(lambda: world.gate.loads)
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: world.status["t_ms"] >= soon)
        await until(lambda: world.status["orders_in_force"] == 0)


async def test_a_clock_that_was_years_ahead_and_is_set_right_blocks_again(world):
    async with world.running() as node:
        ref = await blocking(world)
        await until(lambda: holds(world))
        now_ms = world.clock.ms
        world.clock.ms += 10 * YEAR_MS
        await until(lambda: world.status["orders_in_force"] == 0)
        # Even a table that is compiled meanwhile takes nothing of that time to the gate.
        policy = world.land.policy(register_url="https://other.example.org/")
        world.land.record(seal(policy, *world.land.roots[:2]))
        await node.offer_stop(world.stop_bytes(ref))
        loads = world.gate.loads
        await in_the_ledger(world, WORSE)
        await until(lambda: world.gate.loads > loads)
        world.clock.ms = now_ms
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: stopped_here(world) == [ref.entry_index])
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)
        await until(lambda: omitted(world) == [ref.entry_index])
        assert world.attested.t_ms <= now_ms + 3 * MINUTE_MS
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("bad.example.org")


async def test_an_agent_that_lost_its_floor_takes_up_the_gates(world):
    """Else the gate, which never goes back, would take no table with a stop."""
    async with world.running():
        ref = await blocking(world)
        world.clock.advance(24 * 60 * MINUTE_MS)
        await blocking(world, WORSE, "worse.example.org")
    rmtree(world.state_dir)
    async with world.running() as node:
        await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: stopped_here(world) and world.attested.gate is GateState.HOLDS_TABLE)
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_a_floor_that_cannot_be_read_is_not_gone_on_from(world):
    world.state_dir.mkdir(parents=True)
    (world.state_dir / "floor").write_bytes(b"yesterday\n")
    with pytest.raises(IntegrityError, match="floor"):
        async with world.running():
            pass


async def test_an_entry_from_the_future_waits_but_a_stop_in_it_acts_at_once(world):
    async with world.running():
        ref = await blocking(world)
        taken = len(world.land.leaves)
        now_ms = world.clock.ms
        world.bring(WORSE)
        world.land.now_ms += 10 * MINUTE_MS
        world.land.in_force_order(WORSE)
        world.land.stop(ref)
        await world.publish()
        world.clock.ms = now_ms
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await feed_is(world, "WAITING")
        assert not world.gate.blocks("worse.example.org")
        assert world.status["ledger"]["size"] == taken
        world.clock.ms = world.land.now_ms - 120_000
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("bad.example.org")
        await until(lambda: not world.status["unlogged_stops"])


async def test_120_seconds_ahead_are_taken_and_one_millisecond_more_waits(world):
    async with world.running():
        await blocking(world)
        world.land.record(seal(world.land.order(), world.land.proposer.key))
        await world.publish()
        world.clock.ms = world.land.now_ms
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        world.land.record(seal(world.land.order(), world.land.proposer.key), after_ms=120_001)
        now_ms = world.clock.ms
        await world.publish()
        world.clock.ms = now_ms
        await feed_is(world, "WAITING")
        world.clock.ms += 1
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
