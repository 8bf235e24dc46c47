"""The few reading commands that the feed needs, with the types that they really answer.

Ids and values are bytes, since nothing here decodes. A key that holds another kind of value
raises :class:`GarbageError`: somebody else wrote it, and it counts as nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

Message: TypeAlias = tuple[bytes, dict[bytes, bytes]]
"""A stream's message: its id and its fields."""

KEYS_SCANNED: Final = 1_000
"""Keys that Redis looks at before it answers."""


class GarbageError(Exception):
    """The key holds another kind of value than the feed has there."""


async def value(redis: Redis, key: str, size_bytes_max: int) -> bytes:
    """Return a key's value up to one byte past the bound, so that a longer one shows; b'' if none.

    Raises:
        GarbageError: it is no string.
    """
    with _garbage():
        return cast("bytes", await redis.getrange(key, 0, size_bytes_max))


async def messages(redis: Redis, key: str, start: str, count: int) -> list[Message]:
    """Return up to `count` messages from the id `start` on (``-``: the first).

    Raises:
        GarbageError: it is no stream.
    """
    with _garbage():
        answer = await redis.xrange(key, min=start, count=count)
    return cast("list[Message]", answer)


async def messages_after(
    redis: Redis, key: str, after: str, count: int, wait_ms: int
) -> list[Message]:
    """Return up to `count` messages after the id `after`, waiting for the first of them.

    Raises:
        GarbageError: it is no stream.
    """
    with _garbage():
        answer = await redis.xread({key: after}, count=count, block=max(wait_ms, 1))
    streams = cast("list[tuple[bytes, list[Message]]]", answer)
    return streams[0][1] if streams else []


async def scanned(redis: Redis, cursor: int, pattern: str) -> tuple[int, list[str]]:
    """Return some of the keys that fit, and where to go on; 0: that was all."""
    answer = await redis.scan(cursor, match=pattern, count=KEYS_SCANNED)
    after, keys = cast("tuple[int, list[bytes]]", answer)
    return int(after), [key.decode("utf-8", "replace") for key in keys]


async def last_id(redis: Redis, key: str) -> bytes | None:
    """Return the id of a stream's last message.

    Raises:
        GarbageError: it is no stream.
    """
    with _garbage():
        answer = await redis.xrevrange(key, count=1)
    found = cast("list[Message]", answer)
    return found[0][0] if found else None


@contextmanager
def _garbage() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            raise GarbageError from error
        raise
