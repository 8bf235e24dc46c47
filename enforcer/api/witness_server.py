"""Where a witness is asked: C2SP tlog-witness over plain HTTP/1.1, with connections that stay.

``POST …/add-checkpoint`` takes a checkpoint; ``GET …/split-views`` shows what contradicted it, and
``GET …/latest/<SHA-256 of the origin>`` what was cosigned last, which is not of the document.
Nobody is asked who they are: what counts is who signed. Refuses what is long, slow or too much
at once, and logs nothing of who asked. TLS, where it is wanted, is for a proxy in front.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import structlog

from enforcer.api.http_served import TEXT, http_served, send
from enforcer.core.witness import REQUEST_BYTES_MAX
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.services.witness import Witness

REQUEST_SECONDS_MAX: Final = 10.0
"""For a whole request to come in, and for its answer to be taken."""
IDLE_SECONDS_MAX: Final = 60.0
CONNECTIONS_MAX: Final = 64

_SIZE: Final = "text/x.tlog.size"
_STATUS: Final[dict[type[EnforcerError], HTTPStatus]] = {
    InputError: HTTPStatus.BAD_REQUEST,
    RefusedError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    IntegrityError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}

T = TypeVar("T")

log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back for one request."""

    status: HTTPStatus
    body: bytes
    kind: str = TEXT
    is_last: bool = False
    """The connection ends with it."""


@asynccontextmanager
async def witness_served(witness: Witness, host: str, port: int) -> AsyncIterator[int]:
    """Serve at `host` and `port` (0: any) and yield the port.

    Raises:
        UnavailableError: the address is taken, or is not this machine's.
    """
    asked = _Asked(witness)
    async with http_served(
        asked.answer, host, port, connections_max=CONNECTIONS_MAX, field="listen"
    ) as bound:
        yield bound


class _Asked:
    """What a witness is asked; what it cosigned is on the disk before it is answered."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether another may follow."""
        async with asyncio.timeout(IDLE_SECONDS_MAX):
            first = await reader.readexactly(1)
        async with asyncio.timeout(REQUEST_SECONDS_MAX):
            answer = await self._take(first, reader)
        await send(
            writer,
            answer.status,
            answer.kind,
            answer.body,
            is_last=answer.is_last,
            seconds_max=REQUEST_SECONDS_MAX,
        )
        return not answer.is_last

    async def _take(self, first: bytes, reader: asyncio.StreamReader) -> Answer:
        """Read one request and return its answer."""
        try:
            head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _bad("the request's head is too long")
        line, *fields = head[:-4].split(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _bad("this is no request that is understood here")
        named = [field.partition(b":") for field in fields]
        headers = {name.strip().lower(): value.strip().lower() for name, _, value in named}
        size = headers.get(b"content-length", b"0")
        if len(headers) != len(named) or b"transfer-encoding" in headers or not size.isdigit():
            return _bad("the request's head is not understood; send a Content-Length")
        if len(size) > 9 or int(size) > REQUEST_BYTES_MAX:
            return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too long\n", is_last=True)
        body = await reader.readexactly(int(size))
        answer = await self._respond(words[0], words[1].partition(b"?")[0], body)
        stays = words[2] == b"HTTP/1.1" and headers.get(b"connection") != b"close"
        return Answer(answer.status, answer.body, answer.kind, is_last=not stays)

    async def _respond(self, method: bytes, path: bytes, body: bytes) -> Answer:
        folder, _, name = path.rpartition(b"/")
        if folder.rpartition(b"/")[2] == b"latest":
            if method != b"GET":
                return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
            return await _answered(self._witness.latest_note, name.decode("ascii", "replace"))
        if name == b"add-checkpoint":
            if method != b"POST":
                return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only POST\n")
            return await _answered(self._witness.add_checkpoint, body)
        if name == b"split-views":
            if method != b"GET":
                return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET\n")
            shown = await asyncio.to_thread(self._witness.split_views)
            return Answer(HTTPStatus.OK, shown, "application/json")
        return Answer(HTTPStatus.NOT_FOUND, b"there is add-checkpoint, split-views and latest\n")


async def _answered(call: Callable[[T], bytes], value: T) -> Answer:
    """Return what a witness's call gives, or the status of what it raises."""
    try:
        body = await asyncio.to_thread(call, value)
    except ConflictError as error:
        return Answer(HTTPStatus.CONFLICT, b"%d\n" % (int(error.data.get("size") or 0)), _SIZE)
    except EnforcerError as error:
        return Answer(_STATUS[type(error)], f"{error.diagnostics()}\n".encode())
    except Exception:
        log.exception("witness_failed")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"the witness failed\n", is_last=True)
    return Answer(HTTPStatus.OK, body)


def _bad(what: str) -> Answer:
    return Answer(HTTPStatus.BAD_REQUEST, f"{what}\n".encode(), is_last=True)
