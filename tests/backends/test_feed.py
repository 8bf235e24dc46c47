"""The feed, in memory and in a real Redis: what readers get of it, and what is mended."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from enforcer.backends import feed_format, memory_feed, redis_source
from enforcer.backends.feed_format import stream_floor
from enforcer.core.checkpoint import Checkpoint
from enforcer.errors import ConflictError, NotFoundError
from tests.backends.feed_world import ORIGIN, SOON_MS, read_all


async def whole(chunks):
    return b"".join([chunk async for chunk in chunks])


async def test_entries_come_with_the_checkpoint_that_covers_exactly_them(medium, book, source):
    await book.add(3)
    update = await source.next(0, SOON_MS)
    assert update.leaves == tuple(book.leaves)
    assert update.checkpoint_note == book.files.checkpoint_note == await source.head()


async def test_a_reader_in_the_middle_gets_only_what_it_lacks(medium, book, source):
    await book.add(3)
    await book.add(2)
    update = await source.next(4, SOON_MS)
    assert (update.first_index, update.leaves) == (4, (b"entry 4",))


async def test_a_waiting_reader_is_woken_by_the_next_entry(medium, book, source):
    await book.add()
    waiting = asyncio.create_task(source.next(1, 20_000))
    await asyncio.sleep(0.05)
    await book.add()
    assert (await waiting).leaves == (b"entry 1",)


async def test_too_much_for_one_update_comes_in_parts_under_the_same_checkpoint(
    medium, book, source, monkeypatch
):
    for module in (memory_feed, redis_source):
        monkeypatch.setattr(module, "UPDATE_LEAVES_MAX", 300)
    await book.add(1_500)
    update = await source.next(0, SOON_MS)
    assert 300 <= len(update.leaves) < 700
    assert update.checkpoint_note == book.files.checkpoint_note
    assert await read_all(source) == book.leaves


@pytest.fixture
def near(monkeypatch):
    """Have a waypoint after each hundred entries."""
    monkeypatch.setattr(feed_format, "WAYPOINT_ENTRIES", 100)


def waypoints(book):
    sizes = range(100, book.files.size + 1, 100)
    return {size: book.seal(Checkpoint(ORIGIN, size, book.files.root_at(size))) for size in sizes}


async def test_a_reader_that_is_far_behind_goes_from_waypoint_to_waypoint(
    medium, book, source, near
):
    await book.add(1_250)
    notes = waypoints(book)
    assert await book.publisher.show_waypoints(notes) == 12
    assert await book.publisher.show_waypoints(notes) == 0
    sizes = [0]
    while (update := await source.next(sizes[-1], SOON_MS)) is not None:
        sizes.append(sizes[-1] + len(update.leaves))
        expected = notes.get(sizes[-1], book.files.checkpoint_note)
        assert update.checkpoint_note == expected
    assert sizes == [*range(0, 1_300, 100), 1_250]
    assert not any(source.faults.values())
    assert len((await source.next(1_149, SOON_MS)).leaves) == 51


async def test_without_a_waypoint_the_head_is_gone_by_and_garbage_is_counted(
    medium, book, source, near
):
    await book.add(350)
    notes = waypoints(book)
    await book.publisher.show_waypoints({100: b"garbage", 200: notes[100]})
    for size in (0, 150, 250):
        update = await source.next(size, SOON_MS)
        assert len(update.leaves) == 350 - size
        assert update.checkpoint_note == book.files.checkpoint_note
    assert source.faults == {"an older checkpoint is none of its size": 2}
    assert await book.publisher.show_waypoints(notes) == 3
    assert len((await source.next(0, SOON_MS)).leaves) == 100


async def test_nothing_new_is_none(medium, book, source):
    await book.add()
    assert await source.next(1, SOON_MS) is None


async def test_an_empty_feed_has_neither_head_nor_entries(medium, source):
    assert await source.head() is None
    assert await source.next(0, SOON_MS) is None


async def test_the_cosigned_checkpoint_is_shown_beside_the_head(medium, book, source):
    await book.add(3)
    assert await source.cosigned() is None
    note = book.files.checkpoint_note
    await book.add(2)
    await book.publisher.show_cosigned(note)
    assert await source.cosigned() == note
    assert await source.head() == book.files.checkpoint_note
    assert (await book.reconcile()).was_forged is False
    await medium.flush()
    assert await source.cosigned() is None


@pytest.mark.parametrize("batch", [1, 100, 700])
async def test_a_reader_from_the_beginning_gets_everything_through_the_bundles(
    medium, book, source, batch
):
    while book.files.size < 1_600:
        await book.add(batch if batch > 1 else 400)
    assert await read_all(source) == book.leaves


async def test_the_stream_keeps_at_least_512_and_at_most_1024(medium, book):
    for _ in range(20):
        await book.add(97)
        kept = await medium.stream()
        assert kept == list(range(stream_floor(book.files.size), book.files.size))
        assert min(512, book.files.size) <= len(kept) <= 1_024


async def test_publishing_after_a_wipe_says_that_the_feed_must_be_mended(medium, book, source):
    await book.add(300)
    await medium.flush()
    with pytest.raises(ConflictError):
        await book.add()
    assert (await book.reconcile()).entries == 301
    assert await read_all(source) == book.leaves


async def test_reconciling_refills_everything_after_a_wipe(medium, book, source):
    digest = book.files.lists.put(b"exact bad.example.org\n")
    await book.add(1_300)
    await book.publisher.put_list(digest, book.files.lists.path(digest))
    await medium.flush()
    found = await book.reconcile(digest)
    assert (found.bundles, found.lists, found.was_forged) == (5, 1, False)
    assert await read_all(source) == book.leaves
    assert b"".join([chunk async for chunk in source.list_chunks(digest)]) == (
        b"exact bad.example.org\n"
    )


async def test_a_delta_stands_beside_its_list_and_is_refilled(medium, book, source, tmp_path):
    new, old = "a" * 64, "b" * 64
    path = tmp_path / "delta"
    path.write_bytes(b"+exact bad.example.org\n" * 100_000)
    await book.add()
    for wanted in ({}, {(new, old): path}):
        found = await book.publisher.reconcile(book.files, book.files.lists, (), wanted)
        assert found.lists == len(wanted)
    assert await whole(source.delta_chunks(new, old)) == path.read_bytes()
    for pair in ((old, new), (new, new)):
        with pytest.raises(NotFoundError):
            await whole(source.delta_chunks(*pair))
    with pytest.raises(NotFoundError):
        await whole(source.list_chunks(new))
    await medium.flush()
    await book.publisher.put_delta(new, old, path)
    assert await whole(source.delta_chunks(new, old)) == path.read_bytes()
    for _ in range(5):
        found = await book.publisher.reconcile(book.files, book.files.lists, (), wanted)
    assert found.lists == 0


async def test_only_lists_that_are_kept_stay_with_their_deltas_and_wraps(medium, book, source):
    kept, old = (
        book.files.lists.put(b"exact %b.example.org\n" % (letter * 50_000))
        for letter in (b"a", b"b")
    )
    await book.add(300)
    for digest, other in ((kept, old), (old, kept)):
        path = book.files.lists.path(digest)
        await book.publisher.put_list(digest, path)
        await book.publisher.put_delta(digest, other, path)
        await book.publisher.put_wrap(digest, other, b"wrap")
    assert await book.publisher.keep_lists([kept], [(kept, old)])
    assert await whole(source.list_chunks(kept))
    assert await whole(source.delta_chunks(kept, old))
    assert await source.wrap(kept, old) == b"wrap"
    for gone in (source.list_chunks(old), source.delta_chunks(old, kept)):
        with pytest.raises(NotFoundError):
            await whole(gone)
    with pytest.raises(NotFoundError):
        await source.wrap(old, kept)
    assert await book.publisher.keep_lists([kept], [(kept, old)]) == 0
    assert await read_all(source) == book.leaves
    await book.publisher.keep_lists([], [])
    assert not (await book.reconcile()).bundles
    assert await read_all(source) == book.leaves


async def test_a_wrap_is_there_for_its_receiver_alone(book, source):
    await book.publisher.put_wrap("a" * 64, "b" * 64, b"wrap")
    assert await source.wrap("a" * 64, "b" * 64) == b"wrap"
    for sealed, key_id in (("a", "c"), ("c", "b"), ("b", "a")):
        with pytest.raises(NotFoundError, match="has no wrap"):
            await source.wrap(sealed * 64, key_id * 64)


async def test_reconciling_again_finds_nothing_to_do(medium, book):
    digest = book.files.lists.put(b"exact bad.example.org\n")
    await book.add(300)
    await book.reconcile(digest)
    found = await book.reconcile(digest)
    assert (found.entries, found.bundles, found.lists, found.was_forged) == (0, 0, 0, False)


async def test_a_new_process_takes_over_the_feed_of_the_last_one(medium, book, source):
    await book.add(10)
    book.publisher, old = medium.publisher(), book.publisher
    await old.close()
    assert not (await book.reconcile()).was_forged
    await book.add(600)
    assert await read_all(source) == book.leaves
    await book.publisher.close()


async def test_a_forged_entry_in_the_stream_is_found_and_replaced(medium, book, source):
    await book.add(5)
    await medium.set_entry(5, b"forged", book.files.checkpoint_note)
    with pytest.raises(ConflictError):
        await book.add()
    found = await book.reconcile()
    assert found.was_forged
    assert await read_all(source) == book.leaves


async def test_an_altered_entry_in_the_stream_is_found_and_replaced(medium, book, source):
    await book.add(5)
    await medium.set_entry(2, b"forged", book.files.checkpoint_note)
    assert (await book.reconcile()).was_forged
    assert await read_all(source) == book.leaves


async def test_an_altered_checkpoint_beside_an_entry_is_found_and_replaced(medium, book):
    await book.add(5)
    await medium.set_entry(4, b"entry 4", b"forged")
    assert (await book.reconcile()).was_forged
    assert not (await book.reconcile()).was_forged


async def test_a_forged_head_is_found_and_replaced(medium, book, source):
    _, _, note = book.append(5)
    await book.reconcile()
    await medium.set_head(note.replace(b"\n5\n", b"\n9\n"))
    assert (await book.reconcile()).was_forged
    assert await source.head() == note


async def test_a_head_that_claims_more_than_there_is_stops_nobody(medium, book, source):
    await book.add(5)
    note = book.files.checkpoint_note
    await medium.set_head(note.replace(b"\n5\n", b"\n900000\n"))
    assert (await source.next(0, SOON_MS)).leaves == tuple(book.leaves)


async def test_a_trimmed_stream_does_not_leave_a_reader_waiting(medium, book, source):
    await book.add(700)
    await medium.trim_before(690)
    assert await source.next(600, SOON_MS) is None  # 600 to 689 are nowhere now, and that shows
    assert source.faults
    await book.reconcile()
    assert await read_all(source, 600) == book.leaves[600:]


async def test_a_stream_that_was_made_anew_does_not_leave_a_reader_waiting(medium, book, source):
    await book.add(3)
    waiting = asyncio.create_task(source.next(3, 20_000))
    await asyncio.sleep(0.03)
    await medium.flush()
    book.append()
    await book.reconcile()
    assert (await waiting).leaves == (b"entry 3",)


async def test_a_head_that_moves_without_the_stream_is_seen_by_a_waiting_reader(
    medium, book, source
):
    await book.add(200)
    waiting = asyncio.create_task(source.next(200, 20_000))
    await asyncio.sleep(0.03)
    _, _, note = book.append(56)
    await medium.set_bundle(0, book.files.bundle(0))
    await medium.set_head(note)
    assert (await waiting).leaves == tuple(book.leaves[200:])


async def test_an_altered_bundle_is_read_and_mended_in_turn(medium, book, source):
    await book.add(1_600)
    await medium.set_bundle(1, b"garbage")
    assert await source.next(0, SOON_MS) is None
    assert (await book.reconcile()).bundles == 1
    assert await read_all(source) == book.leaves


async def test_a_head_of_garbage_counts_as_none(medium, book, source):
    await book.add()
    await medium.set_head(b"\xff garbage")
    assert await source.head() is None
    assert sum(source.faults.values()) == 1


async def test_stops_come_to_those_who_wait_and_to_those_who_come_later(medium, book, source):
    await book.publisher.push_stop(b"first")
    stops = source.stops()
    assert await anext(stops) == b"first"
    waiting = asyncio.create_task(anext(stops))
    await asyncio.sleep(0.03)
    await book.publisher.push_stop(b"second")
    assert await waiting == b"second"
    await stops.aclose()


async def test_a_list_that_nobody_put_there_is_not_found(medium, source):
    with pytest.raises(NotFoundError):
        await anext(source.list_chunks("0" * 64))


async def test_a_list_of_many_chunks_comes_back_whole(medium, book, source):
    text = b"".join(b"exact n%07d.example.org\n" % at for at in range(120_000))
    digest = book.files.lists.put(text)
    await book.publisher.put_list(digest, book.files.lists.path(digest))
    chunks = [chunk async for chunk in source.list_chunks(digest)]
    assert len(chunks) > 2
    assert sha256(b"".join(chunks)).hexdigest() == digest


async def test_publisher_and_source_take_turns_while_entries_and_wipes_come(medium, book, source):
    """Whatever happens to the feed, a reader that follows ends with the ledger's entries."""
    got: list[bytes] = []
    for turn in range(30):
        try:
            await book.add(turn * 7 % 50 + 1)
        except ConflictError:
            await book.reconcile()
        if turn % 7 == 3:
            await medium.flush()
        update = await source.next(len(got), 0)
        if update is not None:
            got += update.leaves
    await book.reconcile()
    got += await read_all(source, len(got))
    assert got == book.leaves
