"""A node without what it needs: feed, control plane, an order's list, the protected names."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.guard import Guard
from enforcer.core.policy import DecisionKind, Pins
from enforcer.services import layers
from tests.node_world import BAD, WORSE, World, blocking, feed_is, holds, omitted
from tests.people import Land, seal
from tests.waiting import stays, until

OTHER_LIST = "a list is not the one that its hash names"


async def test_a_node_starts_from_its_own_copy_without_feed_and_control_plane(world):
    async with world.running():
        await blocking(world)
        root = world.book.root.hex()
    world.feed.is_away = world.control.is_away = True
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))
        await until(lambda: world.status["ledger"]["root_sha256"] == root)
        await feed_is(world, "STALE")


async def test_an_order_without_its_list_waits_alone_and_is_attested_as_missing(world):
    async with world.running():
        missing = world.land.in_force_order(WORSE)
        await blocking(world)
        await until(lambda: omitted(world) == [missing.entry_index])
        await until(lambda: world.attested.gate is GateState.HOLDS_TABLE)
        (omission,) = world.attested.omissions
        assert omission.reason is NotEnforced.LIST_MISSING
        assert world.attested.table_digest == world.expected_digest(world.attested)
        await until(lambda: world.status["missing_lists"] == [sha256(WORSE).hexdigest()])
        world.bring(WORSE)
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: not world.attested.omissions)


async def test_a_list_that_only_the_control_plane_has_is_fetched_there(world):
    world.control.lists[sha256(BAD).hexdigest()] = BAD
    async with world.running():
        world.land.in_force_order(BAD)
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_a_list_with_another_hash_is_not_used_and_the_next_source_is_asked(world):
    digest = sha256(BAD).hexdigest()
    world.feed.lists[digest] = WORSE
    async with world.running():
        world.land.in_force_order(BAD)
        await world.publish()
        await until(lambda: world.status.get("missing_lists") == [digest])
        await stays(lambda: not world.gate.blocks("worse.example.org"))
        await until(lambda: world.status["feed"]["faults"].get(OTHER_LIST))
        world.control.lists[digest] = BAD
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")


async def test_a_list_that_breaks_the_grammar_is_not_enforced_and_others_go_on(world):
    wild = b"exact *.example.org\n"
    world.bring(wild)
    async with world.running():
        ref = world.land.in_force_order(wild)
        await blocking(world)
        await until(lambda: omitted(world) == [ref.entry_index])


async def test_a_list_of_another_length_than_the_order_says_is_not_enforced(world):
    world.bring(WORSE)
    async with world.running():
        ref = world.land.in_force_order(WORSE, target_count=2)
        await blocking(world)
        await until(lambda: omitted(world) == [ref.entry_index])
        assert not world.gate.blocks("worse.example.org")


async def test_a_list_that_was_altered_on_disk_is_fetched_again(world):
    async with world.running():
        await blocking(world)
    path = world.state_dir / "ledger" / "lists" / sha256(BAD).hexdigest()
    path.write_bytes(WORSE)
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")
        assert path.read_bytes() == BAD


async def test_a_list_that_is_altered_on_disk_while_the_node_runs_is_fetched_again(
    world, monkeypatch
):
    monkeypatch.setattr(layers, "REBASE_TARGETS", 0)  # the next base is compiled of it
    async with world.running():
        await blocking(world)
        path = world.state_dir / "ledger" / "lists" / sha256(BAD).hexdigest()
        path.write_bytes(b"exact good.example.org\n")
        await blocking(world, WORSE, "worse.example.org")
        await until(lambda: path.read_bytes() == BAD)
        await until(lambda: holds(world))
        assert world.gate.blocks("bad.example.org")
        assert not world.gate.blocks("good.example.org")


async def test_a_list_is_fetched_when_its_order_is_only_proposed(world):
    digest = world.bring(BAD)
    async with world.running():
        world.land.propose(BAD)
        await world.publish()
        await until((world.state_dir / "ledger" / "lists" / digest).exists)


@pytest.fixture
def protected(tmp_path: Path) -> World:
    """A world whose policy pins names that win over orders."""
    pins = Pins(None, sha256(b"exact bank.example.org\n").hexdigest(), None, None)
    return World(tmp_path, Land.founded(pins=pins))


async def test_protected_names_are_fetched_and_win(protected):
    world, land = protected, protected.land
    world.bring(b"exact bank.example.org\n")
    world.bring(b"subtree example.org\n")
    land.register(land.control)
    async with world.running():
        # A court goes beyond the protected name; as it ordered what lies above, the name passes.
        ref = land.propose(b"subtree example.org\n", decision_kind=DecisionKind.COURT_FINAL)
        land.hold(ref, Guard.PROTECTED_NAME)
        land.lift(ref, Guard.PROTECTED_NAME, overrides=("exact bank.example.org",))
        assert land.approve(ref).is_effective
        await world.publish()
        await until(lambda: world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("bank.example.org")


async def test_without_the_protected_names_nothing_new_is_blocked(protected):
    world = protected
    world.bring(BAD)
    async with world.running():
        ref = world.land.in_force_order(BAD)
        await world.publish()
        await until(lambda: omitted(world) == [ref.entry_index])
        await stays(lambda: not world.gate.blocks("bad.example.org"))
        world.bring(b"exact bank.example.org\n")
        await until(lambda: world.gate.blocks("bad.example.org"))


async def test_without_newly_protected_names_what_is_blocked_stays_and_stops_act(protected):
    world = protected
    world.bring(b"exact bank.example.org\n")
    async with world.running():
        ref = await blocking(world)
        pins = replace(
            world.land.pins, protected_names=sha256(b"exact a.example.org\n").hexdigest()
        )
        world.land.record(seal(world.land.policy(pins=pins), *world.land.roots[:2]))
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        await world.publish()
        await until(lambda: omitted(world))
        assert world.gate.blocks("bad.example.org")
        assert not world.gate.blocks("worse.example.org")
        world.land.stop(ref)
        await world.publish()
        await until(lambda: not world.gate.blocks("bad.example.org"))
        world.bring(b"exact a.example.org\n")
        await until(lambda: world.gate.blocks("worse.example.org"))


async def test_a_node_that_lost_the_protected_names_leaves_the_gate_as_it_is(protected):
    world = protected
    world.bring(b"exact bank.example.org\n")
    async with world.running():
        ref = await blocking(world)
        await blocking(world, WORSE, "worse.example.org")
    world.feed.lists.clear()
    for path in (world.state_dir / "ledger" / "lists").iterdir():
        path.unlink()
    loads = world.gate.loads
    async with world.running() as node:
        await feed_is(world, "OK")
        await stays(lambda: world.gate.blocks("bad.example.org"))
        assert world.gate.loads == loads
        # A stop acts all the same. What else is blocked cannot be compiled without the protected
        # names, and ends with it.
        await node.offer_stop(world.stop_bytes(ref))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        assert not world.gate.blocks("worse.example.org")
        world.bring(b"exact bank.example.org\n")
        world.bring(WORSE)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("bad.example.org")
