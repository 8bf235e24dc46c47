"""The feed of one ledger for nodes that ask the control plane itself: Redis is away, or lies.

Each stream brings the newest checkpoints, stops as they come, and entries from any index on.
Refuses more streams than it can serve; of one node's the newest go on, since a connection that
died may look alive. One that has to end counts until it has: what a node does not read holds it.
The writer never waits for it: what many nodes want is read and made once, by threads of its own,
and they are woken a few at a time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from enforcer.core.entry import Entry, parse
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.order import OrderStopped
from enforcer.core.tile import TILE_WIDTH
from enforcer.errors import EnforcerError, UnavailableError
from enforcer.services.ledger import Appended, Ledger

HEARTBEAT_SECONDS: Final = 5.0
STREAMS_MAX: Final = 12_000
STREAMS_PER_PEER_MAX: Final = 2
STREAMS_HELD_PER_PEER_MAX: Final = 4
"""With those that were told to end: gRPC lets nobody cut a message that the peer does not read."""
READERS: Final = 2
PIECE_BUNDLES: Final = 8
PIECE_BYTES_MAX: Final = 1 << 20
"""A piece of entries is closed by the one that takes it over this."""
PIECES_KEPT_MAX: Final = 16
STOPS_KEPT_MAX: Final = 1_000
STOPS_SHOWN_MS: Final = 3_600_000
"""Stops of the last hour are shown to whoever begins."""
STOPS_AT_ONCE_MAX: Final = 16
LOOKED_BACK_MAX: Final = 4_096
"""So many of the last entries are searched for stops of the last hour, at the start."""
WOKEN_AT_ONCE_MAX: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class SyncUpdate:
    """What one message brings; the same object goes to all who want the same."""

    checkpoint_note: bytes = b""
    """The newest checkpoint; it covers the leaves, and perhaps more."""
    first_index: int = 0
    leaves: tuple[bytes, ...] = ()
    cosigned_note: bytes = b""
    stops: tuple[bytes, ...] = ()


@dataclass(slots=True, eq=False)
class _Stream:
    """One node that listens."""

    wants_entries: bool
    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def end(self) -> None:
        """Let it go: another has taken its place, or all are to end."""
        self.is_over = True
        self.news.set()


class SyncFeed:
    """The streams of one ledger; use it from one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        cosigned: Callable[[], bytes | None],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Take the ledger, and what tells its newest cosigned checkpoint."""
        self._ledger = ledger
        self._cosigned = cosigned
        self._heartbeat_seconds = heartbeat_seconds
        self._peers: dict[str, list[_Stream]] = {}
        self._stops: deque[tuple[int, bytes]] = deque(maxlen=STOPS_KEPT_MAX)
        """When each came, and its envelope."""
        self._stops_seen = 0  # the number of the next
        self._pieces: OrderedDict[tuple[int, int], asyncio.Future[SyncUpdate]] = OrderedDict()
        self._reading: dict[str, asyncio.Future[SyncUpdate]] = {}
        """By the peer that asked first: one at a time, however often it calls anew."""
        self._readers = ThreadPoolExecutor(READERS, "sync")
        self._to_wake: set[bool] = set()
        self._waking: asyncio.Task[None] | None = None
        self._is_closing = False
        ledger.on_append(self._appended)

    @property
    def streams(self) -> int:
        """How many listen, or were told to end and have not yet."""
        return sum(map(len, self._peers.values()))

    async def restore(self) -> None:
        """Find the stops of the last hour that the ledger has.

        Raises:
            IntegrityError, UnavailableError: the ledger cannot be read.
        """
        since_ms = self._ledger.now_ms() - STOPS_SHOWN_MS
        for entry in _stops_in(await asyncio.to_thread(self._entries_since, since_ms)):
            self._add_stop(entry.recorded_at_ms, format_envelope(entry.envelope))

    def _entries_since(self, since_ms: int) -> list[Entry]:
        """Return the last entries recorded since then; read from the end, so a start is short."""
        end = self._ledger.state.size
        first = max(end - LOOKED_BACK_MAX, 0)
        found: list[Entry] = []
        while end > first:
            start = max((end - 1) // TILE_WIDTH * TILE_WIDTH, first)
            entries = list(map(parse, self._ledger.files.entries(start, end)))
            late = [entry for entry in entries if entry.recorded_at_ms >= since_ms]
            found[:0] = late
            if len(late) < len(entries):
                break
            end = start
        return found

    def close(self) -> None:
        """Let every stream go: this process ends, and nodes go on elsewhere or later."""
        self._is_closing = True
        for stream in self._all():
            stream.end()
        self._readers.shutdown(wait=False)

    def show_stop(self, envelope: Envelope) -> bool:
        """Show a stop to all who listen, logged or not; tell whether anybody does."""
        self._add_stop(self._ledger.now_ms(), format_envelope(envelope))
        self._wake(entries_alone=False)
        return bool(self._peers)

    def cosigned_came(self) -> None:
        """Show the newest cosigned checkpoint to those who follow by this feed."""
        self._wake(entries_alone=True)

    async def follow(
        self, peer: str, start_index: int, *, with_entries: bool
    ) -> AsyncGenerator[SyncUpdate, None]:
        """Yield what there is and what comes, something at least every `heartbeat_seconds`.

        Raises:
            UnavailableError: there are too many streams, a newer one of this peer has taken
                its place, or the control plane ends.
        """
        stream = self._enter(peer, with_entries)
        index, stop_at = start_index, self._first_stop()
        cosigned, is_due = b"", True
        try:
            while True:
                stream.news.clear()
                if stream.is_over:
                    raise _ended()
                if stop_at < self._stops_seen:
                    stop_at, stops = self._stops_from(stop_at)
                    yield SyncUpdate(stops=stops)
                    continue
                if with_entries and index < self._ledger.state.size:
                    piece = await self._piece(peer, index)
                    if piece is None:
                        continue
                    index += len(piece.leaves)
                    yield piece
                    continue
                newest = self._cosigned() or b""
                if is_due or (with_entries and newest != cosigned):
                    note = self._ledger.files.checkpoint_note or b""
                    is_other, cosigned, is_due = newest != cosigned, newest, False
                    yield SyncUpdate(note, cosigned_note=cosigned if is_other else b"")
                    continue
                try:
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await stream.news.wait()
                except TimeoutError:
                    is_due = True
        finally:
            self._leave(peer, stream)

    # Who listens.

    def _enter(self, peer: str, wants_entries: bool) -> _Stream:
        if self._is_closing:
            raise _ended()
        own = self._peers.get(peer, [])
        is_full = self.streams >= STREAMS_MAX
        going = [each for each in own if not each.is_over]
        if len(going) >= (1 if is_full else STREAMS_PER_PEER_MAX):
            going[0].end()
        if len(own) >= STREAMS_HELD_PER_PEER_MAX:
            raise UnavailableError(
                f"{len(own)} streams of this node have not ended",
                advice="Read them, or close them; this is tried again by itself.",
            )
        if is_full:
            raise UnavailableError(
                f"{STREAMS_MAX} streams go to nodes already",
                advice="Follow the feed in Redis; this is tried again by itself.",
            )
        stream = _Stream(wants_entries)
        self._peers[peer] = [*own, stream]
        return stream

    def _leave(self, peer: str, stream: _Stream) -> None:
        left = [each for each in self._peers.get(peer, ()) if each is not stream]
        if left:
            self._peers[peer] = left
        else:
            self._peers.pop(peer, None)

    def _all(self) -> list[_Stream]:
        return [stream for streams in self._peers.values() for stream in streams]

    def _wake(self, *, entries_alone: bool) -> None:
        self._to_wake.add(entries_alone)
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._wake_all())

    async def _wake_all(self) -> None:
        """Wake streams a few at a time, so that whoever records waits for a few at the most."""
        while self._to_wake:
            entries_alone = False not in self._to_wake
            self._to_wake.clear()
            waiting = [each for each in self._all() if each.wants_entries or not entries_alone]
            for at in range(0, len(waiting), WOKEN_AT_ONCE_MAX):
                for stream in waiting[at : at + WOKEN_AT_ONCE_MAX]:
                    stream.news.set()
                await asyncio.sleep(0)

    # What they get.

    def _appended(self, appended: Appended) -> None:
        end = appended.first_index + len(appended.leaves)
        if sum(map(len, appended.leaves)) <= PIECE_BYTES_MAX:
            made: asyncio.Future[SyncUpdate] = asyncio.get_running_loop().create_future()
            made.set_result(
                SyncUpdate(appended.checkpoint_note, appended.first_index, appended.leaves)
            )
            self._keep((appended.first_index, end), made)
        stops = list(_stops_in(appended.entries))
        for entry in stops:
            self._add_stop(entry.recorded_at_ms, format_envelope(entry.envelope))
        self._wake(entries_alone=not stops)

    async def _piece(self, peer: str, index: int) -> SyncUpdate | None:
        """Return entries from `index` on, which whoever asked first has had read.

        None: another read for this peer had to end first; look again what it is to get.
        """
        last = (index // TILE_WIDTH + PIECE_BUNDLES) * TILE_WIDTH
        key = index, min(self._ledger.state.size, last)
        if key not in self._pieces:
            if peer in self._reading:
                await asyncio.wait([self._reading[peer]])
                return None
            reading = asyncio.get_running_loop().run_in_executor(self._readers, self._read, *key)
            self._reading[peer] = reading
            reading.add_done_callback(lambda _: self._reading.pop(peer))
            self._keep(key, reading)
        try:
            return await asyncio.shield(self._pieces[key])
        except EnforcerError:
            self._pieces.pop(key, None)
            raise

    def _keep(self, key: tuple[int, int], made: asyncio.Future[SyncUpdate]) -> None:
        self._pieces[key] = made
        while len(self._pieces) > PIECES_KEPT_MAX:
            self._pieces.popitem(last=False)

    def _read(self, first: int, end: int) -> SyncUpdate:
        note = self._ledger.files.checkpoint_note or b""
        leaves: list[bytes] = []
        size_bytes = 0
        for leaf in self._ledger.files.entries(first, end):
            leaves.append(leaf)
            size_bytes += len(leaf)
            if size_bytes > PIECE_BYTES_MAX:
                break
        return SyncUpdate(note, first, tuple(leaves))

    def _add_stop(self, at_ms: int, envelope: bytes) -> None:
        if all(envelope != known for _, known in self._stops):
            self._stops.append((at_ms, envelope))
            self._stops_seen += 1

    def _first_stop(self) -> int:
        """Return the number of the first stop of the last hour."""
        since_ms = self._ledger.now_ms() - STOPS_SHOWN_MS
        return self._stops_seen - sum(at_ms >= since_ms for at_ms, _ in self._stops)

    def _stops_from(self, number: int) -> tuple[int, tuple[bytes, ...]]:
        """Return some stops from that number on, and the number after them."""
        first = self._stops_seen - len(self._stops)
        at = max(number - first, 0)
        stops = tuple(each for _, each in islice(self._stops, at, at + STOPS_AT_ONCE_MAX))
        return first + at + len(stops), stops


def _stops_in(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries that stop an order."""
    return (entry for entry in entries if entry.envelope.payload_type == OrderStopped.TYPE)


def _ended() -> UnavailableError:
    return UnavailableError(
        "this stream ends: the control plane does, or another stream has taken its place",
        advice="Call again with the index that you have come to.",
    )
