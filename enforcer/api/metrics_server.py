"""Where a program shows /metrics and /health: HTTP/1.1, one request a connection, GET and HEAD.

Meant for the operator's own network: there is nothing secret in it, and nobody is asked who they
are. Refuses what is long, slow or too much at once. Never in the way of the node: the text is made
in a thread, from values that do not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from enforcer.api.health import health
from enforcer.api.http_served import TEXT, http_served, send
from enforcer.api.metrics import expose
from enforcer.services.node_view import NodeView

REQUEST_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 30.0
CONNECTIONS_MAX: Final = 16


@asynccontextmanager
async def metrics_served(
    place: tuple[str, int] | None, view: Callable[[], NodeView]
) -> AsyncIterator[int]:
    """Serve at `place`, a host and a port, if there is one; yield the port, or 0.

    Raises:
        UnavailableError: the address is taken, or is not this machine's.
    """

    async def page() -> Callable[[], bytes]:
        return partial(expose, view())

    async with pages_served(place, page, lambda: health(view())) as port:
        yield port


@asynccontextmanager
async def pages_served(
    place: tuple[str, int] | None,
    text: Callable[[], Awaitable[Callable[[], bytes]]],
    state: Callable[[], tuple[HTTPStatus, bytes]],
) -> AsyncIterator[int]:
    """Serve metrics and health at `place`, if there is one; yield the port, or 0.

    `text` takes what is to be shown, and returns what makes a text of it in a thread.

    Raises:
        UnavailableError: the address is taken, or is not this machine's.
    """
    if place is None:
        yield 0
        return
    shown = _Shown(text, state)
    async with http_served(
        shown.answer, *place, connections_max=CONNECTIONS_MAX, field="metrics_listen"
    ) as port:
        yield port


class _Shown:
    """What is shown of a program."""

    def __init__(
        self,
        text: Callable[[], Awaitable[Callable[[], bytes]]],
        state: Callable[[], tuple[HTTPStatus, bytes]],
    ) -> None:
        self._text = text
        self._state = state

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the one request of a connection."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        status, kind, body = await self._respond(head)
        has_body = not head.startswith(b"HEAD ")
        await send(
            writer,
            status,
            kind,
            body,
            is_last=True,
            has_body=has_body,
            seconds_max=ANSWER_SECONDS_MAX,
        )
        return False

    async def _respond(self, head: bytes) -> tuple[HTTPStatus, str, bytes]:
        """Return the status, the content's type and the content for a request's head."""
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return HTTPStatus.BAD_REQUEST, TEXT, b"this is no request that is understood here\n"
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n"
        if path == b"/metrics":
            body = await asyncio.to_thread(await self._text())
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, body
        if path == b"/health":
            status, body = self._state()
            return status, TEXT, body
        return HTTPStatus.NOT_FOUND, TEXT, b"there is /metrics and /health\n"
