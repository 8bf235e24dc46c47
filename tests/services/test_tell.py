"""When a node attests and shows what is new: soon, and of many nodes not all at once."""

from __future__ import annotations

import json
from dataclasses import replace

from enforcer.services.attest import FLEET_ATTESTS_A_SECOND, wait_seconds
from tests.node_world import BAD, QUICK, WORSE, World, all_shown, blocking, holds, in_the_ledger
from tests.waiting import until


def test_nodes_wait_their_turn_by_how_many_there_are():
    assert all(wait_seconds(10, 30.0) < 10 / FLEET_ATTESTS_A_SECOND for _ in range(100))
    many = [wait_seconds(10_000, 30.0) for _ in range(1_000)]
    assert max(many) < 30.0
    assert min(many) < 5.0
    assert max(many) > 25.0
    assert wait_seconds(10_000, 0.0) == 0.0


async def test_the_status_is_shown_while_the_attestation_waits_its_turn(world: World, monkeypatch):
    slow = replace(QUICK, tell_within_seconds_max=3_600.0)
    world.pace = slow
    monkeypatch.setattr("enforcer.services.telling.wait_seconds", lambda _nodes, most: most)
    async with world.running():
        await in_the_ledger(world, BAD)
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert world.attested is None


async def test_what_comes_while_a_node_waits_is_attested_with_the_rest(world: World, monkeypatch):
    slow = replace(QUICK, tell_within_seconds_max=0.5)
    world.pace = slow
    monkeypatch.setattr("enforcer.services.telling.wait_seconds", lambda _nodes, most: most)
    async with world.running() as node:
        for targets in (BAD, b"exact more.example.org\n"):
            world.bring(targets)
            world.land.in_force_order(targets)
            await world.publish()
            await until(lambda: node.state.size == len(world.land.leaves))
        await until(lambda: world.gate.blocks("more.example.org") and holds(world))
        assert world.gate.blocks("bad.example.org")
        assert len(world.control.attestations) <= 3


async def test_a_word_that_only_says_how_far_a_node_has_read_waits_for_more(world: World):
    slow = replace(QUICK, tell_progress_seconds=3_600.0)
    world.pace = slow
    async with world.running() as node:
        await blocking(world)
        await until(lambda: holds(world))
        said = len(world.control.attestations)
        world.land.propose(WORSE)
        await world.publish()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))
        assert node.state.size == len(world.land.leaves)
        assert len(world.control.attestations) == said
        await blocking(world, b"exact more.example.org\n", "more.example.org")
        await until(lambda: holds(world))
        assert len(world.control.attestations) > said


async def test_the_status_is_sorted_with_a_line_for_each_part(world: World):
    async with world.running():
        await blocking(world)
        await until(lambda: holds(world))
        await all_shown(world)
    text = (world.state_dir / "status.json").read_text()
    lines = text.splitlines()
    assert lines[0] == "{"
    assert lines[-1] == "}"
    parts = [line.split('"')[1] for line in lines[1:-1]]
    assert parts == sorted(parts)
    assert set(parts) == set(json.loads(text))
