"""One Redis behind a URL, and the border at which its failures become ours.

Owns the connections. Refuses replies over a bound before they are in memory: whoever took Redis
over could otherwise fill a node's. Always true: after any failure the connections that nobody uses
are dropped, so that the next call asks the address anew and does not stick to a demoted primary;
those of other calls end by themselves.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool, SlaveNotFoundError
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.typing import EncodableT

from enforcer.backends.feed_format import REPLY_BYTES_MAX
from enforcer.backends.redis_place import RedisPlace
from enforcer.errors import UnavailableError

PRIMARY_SECONDS_MAX: Final = 5.0
"""How long a primary is believed to be it."""
BLOCK_MS_MAX: Final = 2_000
"""Longest that a command may wait inside Redis: well under the reply's timeout."""
ELEMENT_BYTES: Final = 64
"""What an element of a reply costs beside its bytes."""


_UNAVAILABLE_ADVICE: Final = "Check that Redis runs and can be reached; this repeats by itself."
_REMEDY: Final = (
    (AuthenticationError, "Check the user in the Redis URL and the password file."),
    (
        NoPermissionError,
        "Give this Redis user the rights that `enforcer init` writes into users.acl.",
    ),
    (OutOfMemoryError, "Raise Redis's maxmemory; the feed never evicts."),
    (MasterNotFoundError, "Check the sentinels' addresses, and the primary's name in the URL."),
    (ReadOnlyError, "This Redis is a replica: name the primary, or wait for the failover."),
)


class BoundedParser(_AsyncRESP2Parser):  # redis-py has no public hook at this place
    """Reads RESP2 and gives up on a reply before it has taken more than `REPLY_BYTES_MAX`."""

    _left_bytes = REPLY_BYTES_MAX

    async def read_response(
        self, disable_decoding: bool = False
    ) -> EncodableT | ResponseError | list[EncodableT] | None:
        """Read one whole reply."""
        self._left_bytes = REPLY_BYTES_MAX
        reply: EncodableT | None = await super().read_response(disable_decoding)
        return reply

    async def _readline(self) -> bytes:
        line: bytes = await super()._readline()
        self._spend(len(line) + ELEMENT_BYTES)
        return line

    async def _read(self, length: int) -> bytes:
        self._spend(length)
        value: bytes = await super()._read(length)
        return value

    def _spend(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise InvalidResponse(f"the reply is over {REPLY_BYTES_MAX} bytes")


class RedisLink:
    """Connections to one Redis, made when they are needed; use it from one event loop."""

    def __init__(self, place: RedisPlace | str) -> None:
        """Check the place, or URL; nothing is connected yet.

        Raises:
            InputError: it is no Redis URL.
        """
        if isinstance(place, str):
            place = RedisPlace(place)
        self._client = place.client(BoundedParser)
        self._place = place.words
        self._asked_seconds = time.monotonic()  # when sentinels were last asked

    @asynccontextmanager
    async def use(self, action: str) -> AsyncIterator[Redis]:
        """Give the client, and turn what fails in the block into ours.

        Raises:
            UnavailableError: Redis is away, refuses this user, or cannot take more.
        """
        task = asyncio.current_task()
        cancels_before = task.cancelling() if task is not None else 0
        try:
            await self._ask_sentinels()
            yield self._client
        except (RedisError, OSError, ValueError) as error:
            # ValueError: asyncio's for a line over its limit, and int()'s for a reply that is none.
            await self.drop()
            cause = error
            if isinstance(error.__cause__, AuthenticationError):  # redis-py wraps it
                cause = error.__cause__
            raise UnavailableError(
                f"cannot {action} in Redis at {self._place}: {_words(cause)}",
                advice=next(
                    (advice for kind, advice in _REMEDY if isinstance(cause, kind)),
                    _UNAVAILABLE_ADVICE,
                ),
            ) from error
        if task is not None and task.cancelling() > cancels_before:
            # redis-py sends by asyncio.wait_for, which loses a cancellation that comes as it ends
            # (Python 3.11, gh-86296); the program would then wait for this task for ever.
            raise asyncio.CancelledError

    async def _ask_sentinels(self) -> None:
        """Ask now and then who the primary is: one that was cut off answers on, and never ends."""
        pool = self._client.connection_pool
        now_seconds = time.monotonic()
        if (
            isinstance(pool, SentinelConnectionPool)
            and now_seconds - self._asked_seconds > PRIMARY_SECONDS_MAX
        ):
            self._asked_seconds = now_seconds
            await pool.get_master_address()  # drops idle connections to another

    async def drop(self) -> None:
        """Close the connections that nobody uses; the next use makes new ones."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close everything for good."""
        await self._client.aclose(close_connection_pool=True)
        pool = self._client.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            await pool.sentinel_manager.aclose()


def _words(error: Exception) -> str:
    """Return what went wrong: Redis's own first line, or what the system says of the connection."""
    if isinstance(error, (ResponseError, AuthenticationError)):
        return str(error).partition("\n")[0][:200]
    if isinstance(error, InvalidResponse):
        return str(error)
    if isinstance(error, (MasterNotFoundError, SlaveNotFoundError)):
        return "no sentinel that answers knows it"
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, OSError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {reason.verify_message}"
    if isinstance(reason, ssl.SSLError):
        return f"no TLS comes about: {reason.reason or 'it was cut off'}"
    if reason is None or not reason.errno:
        is_closed = isinstance(error, (RedisConnectionError, OSError))
        return "the connection was closed" if is_closed else type(error).__name__
    return os.strerror(reason.errno) if reason.errno > 0 else str(reason.strerror)
