"""What an intruder, or a wrong file, shows a node: refused, counted, and said plainly.

Enforcing goes on all the while, and when the feed is true again the node follows it on.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from enforcer.backends.feed_format import StreamEntry
from enforcer.backends.keys import PrivateKey
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.state import Roots
from enforcer.core.trust import Trust
from tests import node_world
from tests.node_world import WORSE, Log, World, all_shown, blocking, feed_is
from tests.waiting import stays, until

OTHER_ORIGIN = "other.example.org/ledger"
STRANGER = PrivateKey.generate()

HEADS = {
    "another ledger's, by the same key": (lambda world: Log(OTHER_ORIGIN), OTHER_ORIGIN),
    "another ledger's": (lambda world: Log(OTHER_ORIGIN, STRANGER), "not signed by"),
    "by another key": (lambda world: Log(world.land.origin, STRANGER), "not signed by"),
}


@pytest.mark.parametrize("head", HEADS)
async def test_a_head_that_is_not_this_logs_is_refused_and_said(world, head):
    made, words = HEADS[head]
    async with world.running() as node:
        await blocking(world)
        world.feed.head = made(world).seal(Checkpoint(made(world).origin, 99, bytes(32)))
        world.feed.log[world.book.size] = StreamEntry(world.book.size, b"x", world.feed.head)
        world.feed.wake()
        assert words in await feed_is(world, "REFUSING")
        await stays(lambda: world.gate.blocks("bad.example.org"), looks=5)
        assert node.view().split_views == 0
        await world.mend()
        await blocking(world, WORSE, "worse.example.org")
        await feed_is(world, "OK")


def garbage(chance: random.Random, world: World) -> bytes:
    """Return octets of any kind and size."""
    note = world.book.checkpoint_note
    size = chance.choice((0, 1, 7, 300, 20_000, 70_000))
    return chance.choice((chance.randbytes(size), b"[" * size, note + b"x" * size, note))


async def test_garbage_in_every_part_of_the_feed_is_borne_and_counted(world):
    chance = random.Random(6)
    async with world.running() as node:
        await blocking(world)
        for _ in range(60):
            feed, part = world.feed, chance.randrange(6)
            if part == 0:
                feed.head = garbage(chance, world)
            elif part == 1:
                feed.cosigned = garbage(chance, world)
            elif part == 2:
                feed.bundles[0] = garbage(chance, world)
            elif part == 3:
                feed.stops.append(garbage(chance, world))
            elif part == 4:
                feed.lists[chance.choice(list(feed.lists))] = garbage(chance, world)
            else:
                index = world.book.size + chance.randrange(3)
                entry = StreamEntry(index, garbage(chance, world), garbage(chance, world))
                feed.log[index] = entry
            feed.wake()
            await stays(lambda: world.gate.blocks("bad.example.org"), looks=1)
        await until(lambda: node.view().feed_faults or world.status["feed"]["reason"])
        world.feed.clear()
        world.bring(node_world.BAD)
        await world.mend()
        await blocking(world, WORSE, "worse.example.org")
        await feed_is(world, "OK")
        assert (await all_shown(world))["ledger"]["ineffective"] == []


def other_ledger(trust: Trust) -> Trust:
    return Trust(OTHER_ORIGIN, Log(OTHER_ORIGIN, STRANGER).vkey.text, trust.roots)


def other_key(trust: Trust) -> Trust:
    return replace(trust, log_vkey=Log(trust.origin, STRANGER).vkey.text)


async def test_a_node_whose_trust_file_names_other_roots_enforces_nothing_and_says_so(
    world, monkeypatch
):
    true = node_world.trust_of
    roots = Roots((STRANGER.public_key, PrivateKey.generate().public_key), 2)
    monkeypatch.setattr(node_world, "trust_of", lambda *given: replace(true(*given), roots=roots))
    world.bring(node_world.BAD)
    world.land.in_force_order()
    with capture_logs() as logs:
        async with world.running():
            await world.publish()
            await until(lambda: world.status.get("ledger", {}).get("ineffective"))
            await stays(lambda: not world.gate.blocks("bad.example.org"), looks=5)
            await until(lambda: world.status["orders_in_force"] == 0)
    (said,) = [each for each in logs if each["log_level"] == "error"]
    assert "entry 0 is refused" in said["event"]
    assert "root_keys" in said["advice"]


@pytest.mark.parametrize("wrong", [other_ledger, other_key], ids=lambda each: each.__name__)
async def test_a_node_with_the_wrong_trust_file_enforces_nothing_and_says_why(
    world, monkeypatch, wrong
):
    true = node_world.trust_of
    monkeypatch.setattr(node_world, "trust_of", lambda *given: wrong(true(*given)))
    world.bring(node_world.BAD)
    world.land.in_force_order()
    with capture_logs() as logs:
        async with world.running():
            await world.publish()
            assert "not signed by" in await feed_is(world, "REFUSING")
            await stays(lambda: not world.gate.blocks("bad.example.org"), looks=5)
            assert world.status["ledger"]["size"] == 0
    assert any(each["event"] == "does not follow the feed" for each in logs)


async def test_an_empty_feed_is_said_with_the_name_of_the_ledger_that_is_looked_for(world):
    """What a node sees whose trust file names a ledger that this Redis does not carry."""
    async with world.running():
        await until(lambda: world.land.origin in world.status.get("feed", {}).get("reason", ""))
        assert world.status["feed"]["state"] == "STALE"
