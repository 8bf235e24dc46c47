"""A node and a new version of a long list: it fetches what differs, and believes none of it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from enforcer.backends.directory_source import DirectorySource
from enforcer.core.order import PublicationMode
from enforcer.core.policy import Pins
from tests.node_world import World, all_shown, blocking, holds
from tests.people import Land, seal
from tests.waiting import until

LINES = [b"exact n%04d.example.org\n" % n for n in range(300)]
OLD, NEW = b"".join(LINES), b"".join([*LINES[1:], b"exact worse.example.org\n"])
DELTA = b"-" + LINES[0] + b"+exact worse.example.org\n"
FAULT = "a delta is not that of the list that it names"


def digest(targets: bytes) -> str:
    return sha256(targets).hexdigest()


async def offered(world: World, delta: bytes, targets: bytes = NEW):
    """Have a node with the old list told of the new one, and of a delta alone."""
    ref = await blocking(world, OLD, "n0000.example.org")
    await offer(world, ref, delta, targets)
    return ref


async def offer(world: World, ref, delta: bytes, targets: bytes = NEW) -> None:
    world.feed.deltas[digest(targets), digest(OLD)] = delta
    await supersede(world, ref, targets)


async def supersede(world: World, ref, targets: bytes = NEW) -> None:
    """Have the list's next version in force by the ledger, whoever has it."""
    world.land.in_force_order(targets, order_id=ref.order_id, version=2, supersedes=ref)
    await world.publish()


def kept(world: World, targets: bytes) -> bytes | None:
    path = world.state_dir / "ledger" / "lists" / digest(targets)
    return path.read_bytes() if path.exists() else None


async def test_what_differs_is_all_that_a_node_needs_of_a_new_version(world):
    async with world.running():
        await offered(world, DELTA)
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: not world.gate.blocks("n0000.example.org"))
        await until(lambda: holds(world))
        assert world.gate.blocks("n0001.example.org")
        assert kept(world, NEW) == NEW
        assert (await all_shown(world))["feed"]["faults"] == {}


@pytest.mark.parametrize(
    "delta",
    [
        b"garbage",
        DELTA[:-1],
        DELTA + b"+exact z.example.org\n",
        b"+exact worse.example.org\n",
        b"+exact worse.example.org\n-" + LINES[0],
        b"-exact nobody.example.org\n",
        b"+exact n0001.example.org\n",
    ],
)
async def test_a_delta_that_is_none_counts_as_a_fault_and_the_whole_list_is_fetched(world, delta):
    async with world.running():
        await offered(world, delta)
        await until(lambda: world.status["feed"]["faults"].get(FAULT))
        assert kept(world, NEW) is None
        assert not world.gate.blocks("worse.example.org")
        world.bring(NEW)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert not world.gate.blocks("z.example.org")
        assert kept(world, NEW) == NEW


async def test_without_a_delta_the_whole_list_is_fetched_and_nothing_is_wrong(world):
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
        world.bring(NEW)
        await supersede(world, ref)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert (await all_shown(world))["feed"]["faults"] == {}


@pytest.mark.parametrize("way", ["control plane", "copy"])
async def test_a_delta_comes_from_wherever_the_feed_does_not_have_the_list(world, way):
    copy = world.directory / "copy"
    world.copies = (DirectorySource(copy),)
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
        if way == "copy":
            (copy / "deltas").mkdir(parents=True)
            (copy / "deltas" / f"{digest(NEW)}.{digest(OLD)}").write_bytes(DELTA)
        else:
            world.control.deltas[digest(NEW), digest(OLD)] = DELTA
        await supersede(world, ref)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert kept(world, NEW) == NEW
        assert (await all_shown(world))["feed"]["faults"] == {}


async def test_a_wrong_delta_of_the_control_plane_counts_and_its_whole_list_is_taken(world):
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
        world.control.deltas[digest(NEW), digest(OLD)] = DELTA + b"+exact z.example.org\n"
        world.control.lists[digest(NEW)] = NEW
        await supersede(world, ref)
        await until(lambda: world.gate.blocks("worse.example.org"))
        await until(lambda: world.status["feed"]["faults"].get(FAULT) == 1)
        assert kept(world, NEW) == NEW


async def test_nobody_else_is_asked_for_a_delta_where_the_feed_has_the_list(world):
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
        world.bring(NEW)
        await supersede(world, ref)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert world.control.asked == []


async def test_a_node_that_never_had_the_base_fetches_the_whole_list(world):
    world.bring(OLD)
    ref = world.land.in_force_order(OLD)
    world.feed.deltas[digest(NEW), digest(OLD)] = DELTA
    world.bring(NEW)
    await supersede(world, ref)
    async with world.running():
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert kept(world, OLD) is None
        assert (await all_shown(world))["feed"]["faults"] == {}


async def test_a_base_that_was_altered_here_is_not_the_feeds_fault(world):
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
        path = world.state_dir / "ledger" / "lists" / digest(OLD)
        path.write_bytes(OLD.replace(b"n0007", b"n000x"))
        world.bring(NEW)
        await offer(world, ref, DELTA)
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert (await all_shown(world))["feed"]["faults"] == {}


async def test_a_node_that_was_away_goes_on_from_the_version_that_it_has(world):
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
    await offer(world, ref, DELTA)
    async with world.running():
        await until(lambda: world.gate.blocks("worse.example.org"))
        assert kept(world, NEW) == NEW


async def test_newly_protected_names_come_as_what_they_differ_in(tmp_path):
    world = World(tmp_path, Land.founded(pins=Pins(None, digest(OLD), None, None)))
    world.bring(OLD)
    async with world.running():
        await blocking(world)
        pins = Pins(None, digest(NEW), None, None)
        world.feed.deltas[digest(NEW), digest(OLD)] = DELTA
        world.land.record(seal(world.land.policy(pins=pins), *world.land.roots[:2]))
        await world.publish()
        await until(lambda: kept(world, NEW) == NEW)
        await until(lambda: holds(world))


async def test_a_sealed_list_is_never_asked_for_as_a_delta(world):
    made = world.seal(b"exact hidden.example.org\n", PublicationMode.DELAYED)
    async with world.running():
        ref = await blocking(world, OLD, "n0000.example.org")
        world.feed.deltas[made.sha256, digest(OLD)] = b"garbage"
        world.feed.deltas[made.sealed_sha256, digest(OLD)] = b"garbage"
        made.in_force(world.land, order_id=ref.order_id, version=2, supersedes=ref)
        await world.publish()
        await until(lambda: world.gate.blocks("hidden.example.org"))
        assert (await all_shown(world))["feed"]["faults"] == {}
