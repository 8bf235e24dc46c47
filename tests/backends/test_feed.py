"""The feed: the same cases on the memory twin and on a real Redis, then what only Redis can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import pytest
from redis.asyncio import Redis

from enforcer.backends import feed_format, memory_feed, redis_source
from enforcer.backends.feed_format import (
    FeedKeys,
    StreamEntry,
    node_acl,
    publisher_acl,
    stream_floor,
    stream_id,
)
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedPublisher, MemoryFeedSource
from enforcer.backends.redis_connection import RedisLink
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_place import RedisPlace
from enforcer.backends.redis_server import RedisServer
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.note import VerifierKey
from enforcer.errors import ConflictError, InputError, NotFoundError, UnavailableError

ORIGIN = "example.org/ledger"
KEYS = FeedKeys(ORIGIN)
SOON_MS = 30


class Book:
    """A ledger on disk and the publisher of its feed, as a control plane has them."""

    def __init__(self, path: Path, publisher) -> None:
        key = PrivateKey.generate()
        vkey = VerifierKey(ORIGIN, key.public_key)
        self.files = TileLedger.open(path, origin=ORIGIN, vkey=vkey, verify=verify, writer=True)
        self.publisher = publisher
        self.seal = lambda checkpoint: sign_checkpoint(checkpoint, vkey, key.sign)
        self.leaves: list[bytes] = []

    def append(self, count: int = 1) -> tuple[int, list[bytes], bytes]:
        first = self.files.size
        leaves = [b"entry %d" % index for index in range(first, first + count)]
        note = self.files.append(leaves, self.seal)
        self.leaves += leaves
        return first, leaves, note

    async def add(self, count: int = 1) -> None:
        await self.publisher.publish(*self.append(count))

    async def reconcile(self, *wanted: str):
        return await self.publisher.reconcile(self.files, self.files.lists, wanted)


class MemoryMedium:
    """What an attacker or an accident does to the memory twin."""

    def __init__(self) -> None:
        self.feed = MemoryFeed()

    def publisher(self):
        return MemoryFeedPublisher(self.feed)

    def source(self):
        return MemoryFeedSource(self.feed)

    async def flush(self):
        self.feed.clear()

    async def set_head(self, note):
        self.feed.head = note

    async def set_bundle(self, index, data):
        self.feed.bundles[index] = data

    async def set_entry(self, index, leaf, note):
        self.feed.log[index] = StreamEntry(index, leaf, note)

    async def trim_before(self, index):
        self.feed.log = {at: entry for at, entry in self.feed.log.items() if at >= index}

    async def stream(self):
        return sorted(self.feed.log)


class RedisMedium:
    """What an attacker or an accident does to a Redis."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis = Redis.from_url(server.url)

    async def admit(self):
        """Let in a publisher and a node with the rights that an installation gives them."""
        for user, rules in (("publisher", publisher_acl(ORIGIN)), ("node", node_acl(ORIGIN))):
            await self.redis.execute_command("ACL", "SETUSER", user, "on", ">secret", *rules)

    def place(self, user):
        return RedisPlace(self.server.url.replace("unix://", f"unix://{user}@"), "secret")

    def publisher(self):
        return RedisFeedPublisher(self.place("publisher"), ORIGIN)

    def source(self):
        return RedisFeedSource(self.place("node"), ORIGIN, poll_interval_ms=10)

    async def flush(self):
        await self.redis.flushall()

    async def set_head(self, note):
        await self.redis.set(KEYS.head, note)

    async def set_bundle(self, index, data):
        await self.redis.set(KEYS.bundle(index), data)

    async def set_entry(self, index, leaf, note):
        later = await self.redis.xrange(KEYS.log, min=stream_id(index))
        for identity, _ in later:
            await self.redis.xdel(KEYS.log, identity)
        # A deleted id cannot be given again: so the stream is made anew, as a thief would.
        kept = await self.redis.xrange(KEYS.log)
        await self.redis.delete(KEYS.log)
        forged = (stream_id(index).encode(), {b"entry": leaf, b"checkpoint": note})
        for identity, fields in [*kept, forged, *later]:
            if (identity, fields) == forged or identity != forged[0]:
                await self.redis.xadd(KEYS.log, fields, id=identity)

    async def trim_before(self, index):
        await self.redis.xtrim(KEYS.log, minid=stream_id(index), approximate=False)

    async def stream(self):
        return [
            int(identity.split(b"-")[0]) - 1 for identity, _ in await self.redis.xrange(KEYS.log)
        ]


@pytest.fixture(params=["memory", "redis"])
async def medium(request: pytest.FixtureRequest) -> AsyncIterator[MemoryMedium | RedisMedium]:
    if request.param == "memory":
        yield MemoryMedium()
        return
    medium = RedisMedium(request.getfixturevalue("redis_server"))
    await medium.admit()
    yield medium
    await medium.redis.aclose()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisMedium]:
    medium = RedisMedium(redis_server)
    await medium.admit()
    yield medium
    await medium.redis.aclose()


@pytest.fixture
async def book(medium, tmp_path: Path) -> AsyncIterator[Book]:
    publisher = medium.publisher()
    yield Book(tmp_path / "ledger", publisher)
    await publisher.close()


@pytest.fixture
async def source(medium):
    source = medium.source()
    yield source
    await source.close()


async def read_all(source, size: int = 0) -> list[bytes]:
    """Follow as a node does, without believing or checking anything."""
    leaves: list[bytes] = []
    while (update := await source.next(size + len(leaves), SOON_MS)) is not None:
        assert update.first_index == size + len(leaves)
        leaves += update.leaves
    return leaves


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


# Only a real Redis.


async def wrong_kinds(redis: Redis) -> None:
    for key in (KEYS.head, KEYS.log, KEYS.bundle(0), KEYS.stops, KEYS.manifest("0" * 64)):
        await redis.delete(key)
        await redis.sadd(key, "garbage")


async def test_keys_of_another_kind_count_as_nothing_and_are_mended(redis, tmp_path):
    publisher, source = redis.publisher(), redis.source()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(300)
    await wrong_kinds(redis.redis)
    assert await source.next(0, SOON_MS) is None
    assert await source.head() is None
    with pytest.raises(NotFoundError):
        await anext(source.list_chunks("0" * 64))
    assert source.faults["a key is of another kind"] >= 4
    assert (await book.reconcile()).was_forged
    assert await read_all(source) == book.leaves
    await publisher.close()
    await source.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"entry": b"x"},
        {"checkpoint": b"x"},
        {"entry": b"", "checkpoint": b"x"},
        {"entry": b"x" * 65_536, "checkpoint": b"x"},
        {"entry": b"x", "checkpoint": b"x" * 20_000},
        {"entry": b"x", "checkpoint": b"x", "more": b"x"},
        {"entry": b"x", "checkpoint": b"\x00\xff"},
    ],
)
async def test_messages_that_are_no_entries_are_passed_over(redis, fields):
    source = redis.source()
    await redis.redis.xadd(KEYS.log, fields, id="1-0")
    assert await source.next(0, SOON_MS) is None
    assert source.faults
    await source.close()


async def test_an_id_far_ahead_does_not_keep_the_next_entry_out_unseen(redis, tmp_path):
    publisher = redis.publisher()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(5)
    await redis.redis.xdel(KEYS.log, "5-0")  # as many as before
    await redis.redis.xadd(KEYS.log, {"entry": b"x", "checkpoint": b"x"}, id="999-0")
    with pytest.raises(ConflictError):
        await book.add()
    assert (await book.reconcile()).was_forged
    assert await redis.stream() == [0, 1, 2, 3, 4, 5]
    await publisher.close()


@pytest.mark.parametrize("identity", ["1-7", "18446744073709551615-0", "77-0"])
async def test_ids_that_are_no_index_are_passed_over(redis, identity):
    source = redis.source()
    await redis.redis.xadd(KEYS.log, {"entry": b"x", "checkpoint": b"x"}, id=identity)
    assert await source.next(0, SOON_MS) is None
    assert source.faults
    await source.close()


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b'{"bytes":5}',
        b'{"bytes":-5,"chunks":1}',
        b'{"bytes":true,"chunks":1}',
        b'{"bytes":5,"chunks":2}',
        b'{"bytes":999999999999,"chunks":953675}',
        b"[" * 120,
        b"x" * 1_000,
    ],
)
async def test_a_manifest_that_is_none_means_that_there_is_no_list(redis, manifest):
    source = redis.source()
    await redis.redis.set(KEYS.manifest("0" * 64), manifest)
    with pytest.raises(NotFoundError):
        await anext(source.list_chunks("0" * 64))
    assert sum(source.faults.values()) == 1
    await source.close()


async def test_a_value_over_its_bound_is_never_read_whole(redis):
    source = redis.source()
    await redis.redis.set(KEYS.head, b"x" * 60_000_000)
    assert await source.head() is None
    assert source.faults["a value is longer than any that belongs there"] == 1
    await source.close()


async def test_a_message_over_its_bound_is_refused_before_it_is_in_memory(redis, tmp_path):
    publisher, source = redis.publisher(), redis.source()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(2)
    await redis.redis.xadd(KEYS.log, {"entry": b"x" * 60_000_000, "checkpoint": b"x"}, id="3-0")
    with pytest.raises(UnavailableError, match="wait for the feed"):
        await source.next(2, SOON_MS)
    with pytest.raises(ConflictError):
        await book.add()
    assert (await book.reconcile()).was_forged
    assert await read_all(source) == book.leaves
    await publisher.close()
    await source.close()


async def test_a_killed_redis_is_unavailable_and_filled_again_when_it_is_back(redis, tmp_path):
    publisher, source = redis.publisher(), redis.source()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(300)
    redis.server.kill()
    for call in (book.add(), source.next(0, SOON_MS), source.head(), book.reconcile()):
        with pytest.raises(UnavailableError) as caught:
            await call
        assert caught.value.advice
        assert f"in Redis at {redis.server.url.removeprefix('unix://')}: " in caught.value.message
        assert caught.value.message.endswith(
            ("Connection refused", "No such file or directory", "the connection was closed")
        )
    redis.server.start()
    await redis.admit()
    assert (await book.reconcile()).entries == 301
    assert await read_all(source) == book.leaves
    await publisher.close()
    await source.close()


@pytest.mark.parametrize("size", [0, 4_097, 1 << 20])
async def test_a_wrap_that_cannot_be_one_is_passed_over(redis, size):
    source = redis.source()
    await redis.redis.set(KEYS.wrap("0" * 64, "1" * 64), bytes(size))
    with pytest.raises(NotFoundError):
        await source.wrap("0" * 64, "1" * 64)
    assert sum(source.faults.values()) == (size > 0)
    await source.close()


async def test_a_reader_needs_only_the_rights_to_read(redis, tmp_path):
    book = Book(tmp_path / "ledger", redis.publisher())
    digest = book.files.lists.put(b"exact bad.example.org\n")
    await book.add(600)
    await book.publisher.put_list(digest, book.files.lists.path(digest))
    await book.publisher.put_wrap(digest, digest, b"wrap")
    await book.publisher.push_stop(b"stop")
    rules = ("on", ">secret", *node_acl(ORIGIN))
    await redis.redis.execute_command("ACL", "SETUSER", "node", *rules)
    url = redis.server.url.replace("unix://", "unix://node@")
    source = RedisFeedSource(RedisPlace(url, "secret"), ORIGIN, poll_interval_ms=10)
    assert await read_all(source) == book.leaves
    assert [chunk async for chunk in source.list_chunks(digest)] == [b"exact bad.example.org\n"]
    assert await source.wrap(digest, digest) == b"wrap"
    stops = source.stops()
    assert await anext(stops) == b"stop"
    await stops.aclose()
    reader = RedisFeedPublisher(RedisPlace(url, "secret"), ORIGIN)
    with pytest.raises(UnavailableError, match="permission"):
        await reader.push_stop(b"forged")
    with pytest.raises(UnavailableError, match="permission"):
        await reader.publish(*book.append())
    assert await redis.redis.xlen(KEYS.stops) == 1
    await reader.close()
    await source.close()
    await book.publisher.close()


async def test_a_wrong_password_is_told_as_such(redis):
    await redis.redis.execute_command("ACL", "SETUSER", "node", "on", ">secret")
    url = redis.server.url.replace("unix://", "unix://node@")
    source = RedisFeedSource(RedisPlace(url, "wrong"), ORIGIN)
    with pytest.raises(UnavailableError) as caught:
        await source.head()
    assert "password" in caught.value.advice
    await source.close()


async def test_a_call_that_fails_leaves_those_that_wait_alone(redis):
    link = RedisLink(redis.server.url)

    async def wait() -> object:
        async with link.use("wait") as client:
            return await client.blpop(["nothing"], timeout=1)

    async def count(section: str, name: str) -> int:
        return int((await redis.redis.info(section))[name])

    waiting = asyncio.create_task(wait())
    for _ in range(1_000):
        if await count("clients", "blocked_clients"):
            break
        await asyncio.sleep(0.01)
    before = await count("stats", "total_connections_received")
    with pytest.raises(UnavailableError, match="unknown command"):
        async with link.use("fail") as client:
            await client.execute_command("NONSENSE")
    assert await waiting is None
    # That of the call that failed; the one that waited did not have to come again.
    assert await count("stats", "total_connections_received") - before == 1
    await link.close()


async def test_a_redis_that_would_evict_is_refused(start_redis: Callable[..., RedisServer]):
    server = start_redis(maxmemory_policy="allkeys-lru")
    publisher = RedisFeedPublisher(server.url, ORIGIN)
    with pytest.raises(InputError, match="allkeys-lru"):
        await publisher.check_server()
    await publisher.close()


async def test_a_full_redis_is_unavailable_and_says_so(start_redis, tmp_path):
    server = start_redis(maxmemory="2mb")
    publisher = RedisFeedPublisher(server.url, ORIGIN)
    await publisher.check_server()
    digest = sha256(b"x").hexdigest()
    path = tmp_path / "list"
    path.write_bytes(b"x" * (4 << 20))
    with pytest.raises(UnavailableError) as caught:
        await publisher.put_list(digest, path)
    assert "maxmemory" in caught.value.advice
    await publisher.close()


async def test_stops_in_a_stream_made_anew_are_read_from_its_beginning(redis):
    publisher, source = redis.publisher(), redis.source()
    await publisher.push_stop(b"first")
    stops = source.stops()
    assert await anext(stops) == b"first"
    await redis.flush()
    await redis.redis.xadd(KEYS.stops, {"envelope": b"second"}, id="5-0")
    async with asyncio.timeout(10):
        assert await anext(stops) == b"second"
    await stops.aclose()
    await publisher.close()
    await source.close()


async def test_the_stream_of_stops_is_bounded(redis):
    publisher = redis.publisher()
    for _ in range(feed_format.STOPS_MAX // 100):
        async with redis.redis.pipeline(transaction=False) as turn:
            for _ in range(101):
                turn.xadd(KEYS.stops, {"envelope": b"x"})
            await turn.execute()
    await publisher.push_stop(b"last")
    assert await redis.redis.xlen(KEYS.stops) == feed_format.STOPS_MAX
    await publisher.close()


def test_a_url_that_is_none_is_refused():
    with pytest.raises(InputError) as caught:
        RedisFeedSource("https://example.org", ORIGIN)
    assert caught.value.data["field"] == "redis.url"
