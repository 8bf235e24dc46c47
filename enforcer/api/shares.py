"""How much of a server one certificate may take at once, and how long it may leave a call unasked.

Every call takes a place of the server's from its first octet on, also one whose request never
comes. So calls are counted by the names in the certificate before their request is waited for, and
let go when it does not come. gRPC has no bound on connections from one peer; the firewall has.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

from enforcer.errors import InputError, UnavailableError

CALLS_PER_CALLER_MAX: Final = 128
"""A node has some ten at once, a person fewer."""
LONG_ANSWERS_PER_CALLER_MAX: Final = 64
"""Each holds a message, 1 MiB at the most, and perhaps a file."""
CALLS_OF_METHOD_PER_CALLER_MAX: Final[Mapping[str, int]] = {
    # Each waits for the writer of the ledger, among the acts of everybody, with its documents.
    "/enforcer.v1.NodeService/PushSuspension": 16,
}
REQUEST_SECONDS_MAX: Final = 20.0
"""So long a request may take to come, and each further message of one."""

Names: TypeAlias = tuple[bytes, ...]
"""The URI names in a certificate: who calls."""


class Shares:
    """What each caller of one server has in hand; use it from one event loop."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[Names, str]] = Counter()

    @property
    def calls(self) -> int:
        """How many calls are in progress."""
        return sum(count for (_, what), count in self._taken.items() if not what)

    @contextmanager
    def call(self, caller: Names, method: str) -> Iterator[None]:
        """Count a call, until it has ended.

        Raises:
            UnavailableError: this caller has too many.
        """
        with self._one(caller, "", CALLS_PER_CALLER_MAX, "calls"):
            if method not in CALLS_OF_METHOD_PER_CALLER_MAX:
                yield
                return
            most = CALLS_OF_METHOD_PER_CALLER_MAX[method]
            with self._one(caller, method, most, f"calls of {method.rpartition('/')[2]}"):
                yield

    @contextmanager
    def long_answer(self, caller: Names) -> Iterator[None]:
        """Count an answer of many messages, until it has ended.

        Raises:
            UnavailableError: this caller has too many.
        """
        with self._one(caller, "answers", LONG_ANSWERS_PER_CALLER_MAX, "long answers"):
            yield

    @contextmanager
    def _one(self, caller: Names, what: str, most: int, words: str) -> Iterator[None]:
        key = caller, what
        if self._taken[key] >= most:
            raise UnavailableError(
                f"{most} {words} of this certificate are in progress already",
                advice="Wait for their answers, or close them, and call again.",
            )
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]


async def the_request(requests: AsyncIterator[object]) -> object:
    """Return the one request of a call.

    Raises:
        InputError: there is none.
        UnavailableError: it does not come.
    """
    async for request in in_time(requests):
        return request
    raise InputError("the call has no request", advice="Send one message.")


async def in_time(requests: AsyncIterator[object]) -> AsyncIterator[object]:
    """Yield what comes.

    Raises:
        UnavailableError: nothing does for too long.
    """
    while True:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                request = await anext(requests)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UnavailableError(
                f"no request came within {REQUEST_SECONDS_MAX:g} s",
                advice="Call again, and send it at once.",
            ) from error
        yield request
