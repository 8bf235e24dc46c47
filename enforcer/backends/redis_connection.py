"""One Redis behind a URL, and the border at which its failures become ours.

Owns the connections. Refuses replies over a bound before they are in memory: whoever took Redis
over could otherwise fill a node's. Always true: after any failure the connections that nobody uses
are dropped, so that the next call asks the address anew and does not stick to a demoted primary;
those of other calls end by themselves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
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
from enforcer.errors import InputError, UnavailableError

REDIS_PORT: Final = 6_379
CONNECT_TIMEOUT_SECONDS: Final = 2.0
REPLY_TIMEOUT_SECONDS: Final = 5.0
BLOCK_MS_MAX: Final = 2_000
"""Longest that a command may wait inside Redis: well under the reply's timeout."""
ELEMENT_BYTES: Final = 64
"""What an element of a reply costs beside its bytes."""


_UNAVAILABLE_ADVICE: Final = "Check that Redis runs and can be reached; this repeats by itself."
_REMEDY: Final = (
    (AuthenticationError, "Check the user in the Redis URL and the password file."),
    (
        NoPermissionError,
        "Give this Redis user the rights that `enforcer init` writes into node.toml.",
    ),
    (OutOfMemoryError, "Raise Redis's maxmemory; the feed never evicts."),
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

    def __init__(self, url: str, password: str | None = None) -> None:
        """Check the URL; nothing is connected yet.

        Raises:
            InputError: it is no Redis URL.
        """
        try:
            self._client: Redis = Redis.from_url(
                url,
                password=password,
                protocol=2,
                parser_class=BoundedParser,
                retry=Retry(NoBackoff(), 1),  # a pooled connection may be one that Redis closed
                socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
                socket_timeout=REPLY_TIMEOUT_SECONDS,
            )
        except ValueError as error:
            raise InputError(
                f"{url!r} is no Redis URL: {error}",
                advice="Give redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH.",
                field="redis.url",
            ) from error

        settings = self._client.connection_pool.connection_kwargs
        host = settings.get("host", "localhost")
        self._place = settings.get("path") or f"{host} port {settings.get('port', REDIS_PORT)}"

    @asynccontextmanager
    async def use(self, action: str) -> AsyncIterator[Redis]:
        """Give the client, and turn what fails in the block into ours.

        Raises:
            UnavailableError: Redis is away, refuses this user, or cannot take more.
        """
        task = asyncio.current_task()
        cancels_before = task.cancelling() if task is not None else 0
        try:
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

    async def drop(self) -> None:
        """Close the connections that nobody uses; the next use makes new ones."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close everything for good."""
        await self._client.aclose(close_connection_pool=True)


def _words(error: Exception) -> str:
    """Return what went wrong: Redis's own first line, or what the system says of the connection."""
    if isinstance(error, (ResponseError, AuthenticationError)):
        return str(error).partition("\n")[0][:200]
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, OSError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if reason is None or not reason.errno:
        is_closed = isinstance(error, (RedisConnectionError, OSError))
        return "the connection was closed" if is_closed else type(error).__name__
    return os.strerror(reason.errno) if reason.errno > 0 else str(reason.strerror)
