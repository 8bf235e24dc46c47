"""The few reading commands that the feed needs, with the types that they really answer.

Ids and values are bytes, since nothing here decodes. A key that holds another kind of value
raises :class:`GarbageError`: somebody else wrote it, and it counts as nothing. An answer of another
shape than Redis gives raises InvalidResponse: whoever answers there is no Redis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias, cast

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, ResponseError

Message: TypeAlias = tuple[bytes, dict[bytes, bytes]]
"""A stream's message: its id and its fields."""

_ID: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
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
        return _octets(await redis.getrange(key, 0, size_bytes_max))


async def values(redis: Redis, asked: Sequence[tuple[str, int]]) -> list[bytes | None]:
    """Return several keys' values in one round trip, each as `value`; None for one that is none."""
    async with redis.pipeline(transaction=False) as turn:
        for key, size_bytes_max in asked:
            turn.getrange(key, 0, size_bytes_max)
        answers = await turn.execute(raise_on_error=False)
    found: list[bytes | None] = []
    for answer in answers:
        try:
            with _garbage():
                if isinstance(answer, Exception):
                    raise answer
                found.append(_octets(answer))
        except GarbageError:
            found.append(None)
    return found


async def messages(redis: Redis, key: str, start: str, count: int) -> list[Message]:
    """Return up to `count` messages from the id `start` on (``-``: the first).

    Raises:
        GarbageError: it is no stream.
    """
    with _garbage():
        return _messages(await redis.xrange(key, min=start, count=count))


async def messages_after(
    redis: Redis, key: str, after: str, count: int, wait_ms: int
) -> list[Message]:
    """Return up to `count` messages after the id `after`, waiting for the first of them.

    Raises:
        GarbageError: it is no stream.
    """
    with _garbage():
        answer = await redis.xread({key: after}, count=count, block=max(wait_ms, 1))
        streams = cast("list[tuple[bytes, object]]", answer)
        return _messages(streams[0][1]) if streams else []


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
        found = _messages(await redis.xrevrange(key, count=1))
    return found[0][0] if found else None


@contextmanager
def _garbage() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            raise GarbageError from error
        raise
    except (TypeError, LookupError, AttributeError) as error:  # redis-py's, for another shape
        raise _strange() from error


def _octets(answer: object) -> bytes:
    if not isinstance(answer, bytes):
        raise _strange()
    return answer


def _messages(answer: object) -> list[Message]:
    """Return a stream's messages, if that is what came."""
    if not isinstance(answer, list):
        raise _strange()
    for identity, fields in answer:
        if not isinstance(identity, bytes) or not _ID.fullmatch(identity):
            raise _strange()
        if not isinstance(fields, dict) or not all(map(_is_field, fields.items())):
            raise _strange()
    return answer


def _is_field(field: tuple[object, object]) -> bool:
    return isinstance(field[0], bytes) and isinstance(field[1], bytes)


def _strange() -> InvalidResponse:
    return InvalidResponse("an answer of another shape than Redis gives")
