"""The feed for tests: a ledger whose entries are shown in it, and the two media that carry it.

A medium is the memory twin or a real Redis, with what somebody else could do to either.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from enforcer.backends.feed_format import FeedKeys, StreamEntry, node_acl, publisher_acl, stream_id
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedPublisher, MemoryFeedSource
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_place import RedisPlace
from enforcer.backends.redis_server import RedisServer
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.tile_writer import received
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import sign_checkpoint
from enforcer.core.note import VerifierKey
from tests.waiting import WAIT_SECONDS

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
        self.vkey = vkey
        self.seal = lambda checkpoint: sign_checkpoint(checkpoint, vkey, key.sign)
        self.leaves: list[bytes] = []

    def append(self, count: int = 1) -> tuple[int, list[bytes], bytes]:
        first = self.files.size
        leaves = [b"entry %d" % index for index in range(first, first + count)]
        note = self.files.append(leaves, self.seal)
        self.leaves += leaves
        return first, leaves, note

    def node(self, path: Path) -> TileLedger:
        """Return a node's copy with all that is here."""
        copy = TileLedger.open(
            path, origin=ORIGIN, vkey=self.vkey, verify=verify, writer=True, is_copy=True
        )
        copy.append(self.leaves, received(self.files.checkpoint_note or b""))
        return copy

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


async def read_all(source, size: int = 0) -> list[bytes]:
    """Follow as a node does, without believing or checking anything.

    Nothing came twice: on a busy machine the first wait may be over before the head was asked for.
    """
    leaves: list[bytes] = []
    nothing = 0
    while nothing < 2:
        update = await source.next(size + len(leaves), SOON_MS)
        if update is None:
            nothing += 1
            continue
        assert update.first_index == size + len(leaves)
        leaves += update.leaves
        nothing = 0
    return leaves


async def until_fault(source, size: int = 0) -> None:
    """Wait for entries until something is counted as a fault; nothing comes."""
    before = sum(source.faults.values())
    async with asyncio.timeout(WAIT_SECONDS):
        while sum(source.faults.values()) == before:
            assert await source.next(size, SOON_MS) is None
