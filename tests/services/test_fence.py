"""Voices against a ledger: as many as leave no quorum, and no fewer."""

from __future__ import annotations

import asyncio

import pytest

from enforcer.backends.delta_files import DeltaFiles
from enforcer.backends.keys import PrivateKey
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedPublisher
from enforcer.core.cosignature import NOBODY
from enforcer.errors import UnavailableError
from enforcer.services.deltas import Deltas
from enforcer.services.fence import Fence
from enforcer.services.publication import Publication
from tests.control import Desk
from tests.people import seal
from tests.waiting import until
from tests.witnesses import named

KEYS = [PrivateKey.generate() for _ in range(5)]


@pytest.mark.parametrize(("count", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (5, 5)])
def test_a_ledger_is_replaced_once_no_quorum_is_left_for_it(count, quorum):
    witnesses = named(KEYS[:count], quorum)
    fence, told = Fence(witnesses), []
    fence.on_replaced(told.append)
    for at, key in enumerate(witnesses.keys, 1):
        fence.is_elsewhere({key: 9})
        fence.is_elsewhere({key: 9})  # one voice, however often
        assert bool(told) == (count - at < quorum)
    assert len(told) == 1
    assert "was replaced" in told[0].message


def test_a_witness_that_cosigns_what_is_here_takes_its_voice_back():
    witnesses = named(KEYS[:3], 2)
    fence = Fence(witnesses)
    first, second, _ = witnesses.keys
    fence.is_elsewhere({first: 9})
    fence.is_here({first: 10}, 5)
    fence.is_elsewhere({second: 9})
    assert fence.error is None
    fence.is_elsewhere({first: 11})
    assert fence.error is not None


def test_what_a_witness_cosigned_here_before_takes_neither_voice_nor_word_back():
    witnesses = named(KEYS[:3], 2)
    first, second, third = witnesses.keys
    fence = Fence(witnesses)
    fence.is_elsewhere({first: 9})
    fence.is_here({first: 9}, 7)
    fence.is_elsewhere({second: 9})
    assert fence.error is not None
    fence = Fence(witnesses)
    fence.says_elsewhere(first, 7)
    fence.says_elsewhere(second, 7, 9)
    fence.says_elsewhere(third, 7)
    fence.is_here(dict.fromkeys(witnesses.keys, 99), 6)
    assert fence.doubt is not None
    fence.is_here({second: 9, third: 1}, 7)  # the third alone, which is known by nothing
    assert fence.doubt is not None
    fence.is_here({second: 10}, 7)
    assert fence.doubt is None


def test_words_alone_make_it_doubted_until_it_is_cosigned_and_never_replaced():
    witnesses = named(KEYS[:3], 2)
    fence, replaced, doubts = Fence(witnesses), [], []
    fence.on_replaced(replaced.append)
    fence.on_doubt(doubts.append)
    first, second, third = witnesses.keys
    fence.says_elsewhere(first, 7)
    assert doubts == []
    fence.says_elsewhere(second, 7)
    fence.says_elsewhere(third, 7)
    assert [str(each.message)[:10] for each in doubts] == ["it is said"]
    fence.is_elsewhere({third: 9})
    assert (replaced, fence.error) == ([], None)
    fence.is_here({first: 9, second: 9}, 7)
    assert doubts[1:] == [None]
    assert fence.doubt is None
    fence.is_elsewhere({second: 10})
    assert fence.error is not None
    assert len(replaced) == 1


def test_where_nobody_witnesses_nobody_has_a_voice():
    fence = Fence(NOBODY)
    fence.is_elsewhere(dict.fromkeys(named(KEYS, 3).keys, 9))
    assert fence.error is None


async def test_a_replaced_ledger_answers_what_it_has_and_takes_no_act_and_hands_stops_on(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        ref = await desk.propose()
        approved = seal(desk.land.approval(ref), desk.land.approver.key)
        await desk.orders.approve(approved, validate_only=False)
        fence = Fence(named(KEYS[:3], 2))
        fence.on_replaced(desk.ledger.replace_by)
        fence.is_elsewhere(dict.fromkeys(named(KEYS[:3], 2).keys, 9))
        size = desk.ledger.state.size
        with pytest.raises(UnavailableError, match="was replaced"):
            await desk.propose()
        again = await desk.ledger.record(approved)
        assert again.is_repeated
        with pytest.raises(UnavailableError) as caught:
            await desk.stopping.stop(desk.stop_of(ref))
        assert caught.value.data["nodes_told"] is True
        assert desk.ledger.state.size == size


async def test_a_doubted_ledger_takes_what_lifts_blocks_and_shows_it_and_new_ones_when_words_end(
    tmp_path,
):
    async with Desk(tmp_path, interval_seconds=0.05) as desk:
        await desk.found()
        officer = desk.land.officer
        await desk.ledger.record(seal(officer.registration(desk.land.now_ms), *desk.land.roots[:2]))
        first, second, third = [
            await desk.propose(f"exact {name}.example.org\n".encode()) for name in "abc"
        ]
        await desk.approve(first)
        await desk.approve(second)
        keys = named(KEYS[:3], 2).keys
        fence = Fence(named(KEYS[:3], 2))
        fence.on_replaced(desk.ledger.replace_by)
        fence.on_doubt(desk.ledger.doubt)
        for key in keys:
            fence.says_elsewhere(key, 7)
        assert desk.ledger.leaves_feed_alone
        for act in (desk.propose(b"exact d.example.org\n"), desk.approve(third)):
            with pytest.raises(UnavailableError, match="was replaced"):
                await act
        await desk.stopping.stop(desk.stop_of(first))
        await desk.ledger.record(seal(desk.land.suspending(second), officer.key))
        head = desk.files.checkpoint_note
        await until(lambda: desk.feed.head == head)
        desk.feed.clear()
        await until(lambda: desk.feed.head == head)
        fence.is_here(dict.fromkeys(keys[:2], 9), 7)
        size = desk.ledger.state.size
        assert (await desk.approve(third)).index == size


async def test_a_doubted_ledger_leaves_the_feed_alone_until_it_records_something(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        ref = await desk.propose()
        feed = MemoryFeed()
        publisher = MemoryFeedPublisher(feed)
        deltas = Deltas(publisher, desk.lists, DeltaFiles(tmp_path / "deltas"), desk.work)
        fence = Fence(named(KEYS[:3], 2))
        fence.on_doubt(desk.ledger.doubt)
        for key in named(KEYS[:3], 2).keys:
            fence.says_elsewhere(key, 7)
        async with Publication(publisher, desk.ledger, desk.lists, deltas, 0.01):
            await asyncio.sleep(0.2)  # twenty times as long as it may wait
            assert feed.head is None
            await desk.stopping.stop(desk.stop_of(ref))
            await until(lambda: feed.head == desk.files.checkpoint_note)
