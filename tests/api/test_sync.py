"""The second path: what a control plane streams to nodes, over real gRPC with mTLS."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import pairwise

import grpc
import pytest

from enforcer.api import sync_source
from enforcer.api.client import ControlClient
from enforcer.api.sync_source import SyncSource
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.envelope import format_envelope
from enforcer.core.key import Role
from enforcer.core.note import Note
from enforcer.errors import IntegrityError, RefusedError, UnavailableError
from enforcer.services import pace, sync_feed
from enforcer.services.sync_feed import STREAMS_HELD_PER_PEER_MAX
from enforcer.v1 import node_pb2, node_pb2_grpc
from tests.control import REASONS, TARGETS, persistently, with_reasons
from tests.people import seal
from tests.waiting import WAIT_SECONDS, until

SOON_MS = 30
LONG_MS = 20_000


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let a stream begin as late as a slow machine has it; how long that may take is not asked."""
    monkeypatch.setattr(sync_source, "BEGIN_SECONDS_MAX", WAIT_SECONDS)


@asynccontextmanager
async def following(served, identity="node-1", **how):
    """Give a node's end of the second path."""
    tls = served.issue(Role.NODE, identity)
    async with served.connect(tls) as client, SyncSource(client, **how) as source:
        yield source


def size_of(note):
    return Checkpoint.parse(Note.parse(note).text).size


def leaves_of(served):
    files = served.control.ledger.files
    return tuple(files.entries(0, files.size))


async def propose(served):
    land = served.land
    async with served.client(land.proposer) as client:
        path = served.directory / "targets"
        path.write_bytes(TARGETS)
        await client.upload_targets(path)
        order = seal(with_reasons(land), land.proposer.key)
        return land.ref((await client.propose(order, [REASONS])).index)


async def stop(served, ref):
    land = served.land
    envelope = seal(land.stopping(ref), land.oversight.key)
    async with served.client(land.oversight) as client:
        await client.stop(envelope)
    return format_envelope(envelope)


async def read(source, size, count):
    leaves = []
    while len(leaves) < count:
        update = await source.next(size + len(leaves), LONG_MS)
        assert update.first_index == size + len(leaves)
        assert size_of(update.checkpoint_note) >= size + len(leaves) + len(update.leaves)
        leaves += update.leaves
    return tuple(leaves)


async def test_a_node_gets_the_same_signed_bytes_as_are_in_the_ledger(served):
    everything = leaves_of(served)
    async with following(served) as source:
        assert await read(source, 0, len(everything)) == everything
        assert await source.head() == served.control.ledger.files.checkpoint_note
        assert await read(source, 5, len(everything) - 5) == everything[5:]


async def test_a_waiting_node_is_woken_by_the_next_entry(served):
    size = served.land.state.size
    async with following(served) as source:
        waiting = asyncio.create_task(source.next(size, LONG_MS))
        assert await source.head() == served.control.ledger.files.checkpoint_note
        assert not waiting.done()
        await propose(served)
        update = await waiting
        assert update.leaves == leaves_of(served)[size:]


async def test_an_empty_ledger_has_neither_head_nor_entries(empty):
    async with following(empty) as source:
        assert await source.next(0, SOON_MS) is None
        assert await source.head() is None


async def test_heads_and_stops_come_without_the_entries_until_these_are_asked_for(served):
    async with following(served) as source:
        await source.head()
        assert served.control.sync.streams == 1
        ref = await propose(served)
        stopped = await stop(served, ref)
        async with aclosing(source.stops()) as stops:
            assert await anext(stops) == stopped
        assert not source._updates
        size = served.land.state.size
        assert await read(source, size - 2, 2) == leaves_of(served)[-2:]


async def test_stops_of_the_last_hour_are_shown_to_whoever_begins_and_older_ones_are_not(served):
    old = await stop(served, await propose(served))
    served.land.now_ms += 2 * 3_600_000
    new = await stop(served, await propose(served))
    for _ in range(2):
        async with following(served) as source, aclosing(source.stops()) as stops:
            assert await anext(stops) == new != old
        await served.stop()  # a control plane that was restarted knows them from its ledger
        await served.start()


async def test_a_stop_that_the_ledger_does_not_take_reaches_nodes_at_once(served):
    ref = await propose(served)
    served.feed.is_away = True
    ledger = served.control.ledger
    real = ledger.files.append

    def refuse(leaves, seal_with):
        raise UnavailableError("the disk is full", advice="Free space.")

    async with following(served) as source, aclosing(source.stops()) as stops:
        await source.head()
        ledger.files.append = refuse
        with pytest.raises(UnavailableError) as caught:
            await stop(served, ref)
        assert caught.value.data["nodes_told"] is True
        shown = await anext(stops)
        ledger.files.append = real
        assert shown not in b"".join(leaves_of(served))


async def test_a_restart_of_the_control_plane_costs_a_node_nothing(served):
    size = served.land.state.size
    async with following(served) as source:
        assert len(await read(source, 0, size)) == size
        waiting = asyncio.create_task(source.next(size, LONG_MS))
        await asyncio.sleep(0.05)
        await served.stop()
        with pytest.raises(UnavailableError):
            await waiting
        with pytest.raises(UnavailableError):
            await source.head()
        await served.start()
        await propose(served)

        assert (await persistently(source.next, size, LONG_MS)).leaves == leaves_of(served)[size:]


async def looked_at(source, seconds):
    """Return whether it was cut off at any look, and how long it was not looked at, at most."""
    was_cut, longest = False, 0.0
    began = last = time.monotonic()
    while last - began < seconds:
        await asyncio.sleep(0.02)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        was_cut = was_cut or source._problem is not None
    return was_cut, longest


async def test_a_silent_connection_is_given_up_and_a_heartbeat_keeps_it(served):
    async with following(served, silent_seconds_max=0.2) as source:
        await persistently(source.head)
        await until(lambda: source._problem is not None)
        assert "nothing for" in source._problem.message
    served.control.sync._heartbeat_seconds = 0.02
    async with following(served, silent_seconds_max=1.0) as source:
        for _ in range(20):
            await persistently(source.head)
            was_cut, longest = await looked_at(source, seconds=1.2)
            if longest < 0.5:  # else both ends, which share a process, may have been halted
                break
        else:
            pytest.fail("both ends were halted each time: nothing is shown")
        assert not was_cut


async def test_nobody_asks_for_entries_any_more_and_they_are_left_out_again(served):
    size = served.land.state.size
    served.control.sync._heartbeat_seconds = 0.02
    async with following(served, idle_seconds=0.1) as source:
        assert len(await read(source, 0, size)) == size
        await until(lambda: source._start is None)
        feed = served.control.sync
        await until(lambda: [each.wants_entries for each in feed._all()] == [False])
        await source.head()


async def test_what_nobody_takes_is_not_read_ahead(served, monkeypatch):
    monkeypatch.setattr(sync_feed, "PIECE_BYTES_MAX", 1)
    everything = leaves_of(served)
    async with following(served) as source:
        assert (await source.next(0, LONG_MS)).leaves == everything[:1]
        await asyncio.sleep(0.1)
        assert len(source._updates) <= 2
        assert await read(source, 1, len(everything) - 1) == everything[1:]


async def test_of_one_nodes_streams_the_newest_two_go_on(served):
    tls = served.issue(Role.NODE, "node-1")
    async with served.connect(tls) as client:
        streams = []
        for _ in range(3):
            streams.append(client.sync(0))
            await anext(streams[-1])
        with pytest.raises(UnavailableError, match="another stream"):
            async for _ in streams[0]:
                pass
        assert served.control.sync.streams == 2
        for each in streams:
            await each.aclose()
        await until(lambda: served.control.sync.streams == 0)


async def test_there_is_a_bound_on_all_streams(served, monkeypatch):
    monkeypatch.setattr(sync_feed, "STREAMS_MAX", 1)
    async with following(served) as source:
        await source.head()
        async with served.connect(served.issue(Role.NODE, "node-2")) as client:
            with pytest.raises(UnavailableError, match="1 streams"):
                await anext(client.sync(0))


async def test_at_the_bound_a_nodes_own_stream_makes_room_for_its_next(served, monkeypatch):
    monkeypatch.setattr(sync_feed, "STREAMS_MAX", 1)
    async with served.connect(served.issue(Role.NODE, "node-1")) as client:
        old = client.sync(0)
        await anext(old)
        with pytest.raises(UnavailableError, match="1 streams"):
            await anext(client.sync(0))
        with pytest.raises(UnavailableError, match="another stream"):
            async for _ in old:
                pass
        await anext(client.sync(0))


async def test_a_node_that_reads_nothing_holds_a_few_streams_and_no_more(served):
    ref = await propose(served)
    feed = served.control.sync
    async with served.deaf("node-1") as channel:
        node = node_pb2_grpc.NodeServiceStub(channel)
        calls = [node.Sync(node_pb2.SyncRequest(start_index=0)) for _ in range(10)]
        await until(lambda: sum(each.done() for each in calls) == 10 - STREAMS_HELD_PER_PEER_MAX)
        assert feed.streams == STREAMS_HELD_PER_PEER_MAX
        refused = next(each for each in calls if each.done())
        assert await refused.code() is grpc.StatusCode.UNAVAILABLE
        assert "have not ended" in await refused.details()
        async with following(served, identity="node-2") as source:
            await source.head()
        assert await stop(served, ref)
    await until(lambda: feed.streams == 0)
    everything = leaves_of(served)
    async with following(served) as source:
        assert await read(source, 0, len(everything)) == everything


async def test_a_node_that_calls_again_and_again_has_one_read_and_delays_no_stop(
    served, monkeypatch
):
    ref = await propose(served)
    feed = served.control.sync
    real, reads, may_go_on = feed._read, [], threading.Event()

    def wait_and_read(*key):
        reads.append(key)
        may_go_on.wait()
        return real(*key)

    monkeypatch.setattr(feed, "_read", wait_and_read)
    size = len(leaves_of(served))
    try:
        async with served.deaf("node-1") as channel:
            node = node_pb2_grpc.NodeServiceStub(channel)
            for index in range(10):
                call = node.Sync(node_pb2.SyncRequest(start_index=index))
                await until(lambda: feed.streams == 1)
                call.cancel()
                await until(lambda: feed.streams == 0)
        assert reads == [(0, size)]
        assert await stop(served, ref)
    finally:
        may_go_on.set()
    everything = leaves_of(served)
    async with following(served) as source:
        assert await read(source, 5, len(everything) - 5) == everything[5:]


@pytest.mark.parametrize("role", [role for role in Role if role and role is not Role.NODE])
async def test_nobody_but_a_node_follows(empty, role):
    async with empty.connect(empty.issue(role, "somebody")) as client:
        with pytest.raises(RefusedError, match="cannot call Sync"):
            await anext(client.sync(0))


async def test_many_nodes_that_want_the_same_get_one_message(served, monkeypatch):
    reads = []
    feed = served.control.sync
    real = feed._read
    monkeypatch.setattr(feed, "_read", lambda *key: reads.append(key) or real(*key))
    streams = [feed.follow(f"node-{at}", 0, with_entries=True) for at in range(20)]
    firsts = await asyncio.gather(*map(anext, streams))
    assert len(reads) == len(set(map(id, firsts))) == 1
    for each in streams:
        await each.aclose()


async def test_a_shorter_ledger_than_the_nodes_is_shown_as_it_is(served):
    async with following(served) as source:
        assert await source.next(served.land.state.size + 5, SOON_MS) is None
        assert size_of(await source.head()) == served.land.state.size


async def test_a_control_plane_whose_ledger_is_empty_now_shows_no_head_of_before(served):
    async with following(served) as source:
        assert size_of(await source.head()) == served.land.state.size
        await served.stop()
        ledger = served.config.ledger_dir
        ledger.rename(ledger.with_name("not-mounted"))
        await served.start()
        for _ in range(1_000):
            if await persistently(source.head) is None:
                break
            await asyncio.sleep(0.01)
        assert await persistently(source.head) is None


def assert_ever_rarer(calls):
    """Each pause was about twice as long as the one before, or longer; see `Backoff`."""
    shortest = sync_source.RETRY_SECONDS * (1 - pace.JITTER)
    for at, (one, other) in enumerate(pairwise(calls)):
        assert other - one >= shortest * 2**at


async def test_a_control_plane_that_ends_each_stream_is_called_ever_more_rarely(
    served, monkeypatch
):
    monkeypatch.setattr(sync_source, "RETRY_SECONDS", 0.01)
    calls = []

    async def ending(self, start_index, *, without_entries=False):
        calls.append(time.monotonic())
        yield node_pb2.SyncResponse(checkpoint=b"garbage")
        raise UnavailableError("it ends the stream", advice="Call again.")

    monkeypatch.setattr(ControlClient, "sync", ending)
    async with following(served):
        await until(lambda: len(calls) >= 6)
    assert_ever_rarer(calls)


async def test_entries_that_do_not_follow_are_not_asked_for_in_a_hurry(served, monkeypatch):
    monkeypatch.setattr(sync_source, "RETRY_SECONDS", 0.01)
    calls = []

    async def other(self, start_index, *, without_entries=False):
        calls.append(time.monotonic())
        yield node_pb2.SyncResponse(first_index=start_index + 7, entries=[b"x"], checkpoint=b"x")

    monkeypatch.setattr(ControlClient, "sync", other)
    async with following(served) as source:
        with suppress(IntegrityError, UnavailableError):
            await source.next(0, SOON_MS)
        asked = len(calls)  # for entries from another index on: that is called at once
        await until(lambda: len(calls) >= asked + 6)
    assert_ever_rarer(calls[asked:])
    assert source.faults["entries do not follow"] == len(calls)
