"""The feed in a real Redis alone: what is not ours in it, its bounds, its rights, its ends."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import pytest
from redis.asyncio import Redis

from enforcer.backends import feed_format, redis_audit, redis_place, redis_source
from enforcer.backends.feed_format import CHUNK_BYTES, node_acl
from enforcer.backends.redis_connection import RedisLink
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_place import RedisPlace
from enforcer.backends.redis_server import RedisServer
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.core.checkpoint import Checkpoint
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    NotFoundError,
    UnavailableError,
)
from enforcer.ports import WAYPOINT_ENTRIES
from tests.backends.feed_world import KEYS, ORIGIN, SOON_MS, Book, read_all, until_fault
from tests.backends.redis_world import eventually
from tests.waiting import NEVER_MS, WAIT_SECONDS


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
    await until_fault(source)
    assert sum(source.faults.values()) <= 8  # and it is not asked again in a hurry
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
    await until_fault(source)
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


@pytest.mark.parametrize(
    ("manifest", "faults"),
    [
        (None, 0),
        (b"garbage", 1),
        (b'{"bytes":1073741824,"chunks":1024}', 1),
        (b'{"bytes":16777217,"chunks":17}', 1),  # the first chunk is as it says
        (b'{"bytes":3,"chunks":1}', 1),
        (b'{"bytes":2,"chunks":1}', 1),
        (b'{"bytes":1048577,"chunks":2}', 1),
    ],
)
async def test_a_delta_that_is_too_long_or_not_whole_is_passed_over(redis, manifest, faults):
    source, name = redis.source(), f"{'a' * 64}:from:{'b' * 64}"
    is_whole = manifest is not None and b"17}" in manifest
    await redis.redis.set(KEYS.chunk(name, 0), b"+" * (CHUNK_BYTES if is_whole else 1))
    if manifest is not None:
        await redis.redis.set(KEYS.manifest(name), manifest)
    with pytest.raises(NotFoundError):
        await anext(source.delta_chunks("a" * 64, "b" * 64))
    assert sum(source.faults.values()) == faults
    source.count_fault("a delta is none")
    assert source.faults["a delta is none"] == 1
    await source.close()


async def test_a_burst_of_20_000_entries_grows_neither_the_stream_nor_a_readers_memory(
    redis, tmp_path
):
    book, source = Book(tmp_path / "ledger", redis.publisher()), redis.source()
    for _ in range(5):
        await book.add(4_000)
        assert await redis.redis.xlen(KEYS.log) <= 1_024
    sizes = range(WAYPOINT_ENTRIES, 20_000, WAYPOINT_ENTRIES)
    await book.publisher.show_waypoints(
        {size: book.seal(Checkpoint(ORIGIN, size, book.files.root_at(size))) for size in sizes}
    )
    tracemalloc.start()
    try:
        sizes_read = [0]
        while (update := await source.next(sizes_read[-1], SOON_MS)) is not None:
            sizes_read.append(sizes_read[-1] + len(update.leaves))
            del update
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sizes_read == [0, *sizes, 20_000]
    assert peak_bytes < 4 << 20  # an update is of 4,096 entries, each of a hundred octets here
    await source.close()
    await book.publisher.close()


async def test_nothing_but_lists_of_this_feed_is_tidied_away(redis):
    others = ["list:" + "a" * 64, "feed:{example.org/other}:list:" + "a" * 64, "feed:x"]
    ours = [KEYS.head, KEYS.bundle(0), f"{KEYS.prefix}lists", KEYS.prefix]
    for key in (*others, *ours):
        await redis.redis.set(key, b"x")
    old = [KEYS.manifest("a" * 64), KEYS.chunk("a" * 64, 7), f"{KEYS.prefix}list:\xff:from"]
    for key in old:
        await redis.redis.set(key, b"x")
    publisher = redis.publisher()
    assert await publisher.keep_lists(["b" * 64], []) == len(old)
    assert {key.decode() for key in await redis.redis.keys()} == {*others, *ours}
    await publisher.close()


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
            return await client.blpop(["something"])

    async def count(section: str, name: str) -> int:
        return int((await redis.redis.info(section))[name])

    waiting = asyncio.create_task(wait())
    await eventually(lambda: count("clients", "blocked_clients"))
    before = await count("stats", "total_connections_received")
    with pytest.raises(UnavailableError, match="unknown command"):
        async with link.use("fail") as client:
            await client.execute_command("NONSENSE")
    await redis.redis.rpush("something", "x")
    assert await waiting == (b"something", b"x")
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
    async with asyncio.timeout(WAIT_SECONDS):
        assert await anext(stops) == b"second"
    await stops.aclose()
    await publisher.close()
    await source.close()


LAST = "18446744073709551615"


@pytest.mark.parametrize("spoiled", ["another kind", "the last id"])
async def test_a_stream_of_stops_that_takes_none_is_made_anew(redis, spoiled):
    publisher, source = redis.publisher(), redis.source()
    await publisher.push_stop(b"first")
    stops = source.stops()
    assert await anext(stops) == b"first"
    if spoiled == "another kind":
        await redis.redis.set(KEYS.stops, b"x")
    else:
        await redis.redis.xadd(KEYS.stops, {"envelope": b"last"}, id=f"{LAST}-{LAST}")
        assert await anext(stops) == b"last"
    await publisher.push_stop(b"second")
    async with asyncio.timeout(WAIT_SECONDS):
        assert await anext(stops) == b"second"
    await stops.aclose()
    await publisher.close()
    await source.close()


async def test_keys_that_become_another_kind_while_they_are_compared_are_mended(redis, tmp_path):
    """Whoever does that all the time must not end the control plane's comparing."""
    publisher = redis.publisher()
    book = Book(tmp_path / "ledger", publisher)
    digest = book.files.lists.put(b"exact bad.example.org\n")
    await book.add(300)
    await book.reconcile(digest)
    spoiled = [KEYS.bundle(0), KEYS.chunk(digest, 0)]
    for key in spoiled:
        await redis.redis.delete(key)
        await redis.redis.xadd(key, {"x": b"x"})

    audit, held = publisher._audit, redis_audit._held
    async with publisher._link.use("compare") as client:
        for key in spoiled:
            assert await held(client, key, 1 << 20) is None
        assert await audit.wrong_bundles(client, book.files, 1) == [0]
    found = await book.reconcile(digest)
    assert (found.bundles, found.lists) == (1, 1)
    await publisher.close()


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


async def used(redis: Redis) -> Counter[str]:
    """Return how often each command was called, and how many octets' arrivals Redis handled."""
    stats = await redis.info("commandstats")
    found = Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})
    found["reads"] = (await redis.info("stats"))["total_reads_processed"]
    return found


async def test_an_entry_that_comes_with_its_checkpoint_costs_a_node_one_command(
    redis, tmp_path, monkeypatch
):
    # A wait that ends on a busy machine would be one more.
    monkeypatch.setattr(redis_source, "BLOCK_MS_MAX", NEVER_MS)
    monkeypatch.setattr(redis_place, "REPLY_TIMEOUT_SECONDS", WAIT_SECONDS)
    publisher = redis.publisher()
    source = RedisFeedSource(redis.place("node"), ORIGIN, poll_interval_ms=NEVER_MS)
    book = Book(tmp_path / "ledger", publisher)

    async def is_waited_for() -> bool:
        return (await redis.redis.info("clients"))["blocked_clients"] == 1

    await book.add(5)
    assert len((await source.next(0, NEVER_MS)).leaves) == 5
    assert await source.head() == book.files.checkpoint_note
    for size in range(5, 25):
        before = await used(redis.redis)
        waiting = asyncio.create_task(source.next(size, NEVER_MS))
        await eventually(is_waited_for)
        await asyncio.sleep(0.5 if size == 5 else 0)  # however long there is nothing
        await book.add()
        assert (await waiting).leaves == (book.leaves[size],)
        asked = await used(redis.redis) - before
        assert (asked["xread"], asked["getrange"]) == (1, 0)
    await publisher.close()
    await source.close()


async def test_a_node_at_rest_asks_for_the_head_once_each_time_it_looks(redis, tmp_path):
    publisher = redis.publisher()
    source = RedisFeedSource(redis.place("node"), ORIGIN, poll_interval_ms=50)
    book = Book(tmp_path / "ledger", publisher)
    await book.add(5)
    before = await used(redis.redis)
    for _ in range(10):
        assert await source.head() == book.files.checkpoint_note
        # Redis counts in whole milliseconds: a wait of more ends now and then before its time.
        assert await source.next(5, 0) is None
    asked = await used(redis.redis) - before
    assert (asked["xread"], asked["getrange"]) == (10, 10)
    await publisher.close()
    await source.close()


async def test_a_short_list_comes_in_one_round_trip(redis, tmp_path):
    publisher, source = redis.publisher(), redis.source()
    book = Book(tmp_path / "ledger", publisher)
    digest = book.files.lists.put(b"exact bad.example.org\n")
    await publisher.put_list(digest, book.files.lists.path(digest))
    await source.head()  # it is connected now
    before = await used(redis.redis)
    assert [chunk async for chunk in source.list_chunks(digest)] == [b"exact bad.example.org\n"]
    asked = await used(redis.redis) - before
    assert asked["getrange"] == 2
    assert asked["reads"] <= 3  # two of them are ours, who ask for the numbers
    await publisher.close()
    await source.close()


async def test_more_entries_at_once_than_come_at_once_are_read_without_a_pause(redis, tmp_path):
    publisher = redis.publisher()
    source = RedisFeedSource(redis.place("node"), ORIGIN, poll_interval_ms=30_000)
    book = Book(tmp_path / "ledger", publisher)
    await book.add(5)
    assert len((await source.next(0, 2_000)).leaves) == 5
    assert await source.head() == book.files.checkpoint_note
    waiting = asyncio.create_task(source.next(5, 30_000))
    await asyncio.sleep(0.05)
    await book.add(feed_format.READ_ENTRIES_MAX + 20)
    assert (await waiting).leaves == tuple(book.leaves[5:])
    assert source.faults == {}
    await publisher.close()
    await source.close()


@pytest.mark.parametrize(
    "answer",
    [
        b":5\r\n",
        b"+OK\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"*1\r\n*2\r\n$1\r\nx\r\n:7\r\n",
        b"*1\r\n*2\r\n$3\r\n\xff-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n:1\r\n:2\r\n",
        b"*1\r\n*2\r\n$3\r\nlog\r\n*1\r\n*2\r\n$3\r\n\xb2-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n*2\r\n$3\r\nlog\r\n*1\r\n*2\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"?what\r\n",
        b"$99999999999\r\n",
    ],
)
async def test_a_server_that_is_no_redis_is_away_or_has_nothing(answer):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(answer * len(re.findall(rb"(?m)^\*\d+\r$", data)))
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = RedisFeedSource(f"redis://127.0.0.1:{port}", ORIGIN, poll_interval_ms=10)
    looks = [
        source.head(),
        source.cosigned(),
        source.next(0, 20),
        source.next(5, 20),
        source.wrap("0" * 64, "1" * 64),
        anext(source.list_chunks("0" * 64)),
        anext(source.delta_chunks("0" * 64, "1" * 64)),
        asyncio.wait_for(anext(source.stops()), 0.2),
    ]
    for look in looks:
        with suppress(EnforcerError, TimeoutError):
            assert await look in (None, b"OK")
    await source.close()
    server.close()
    async with asyncio.timeout(WAIT_SECONDS):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)  # whoever is still being served, or about to be
