"""A witness over HTTP: :class:`enforcer.ports.WitnessLink` by the standard library.

Each request is a connection of its own, in a thread, with bounds on time and on what is read.
No redirect is followed: the operator wrote down where the witness is.
"""

from __future__ import annotations

import asyncio
import http.client
from typing import Final
from urllib.parse import urlsplit

from enforcer.core.checkpoint import parse_decimal
from enforcer.core.witness import log_name
from enforcer.errors import ConflictError, IntegrityError, RefusedError, UnavailableError

ANSWER_BYTES_MAX: Final = 65_536
SECONDS_MAX: Final = 5.0
"""For each step of a request: connecting, and each read."""
REQUEST_SECONDS_MAX: Final = 15.0

_REFUSALS: Final = frozenset({400, 403, 404, 422})


class HttpWitness:
    """One witness at its submission prefix."""

    def __init__(self, url: str, *, seconds_max: float = SECONDS_MAX) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._seconds_max = seconds_max

    async def add_checkpoint(self, body: bytes) -> bytes:
        """Bring a request and return the answer's signature lines, unread.

        Raises:
            ConflictError: ``data["size"]`` is the size that the witness is at.
            RefusedError: it will not cosign this; ``data["status"]`` is the document's.
            UnavailableError: it did not answer in time, or with something else.
        """
        status, answer = await self._ask("POST", "add-checkpoint", body)
        if status == 200:
            return answer
        if status == 409:
            raise ConflictError(
                "the witness is at another size, or has seen another history",
                advice="Prove the way from the size that it is at.",
                size=_size_in(answer),
            )
        raise _refusal(status, answer)

    async def latest(self, origin: str) -> bytes:
        """Return the newest checkpoint of a log that it cosigned, unread; see the port.

        Raises:
            RefusedError: it offers none of this log; ``data["status"]`` says with which words.
            UnavailableError: it did not answer in time, or with something else.
        """
        status, answer = await self._ask("GET", f"latest/{log_name(origin)}")
        if status == 200:
            return answer
        raise _refusal(status, answer)

    async def _ask(self, method: str, name: str, body: bytes | None = None) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                return await asyncio.to_thread(self._request, method, name, body)
        except (OSError, TimeoutError, http.client.HTTPException) as error:
            words = str(error) or type(error).__name__
            raise UnavailableError(
                f"the witness at {self._host} does not answer: {words}",
                advice="Look whether it runs, and whether its URL is right.",
            ) from error

    def _request(self, method: str, name: str, body: bytes | None) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._seconds_max)
        try:
            headers = {"Content-Type": "text/plain"} if body is not None else {}
            connection.request(method, f"{self._prefix}/{name}", body, headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX + 1)
            if len(answer) > ANSWER_BYTES_MAX:
                raise http.client.HTTPException("the answer is too long")
            return response.status, answer
        finally:
            connection.close()


def _refusal(status: int, answer: bytes) -> RefusedError | UnavailableError:
    words = answer[:200].decode("ascii", "replace").strip().partition("\n")[0]
    if status in _REFUSALS:
        return RefusedError(
            f"the witness refuses with status {status}: {words}",
            advice="Compare the log's origin and key with what the witness's operator has.",
            status=status,
        )
    return UnavailableError(
        f"the witness answers with status {status}: {words}",
        advice="Ask its operator.",
        status=status,
    )


def _size_in(answer: bytes) -> int | None:
    try:
        return parse_decimal(answer.decode("ascii", "replace").removesuffix("\n"))
    except IntegrityError:
        return None
