"""Garbage under every key of the feed, of every size and kind: passed over, counted, never raised.

What could be what it is read as, by its length, is given on: its reader believes nothing of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import pytest

from enforcer.backends.feed_format import (
    CHUNK_BYTES,
    STOP_BYTES_MAX,
    FeedKeys,
    Manifest,
    delta_name,
)
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.sealing import WRAP_BYTES_MAX
from enforcer.errors import NotFoundError, UnavailableError
from enforcer.ports import WAYPOINT_ENTRIES
from tests.backends.feed_world import KEYS, SOON_MS, Book, until_fault
from tests.waiting import until

NO_KEYS = {"origin", "prefix", "glob", "list_of"}
LIST, OTHER, KEY_ID = "0" * 64, "a" * 64, "1" * 64
HUGE = 40_000_000
Read = Callable[[RedisFeedSource], Awaitable[object]]


async def first_stop(source: RedisFeedSource) -> bytes | None:
    """Return the first stop, or None once something was passed over."""
    before = sum(source.faults.values())
    async with aclosing(source.stops()) as stops:
        task = asyncio.ensure_future(anext(stops))
        await until(lambda: task.done() or sum(source.faults.values()) > before)
        task.cancel()
        with suppress(asyncio.CancelledError, UnavailableError):
            return await task
    return None


async def whole(chunks) -> bytes:
    return b"".join([chunk async for chunk in chunks])


READS: dict[str, tuple[str, Read, int]] = {
    "head": (KEYS.head, lambda source: source.head(), 0),
    "cosigned": (KEYS.cosigned, lambda source: source.cosigned(), 0),
    "log": (KEYS.log, lambda source: until_fault(source, 3), 0),
    "stops": (KEYS.stops, first_stop, STOP_BYTES_MAX),
    "bundle": (KEYS.bundle(0), lambda source: source.next(0, SOON_MS), 0),
    "waypoint": (KEYS.waypoint(WAYPOINT_ENTRIES), lambda source: source._goal(0, HUGE, b""), 0),
    "manifest": (KEYS.manifest(LIST), lambda source: whole(source.list_chunks(LIST)), 0),
    "chunk": (KEYS.chunk(LIST, 0), lambda source: whole(source.list_chunks(LIST)), CHUNK_BYTES),
    "wrap": (KEYS.wrap(LIST, KEY_ID), lambda source: source.wrap(LIST, KEY_ID), WRAP_BYTES_MAX),
}
"""Under which name, how it is read, and how many octets its reader may be given."""
DELTA = delta_name((LIST, OTHER))


def test_no_kind_of_key_is_left_out():
    assert set(READS) == {name for name in vars(FeedKeys) if name[0] != "_"} - NO_KEYS


@pytest.fixture
async def filled(redis, tmp_path):
    """A feed of three entries whose bundle alone could tell of the first; a list, and a delta."""
    publisher = redis.publisher()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(3)
    await redis.redis.xtrim(KEYS.log, maxlen=0, approximate=False)
    for name in (LIST, DELTA):
        await redis.redis.set(KEYS.manifest(name), Manifest(3).format())
        await redis.redis.set(KEYS.chunk(name, 0), b"old")
    yield redis
    await publisher.close()


def garbage() -> list[bytes]:
    """Return octets of all kinds, from one to far more than belong anywhere."""
    chance = random.Random(6)
    return [
        *(chance.randbytes(size) for size in (1, 7, 300, 20_000, 70_000)),
        b"[" * 100,
        b"{}",
        b"\x00" * 2_000_000,
        b"x" * HUGE,
    ]


async def take(source: RedisFeedSource, read: Read, octets_max: int) -> None:
    """Read; what is given is within its bound, else something was counted."""
    given, before = None, sum(source.faults.values())
    with suppress(NotFoundError, UnavailableError):
        given = await read(source)
    if isinstance(given, bytes):
        assert len(given) <= octets_max
    else:
        assert given in (None, (HUGE, b""))  # the head's own way, without a waypoint
        assert sum(source.faults.values()) > before


@pytest.mark.parametrize("name", READS)
async def test_garbage_is_passed_over_and_counted(filled, name):
    key, read, octets_max = READS[name]
    source = filled.source()
    for octets in garbage():
        await filled.redis.delete(key)
        if name in ("log", "stops"):
            for fields in ({"entry": octets, "checkpoint": octets}, {"envelope": octets, "x": "x"}):
                await filled.redis.xadd(key, fields)
        else:
            await filled.redis.set(key, octets)
        await take(source, read, octets_max)
    await source.close()


@pytest.mark.parametrize("name", READS)
async def test_a_key_of_another_kind_is_counted(filled, name):
    key, read, octets_max = READS[name]
    source = filled.source()
    for kind, values in (("sadd", ["x"]), ("hset", ["x", "y"]), ("rpush", ["x"])):
        await filled.redis.delete(key)
        await getattr(filled.redis, kind)(key, *values)
        await take(source, read, octets_max)
    assert source.faults["a key is of another kind"] >= 3
    await source.close()


async def test_a_delta_is_read_as_a_list_is(filled):
    source = filled.source()
    for octets in garbage():
        await filled.redis.set(KEYS.chunk(DELTA, 0), octets)
        await take(source, lambda source: whole(source.delta_chunks(LIST, OTHER)), 3)
    await source.close()
