"""What a node refuses of the feed, and that it goes on with what it has."""

from __future__ import annotations

import pytest

from enforcer.backends.memory_feed import StreamEntry
from enforcer.core.entry import Entry, encode
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.errors import ConflictError
from tests.node_world import MINUTE_MS, WORSE, World, blocking, feed_is
from tests.people import Person, seal
from tests.waiting import stays, until


# What a node refuses.
async def forge(world: World, *leaves: bytes, is_signed: bool = True) -> None:
    """Put leaves at the end of the feed, under a checkpoint that the log signed or did not."""
    size = world.book.size
    everything = [*world.land.leaves[:size], *leaves]
    note = world.log.note(everything) if is_signed else world.book.checkpoint_note
    for index, leaf in enumerate(leaves, size):
        world.feed.log[index] = StreamEntry(index, leaf, note)
    world.feed.head = note
    world.feed.wake()


async def test_a_forged_entry_in_the_stream_is_refused_and_the_node_goes_on(world):
    async with world.running():
        await blocking(world)
        note = world.book.checkpoint_note
        forger = Person("mallory", world.land.proposer.role, "cert-vn")
        leaf = encode(Entry(world.land.now_ms, seal(world.land.order(WORSE), forger.key)))
        size = world.book.size
        fake = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
        world.feed.log[size] = StreamEntry(size, leaf, fake)
        world.feed.wake()
        assert "signature" in await feed_is(world, "REFUSING")
        assert world.gate.blocks("bad.example.org")
        world.bring(WORSE)
        world.land.in_force_order(WORSE)
        with pytest.raises(ConflictError):
            await world.publish()
        await world.mend()
        await until(lambda: world.gate.blocks("worse.example.org"))
        await feed_is(world, "OK")


async def test_a_rolled_back_feed_is_refused_and_blocking_goes_on(world):
    async with world.running():
        await blocking(world)
        old = world.land.leaves[:5]
        world.feed.clear()
        world.feed.head = world.log.note(old)
        assert "rolled back" in await feed_is(world, "REFUSING")
        await stays(lambda: world.gate.blocks("bad.example.org"))


async def test_two_histories_of_one_size_are_refused(world):
    async with world.running():
        await blocking(world)
        world.feed.head = world.log.note([*world.land.leaves[:-1], b"another"])
        assert "two histories" in await feed_is(world, "REFUSING")


async def test_an_unknown_kind_stops_following_but_orders_go_on_ending(world):
    soon = world.land.now_ms + MINUTE_MS
    async with world.running():
        await blocking(world, expires_at_ms=soon, review_due_at_ms=soon)
        size = len(world.land.leaves)
        signature = seal(world.land.order(), world.land.proposer.key).signatures
        later = Envelope("application/vnd.enforcer.later.v1+json", b"{}", signature)
        await forge(world, encode(Entry(world.land.now_ms, later)))
        assert "unknown kind" in await feed_is(world, "REFUSING")
        assert world.gate.blocks("bad.example.org")
        world.clock.ms = soon
        await until(lambda: world.status["orders_in_force"] == 0)
        assert not world.gate.blocks("bad.example.org")
        assert world.status["ledger"]["size"] == size


async def test_a_stop_beside_an_entry_that_cannot_be_understood_is_obeyed(world):
    async with world.running():
        ref = await blocking(world)
        stop = seal(world.land.stopping(ref), world.land.oversight.key)
        later = Envelope("application/vnd.enforcer.later.v1+json", b"{}", stop.signatures)
        now_ms = world.land.now_ms
        await forge(world, encode(Entry(now_ms, later)), encode(Entry(now_ms, stop)))
        await until(lambda: not world.gate.blocks("bad.example.org"))
        await until(lambda: world.control.stops == [format_envelope(stop)])


async def test_time_running_backwards_stops_following(world):
    async with world.running():
        await blocking(world)
        act = seal(world.land.order(), world.land.proposer.key)
        await forge(world, encode(Entry(world.land.now_ms - 1, act)))
        assert "before" in await feed_is(world, "REFUSING")


async def test_a_gap_is_told_and_following_goes_on_when_it_is_filled(world):
    async with world.running():
        await blocking(world)
        world.land.propose(WORSE)
        world.land.propose(WORSE)
        first = world.book.size
        note = world.book.append(world.land.leaves[first:], world.log.seal)
        world.feed.log[first + 1] = StreamEntry(first + 1, world.land.leaves[first + 1], note)
        world.feed.head = note
        assert "lacks entries" in await feed_is(world, "STALE")
        await world.mend()
        await until(lambda: world.status["ledger"]["size"] == len(world.land.leaves))


async def test_a_wiped_feed_changes_nothing_and_is_followed_again(world):
    async with world.running():
        await blocking(world)
        world.feed.clear()
        await until(lambda: "no head" in world.status["feed"]["reason"])
        await until(lambda: world.status["feed"]["state"] == "STALE")
        assert world.gate.blocks("bad.example.org")
        await world.mend()
        await feed_is(world, "OK")
