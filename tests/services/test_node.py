"""A node's story: it blocks what the ledger says, and nothing makes it block more or stop less."""

from __future__ import annotations

import json

from structlog.testing import capture_logs

from enforcer.core.state import Roots
from tests.node_world import BAD, MINUTE_MS, YEAR_MS, all_shown, blocking, holds
from tests.waiting import stays, until

# What a node enforces.


async def test_an_approved_order_blocks_and_a_recorded_stop_frees(world):
    async with world.running():
        ref = await blocking(world)
        assert not world.gate.blocks("good.example.org")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))


async def test_a_proposal_alone_never_blocks(world):
    world.bring(BAD)
    async with world.running():
        world.land.propose(BAD)
        await world.publish()
        await until(lambda: world.status.get("ledger", {}).get("size") == len(world.land.leaves))
        await stays(lambda: not world.gate.blocks("bad.example.org"))


async def test_one_person_in_both_roles_never_blocks(world):
    world.bring(BAD)
    async with world.running():
        ref = world.land.propose(BAD)
        world.land.approve(ref, by=world.land.proposer)
        await world.publish()
        await until(lambda: world.status.get("ledger", {}).get("ineffective"))
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: world.attested and world.attested.ineffective)


async def test_what_is_attested_is_what_the_ledger_says(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        attested = world.attested
        assert attested.ledger_size == len(world.land.leaves)
        assert attested.table_digest == world.expected_digest(attested)
        assert attested.root_sha256 == world.book.root.hex()


async def test_an_attestation_is_signed_by_the_nodes_registered_key(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        plain = json.loads(world.control.attestations[-1])
        assert plain["signatures"][0]["keyid"] == world.land.node.key.key_id
        kept = (world.state_dir / "attestation.json").read_bytes()
        await until(lambda: kept in world.control.attestations)


async def test_a_quiet_node_attests_again_after_a_minute(world):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        count = len(world.control.attestations)
        world.clock.ms += MINUTE_MS
        await until(lambda: len(world.control.attestations) > count)


async def test_a_node_whose_clock_was_years_ahead_attests_each_minute_all_the_same(world):
    async with world.running():
        await world.publish()
        await until(lambda: holds(world))
        now_ms = world.clock.ms
        world.clock.ms += 10 * YEAR_MS
        await until(lambda: world.attested.t_ms == world.clock.ms)
        world.clock.ms = now_ms
        await until(lambda: world.attested.t_ms < now_ms + 3 * MINUTE_MS)


async def test_attestations_wait_for_the_control_plane_and_only_the_newest_comes(world):
    world.control.is_away = True
    async with world.running():
        ref = await blocking(world)
        world.land.stop(ref)
        await world.publish()
        await all_shown(world)
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.control.is_away = False
        await until(lambda: world.attested and world.attested.ledger_size == len(world.land.leaves))
        assert len(world.control.attestations) < 3


# What a node is told to trust.


async def test_a_trust_file_that_refuses_the_first_entry_is_said_once_in_each_life(world):
    world.land.state.roots = Roots(world.land.state.roots.public_keys, 3)  # two have signed
    lives = []
    for _ in range(2):
        with capture_logs() as logs:
            async with world.running():
                if world.book.size == 0:
                    await world.publish()
                await until(lambda: world.status.get("ledger", {}).get("ineffective"))
        lives.append([each for each in logs if "entry 0 is refused" in each["event"]])
    for said in lives:
        assert len(said) == 1
        assert said[0]["log_level"] == "error"
        assert "root_threshold" in said[0]["advice"]


async def test_a_trust_file_that_fits_the_ledger_is_not_warned_of(world):
    with capture_logs() as logs:
        async with world.running():
            await blocking(world)
    assert not [each for each in logs if "entry 0" in each["event"]]
