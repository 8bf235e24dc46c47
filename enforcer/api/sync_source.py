"""The feed as a node gets it from the control plane itself: :class:`enforcer.ports.FeedSource`.

One stream, kept open: it brings heads and stops while another path feeds, and entries as well once
`next` is called. Refuses what is longer than it can be, and entries that do not follow; believes
nothing. Always true: a stream on which nothing comes is given up and made anew, from the entry
that was come to.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final, Self

import structlog

from enforcer.api.client import ControlClient
from enforcer.core.note import NOTE_BYTES_MAX
from enforcer.core.tile import ENTRY_BYTES_MAX
from enforcer.errors import EnforcerError, IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import FeedUpdate
from enforcer.services.pace import Backoff
from enforcer.v1 import node_pb2

SILENT_SECONDS_MAX: Final = 20.0
"""The control plane says something every five."""
RETRY_SECONDS: Final = 0.2
RETRY_SECONDS_MAX: Final = 5.0
"""A control plane that refuses, or is away, is called ever more rarely, up to this."""
IDLE_SECONDS: Final = 3.0
"""When nobody has asked for entries for so long, they are left out again."""
BEGIN_SECONDS_MAX: Final = 2.0
UPDATES_AHEAD_MAX: Final = 2
"""Updates that are read before they are asked for: at most two messages."""
STOPS_KEPT_MAX: Final = 1_000

_log: Final = structlog.get_logger(__name__)


class SyncSource:
    """Follows one control plane, in one event loop; a context manager."""

    def __init__(
        self,
        client: ControlClient,
        *,
        silent_seconds_max: float = SILENT_SECONDS_MAX,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Take a client that somebody else opens and closes."""
        self._client = client
        self._silent_seconds_max = silent_seconds_max
        self._idle_seconds = idle_seconds
        self._faults: Counter[str] = Counter()
        self._start: int | None = None
        """From where the stream is to bring entries; None: it is to bring none."""
        self._restart = asyncio.Event()
        self._updates: deque[FeedUpdate] = deque()
        self._next_index = 0  # of what `next` would return
        self._asked_seconds = 0.0
        self._heard = asyncio.Event()
        self._room = asyncio.Event()
        self._has_begun = False
        self._problem: EnforcerError | None = None
        self._head: bytes | None = None
        self._cosigned: bytes | None = None
        self._stops: deque[bytes] = deque(maxlen=STOPS_KEPT_MAX)
        self._stops_seen = 0
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(RETRY_SECONDS, RETRY_SECONDS_MAX)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def faults(self) -> Mapping[str, int]:
        """How often something impossible was passed over, by what it was."""
        return self._faults

    async def next(self, size: int, wait_ms_max: int) -> FeedUpdate | None:
        """Return entries from index `size` on, or None if there were none for `wait_ms_max`.

        Raises:
            UnavailableError: the control plane is away.
            IntegrityError: what it sends does not follow what it sent.
        """
        self._asked_seconds = asyncio.get_running_loop().time()
        if self._start is None or self._next_index != size:
            self._begin(size)
        deadline = self._asked_seconds + wait_ms_max / 1_000
        while not self._updates:
            if self._problem is not None:
                raise self._problem
            if not await self._hear(deadline):
                return None
        update = self._updates.popleft()
        self._room.set()
        self._next_index += len(update.leaves)
        return update

    async def head(self) -> bytes | None:
        """Return the newest checkpoint that this stream brought, if there is one.

        Raises:
            UnavailableError: the control plane is away.
        """
        deadline = asyncio.get_running_loop().time() + BEGIN_SECONDS_MAX
        while not self._has_begun:
            if self._problem is not None:
                raise self._problem
            if not await self._hear(deadline):
                raise _away("it has not answered yet")
        return self._head

    async def cosigned(self) -> bytes | None:
        """Return the newest checkpoint that has cosignatures, if there is one."""
        return self._cosigned

    async def stops(self) -> AsyncIterator[bytes]:
        """Yield signed stops as they come, those of the last hour first."""
        number = 0
        while True:
            number = max(number, self._stops_seen - len(self._stops))
            while number < self._stops_seen:
                stop = self._stops[number - self._stops_seen]
                number += 1
                yield stop
            await self._hear(None)

    async def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Raise NotFoundError: the control plane gives lists by a call of their own."""
        absent: tuple[bytes, ...] = ()
        for chunk in absent:
            yield chunk
        raise _not_here(f"target list {sha256}")

    async def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Raise NotFoundError, as of lists."""
        absent: tuple[bytes, ...] = ()
        for chunk in absent:
            yield chunk
        raise _not_here(f"delta from the list {base_sha256} to {sha256}")

    def count_fault(self, what: str) -> None:
        """Count that something which came turned out to be wrong when it was used."""
        self._fault(what)

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Raise NotFoundError: the control plane gives wraps by a call of their own."""
        raise _not_here(f"wrap of the sealed list {sealed_sha256} for {key_id}")

    # The stream.

    def _begin(self, size: int) -> None:
        """Have the stream bring entries from `size` on, in a stream of its own."""
        self._start = self._next_index = size
        self._updates.clear()
        self._has_begun = False
        self._problem = None
        self._restart.set()

    async def _run(self) -> None:
        """Keep the stream that is wanted; it never returns."""
        while True:
            self._restart.clear()
            reading = asyncio.create_task(self._read(self._start))
            other = asyncio.create_task(self._restart.wait())
            try:
                await asyncio.wait({reading, other}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
                other.cancel()
                await asyncio.gather(reading, other, return_exceptions=True)

    async def _read(self, start: int | None) -> None:
        """Read one stream until it fails, or its entries are not asked for any more."""
        began_seconds = asyncio.get_running_loop().time()
        try:
            stream = self._client.sync(start or 0, without_entries=start is None)
            async with aclosing(stream):  # type: ignore[type-var]
                while True:
                    message = await self._message(stream)
                    self._take(message)
                    if message.entries and not await self._take_entries(message):
                        break
                    if start is not None and self._is_idle():
                        break
        except EnforcerError as error:
            self._fail(error, start)
            if asyncio.get_running_loop().time() - began_seconds > RETRY_SECONDS_MAX:
                self._backoff.reset()
            await asyncio.sleep(self._backoff.pause())
        else:
            self._start = None

    async def _message(self, stream: AsyncIterator[node_pb2.SyncResponse]) -> node_pb2.SyncResponse:
        try:
            async with asyncio.timeout(self._silent_seconds_max):
                return await anext(stream)
        except TimeoutError:
            raise _away(f"it has said nothing for {self._silent_seconds_max:g} s") from None
        except StopAsyncIteration:
            raise _away("it has ended the stream") from None

    def _take(self, message: node_pb2.SyncResponse) -> None:
        """Take what is not an entry."""
        self._problem = None
        # A message with nothing but stops says nothing of the head.
        tells_head = bool(message.checkpoint) or not message.stops
        self._has_begun = self._has_begun or tells_head
        if len(message.checkpoint) > NOTE_BYTES_MAX or len(message.cosigned) > NOTE_BYTES_MAX:
            self._fault("a checkpoint is longer than any can be")
        else:
            if tells_head:  # none: the ledger is empty, whatever was shown before
                self._head = message.checkpoint or None
            self._cosigned = message.cosigned or self._cosigned
        for stop in message.stops:
            if not 0 < len(stop) <= ENTRY_BYTES_MAX:
                self._fault("a stop is none")
            elif stop not in self._stops:
                self._stops.append(stop)
                self._stops_seen += 1
        self._tell()

    async def _take_entries(self, message: node_pb2.SyncResponse) -> bool:
        """Take entries when there is room for them; False when nobody wants them any more.

        Raises:
            IntegrityError: they are not those that were to come.
        """
        last = self._updates[-1] if self._updates else None
        index = self._next_index if last is None else last.first_index + len(last.leaves)
        if message.first_index != index or max(map(len, message.entries)) > ENTRY_BYTES_MAX:
            self._fault("entries do not follow")
            raise IntegrityError(
                f"entry {index} was to come from the control plane, and {message.first_index} came",
                advice="Nothing was taken; ask the ledger's operator.",
                index=index,
            )
        while len(self._updates) >= UPDATES_AHEAD_MAX:
            self._room.clear()
            try:
                async with asyncio.timeout(self._idle_seconds):
                    await self._room.wait()
            except TimeoutError:
                if self._is_idle():
                    return False
        self._updates.append(FeedUpdate(index, tuple(message.entries), message.checkpoint))
        self._tell()
        return True

    def _is_idle(self) -> bool:
        since_seconds = asyncio.get_running_loop().time() - self._asked_seconds
        return since_seconds > self._idle_seconds

    def _fail(self, error: EnforcerError, start: int | None) -> None:
        self._problem, self._has_begun = error, False
        if start is not None:
            self._updates.clear()
            self._start = self._next_index  # what was not handed on comes again
        self._tell()

    async def _hear(self, deadline_seconds: float | None) -> bool:
        """Wait until something has come or failed; False when the time is over."""
        try:
            async with asyncio.timeout_at(deadline_seconds):
                await self._heard.wait()
        except TimeoutError:
            return False
        return True

    def _tell(self) -> None:
        heard, self._heard = self._heard, asyncio.Event()
        heard.set()

    def _fault(self, what: str) -> None:
        """Count what was passed over; say it at the 1st, 2nd, 4th, 8th … time."""
        self._faults[what] += 1
        times = self._faults[what]
        if times & (times - 1) == 0:
            _log.warning("passed over garbage from the control plane", what=what, times=times)


def _away(why: str) -> UnavailableError:
    return UnavailableError(
        f"the control plane streams nothing: {why}",
        advice="Check that it runs and can be reached; this repeats by itself.",
    )


def _not_here(what: str) -> NotFoundError:
    return NotFoundError(
        f"no {what} comes with the stream", advice="Ask the control plane for it.", field="sha256"
    )
