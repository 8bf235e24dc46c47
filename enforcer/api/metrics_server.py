"""Where a node shows /metrics and /health: HTTP/1.1, one request a connection, GET and HEAD.

Meant for the operator's own network: there is nothing secret in it, and nobody is asked who they
are. Refuses what is long, slow or too much at once. Never in the way of the node: the text is made
in a thread, from values that do not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from enforcer.api.metrics import expose
from enforcer.core.attestation import GateState
from enforcer.errors import UnavailableError
from enforcer.services.node_view import NodeView

REQUEST_BYTES_MAX: Final = 8_192
REQUEST_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 30.0
CONNECTIONS_MAX: Final = 16

_TEXT: Final = "text/plain; charset=utf-8"
_HEALTH: Final = {
    GateState.HOLDS_TABLE: (HTTPStatus.OK, b"ok: the gate holds what the ledger says\n"),
    GateState.DIFFERS: (HTTPStatus.SERVICE_UNAVAILABLE, b"the gate holds something else\n"),
    GateState.UNREACHABLE: (HTTPStatus.SERVICE_UNAVAILABLE, b"the gate does not answer\n"),
}


@asynccontextmanager
async def metrics_served(
    place: tuple[str, int] | None, view: Callable[[], NodeView]
) -> AsyncIterator[int]:
    """Serve at `place`, a host and a port, if there is one; yield the port, or 0.

    Raises:
        UnavailableError: the address is taken, or is not this machine's.
    """
    if place is None:
        yield 0
        return
    served = _Served(view)
    try:
        server = await asyncio.start_server(served.serve, *place, limit=REQUEST_BYTES_MAX)
    except OSError as error:
        raise UnavailableError(
            f"cannot show metrics at {place[0]} port {place[1]}: {error.strerror or error}",
            advice="Stop what listens there, or set another metrics_listen.",
            field="metrics_listen",
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        served.end()


class _Served:
    """The connections that are open."""

    def __init__(self, view: Callable[[], NodeView]) -> None:
        self._view = view
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; asyncio calls this for each connection, in a task of its own."""
        try:
            if len(self._open) < CONNECTIONS_MAX:
                self._open.add(writer)
                await self._answer(reader, writer)
        except (OSError, TimeoutError):
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

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            head = b""
        status, kind, body = await self._respond(head)
        front = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\nCache-Control: no-store\r\n\r\n"
        )
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            writer.write(front.encode("ascii"))
            if not head.startswith(b"HEAD "):
                writer.write(body)
            await writer.drain()

    async def _respond(self, head: bytes) -> tuple[HTTPStatus, str, bytes]:
        """Return the status, the content's type and the content for a request's head."""
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return HTTPStatus.BAD_REQUEST, _TEXT, b"this is no request that is understood here\n"
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET and HEAD\n"
        if path == b"/metrics":
            body = await asyncio.to_thread(expose, self._view())
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, body
        if path == b"/health":
            status, body = _HEALTH[self._view().gate]
            return status, _TEXT, body
        return HTTPStatus.NOT_FOUND, _TEXT, b"there is /metrics and /health\n"
