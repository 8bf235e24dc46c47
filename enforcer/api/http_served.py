"""Plain HTTP/1.1 as nodes and witnesses serve it: connections bounded in number, each with an end.

Owns the listening socket and what is open; what is asked and answered is its caller's. Whoever
hangs up, is silent or comes when all places are taken is let go, and nothing is logged of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final, TypeAlias

from enforcer.errors import UnavailableError

HEAD_BYTES_MAX: Final = 8_192
TEXT: Final = "text/plain; charset=utf-8"

AnswerOne: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request of a connection; tells whether another may follow."""


@asynccontextmanager
async def http_served(
    answer: AnswerOne, host: str, port: int, *, connections_max: int, field: str
) -> AsyncIterator[int]:
    """Serve at `host` and `port` (0: any) and yield the port.

    Raises:
        UnavailableError: the address, which `field` of the configuration says, is taken, or is
            not this machine's.
    """
    served = _Served(answer, connections_max)
    try:
        server = await asyncio.start_server(served.serve, host, port, limit=HEAD_BYTES_MAX)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen at {host} port {port}: {error.strerror or error}",
            advice=f"Stop what listens there, or set another {field}.",
            field=field,
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        served.end()


async def send(
    writer: asyncio.StreamWriter,
    status: HTTPStatus,
    kind: str,
    body: bytes,
    *,
    is_last: bool,
    has_body: bool = True,
    seconds_max: float,
) -> None:
    """Send an answer; without its body for HEAD.

    Raises:
        OSError, TimeoutError: nobody takes it.
    """
    front = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'close' if is_last else 'keep-alive'}\r\nCache-Control: no-store\r\n\r\n"
    )
    async with asyncio.timeout(seconds_max):
        writer.write(front.encode("ascii") + (body if has_body else b""))
        await writer.drain()


class _Served:
    """The connections that are open."""

    def __init__(self, answer: AnswerOne, connections_max: int) -> None:
        self._answer = answer
        self._connections_max = connections_max
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests; asyncio calls this in a task of its own."""
        try:
            if len(self._open) < self._connections_max:
                self._open.add(writer)
                while await self._answer(reader, writer):
                    pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it is hung up on, and nobody waits for this task
        finally:
            self._open.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def end(self) -> None:
        """Hang up on everybody."""
        for writer in self._open:
            writer.transport.abort()
