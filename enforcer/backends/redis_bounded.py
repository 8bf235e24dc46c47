"""What a feed's keys in Redis hold: each bounded before it is read, and never believed.

What cannot be read is counted and passed over as if it were not there: a key of another kind, a
value too long. An answer that is none, or no answer, is the caller's to hear.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog
from redis.exceptions import InvalidResponse

from enforcer.backends import redis_read
from enforcer.backends.redis_connection import RedisLink
from enforcer.backends.redis_place import RedisPlace
from enforcer.backends.redis_read import GarbageError, Message

_log = structlog.get_logger(__name__)


class BoundedReads:
    """The reads of one reader of a feed, in one event loop.

    All raise UnavailableError where Redis is away or refuses.
    """

    def __init__(self, place: RedisPlace | str) -> None:
        """Check the place, or URL; nothing is connected yet.

        Raises:
            InputError: it is no Redis URL.
        """
        self._link = RedisLink(place)
        self.faults: Counter[str] = Counter()
        """How often something unreadable was passed over, by what it was."""

    async def value(self, key: str, size_bytes_max: int) -> bytes | None:
        """Return the value of a key; None when there is none, or none of a possible length."""
        async with self._link.use("read the feed") as redis:
            try:
                value = await redis_read.value(redis, key, size_bytes_max)
            except GarbageError:
                self._nothing()
                return None
        return self._within(value, size_bytes_max)

    async def values(self, *asked: tuple[str, int]) -> list[bytes | None]:
        """Return the values of keys, each with its bound, in one round trip; as `value` each."""
        async with self._link.use("read the feed") as redis:
            values = await redis_read.values(redis, asked)
        found: list[bytes | None] = []
        for value, (_, size_bytes_max) in zip(values, asked, strict=True):
            if value is None:
                self._nothing()
            found.append(self._within(value or b"", size_bytes_max))
        return found

    async def messages(self, key: str, start: str, count: int) -> list[Message]:
        """Return up to `count` messages of a stream from the id `start` on."""
        async with self._link.use("read entries") as redis:
            try:
                return await redis_read.messages(redis, key, start, count)
            except GarbageError:
                return self._nothing()

    async def messages_after(self, key: str, after: str, count: int, wait_ms: int) -> list[Message]:
        """Return up to `count` messages after the id `after`, waiting for the first of them.

        Raises:
            UnavailableError: a message is longer than any that belongs there.
        """
        async with self._link.use("wait for the feed") as redis:
            try:
                return await redis_read.messages_after(redis, key, after, count, wait_ms)
            except GarbageError:
                await asyncio.sleep(wait_ms / 1_000)  # Redis answered at once
                return self._nothing()
            except InvalidResponse:  # it cannot be passed over: its id would come with all of it
                self.fault("a message is longer than any that belongs there")
                await asyncio.sleep(wait_ms / 1_000)
                raise

    async def last_id(self, key: str) -> bytes | None:
        """Return the id of a stream's last message; None where there is none, or no stream."""
        async with self._link.use("read the feed") as redis:
            try:
                return await redis_read.last_id(redis, key)
            except GarbageError:
                return None

    def fault(self, what: str) -> None:
        """Count what was passed over; say it at the 1st, 2nd, 4th, 8th … time."""
        self.faults[what] += 1
        times = self.faults[what]
        if times & (times - 1) == 0:
            _log.warning("passed over garbage in the feed", what=what, times=times)

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    def _within(self, value: bytes, size_bytes_max: int) -> bytes | None:
        if len(value) > size_bytes_max:
            self.fault("a value is longer than any that belongs there")
            return None
        return value or None

    def _nothing(self) -> list[Message]:
        self.fault("a key is of another kind")
        return []
