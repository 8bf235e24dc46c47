"""The feed in memory: the same contract as in Redis, for tests and for one process alone.

Owns what Redis would hold, in the open, so that a test can wipe it, trim it or forge it. The
same cases run on this and on a real Redis (tests/backends/test_feed.py).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path

from enforcer.backends.feed_format import (
    CHUNK_BYTES,
    STOPS_MAX,
    UPDATE_LEAVES_MAX,
    StreamEntry,
    claimed_size,
    next_waypoint,
    no_wrap,
    stream_floor,
)
from enforcer.core.tile import TILE_WIDTH, decode_bundle
from enforcer.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import (
    NO_DELTAS,
    Contents,
    Delta,
    FeedUpdate,
    LedgerFiles,
    Reconciliation,
)


class MemoryFeed:
    """What stands in the feed; publisher and sources share one."""

    def __init__(self) -> None:
        self.is_away = False
        self.refused = 0
        """How many calls found it away."""
        self.reconciled = 0
        """How often it was compared with a ledger."""
        self.clear()
        self._changed = asyncio.Event()

    def clear(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self.head: bytes | None = None
        self.cosigned: bytes | None = None
        self.log: dict[int, StreamEntry] = {}
        self.bundles: dict[int, bytes] = {}
        self.lists: dict[str, bytes] = {}
        self.waypoints: dict[int, bytes] = {}
        self.deltas: dict[Delta, bytes] = {}
        self.wraps: dict[tuple[str, str], bytes] = {}
        self.stops: list[bytes] = []

    def check(self) -> None:
        """Raise UnavailableError while it is away."""
        if self.is_away:
            self.refused += 1
            raise UnavailableError("the feed is away", advice="Call `is_away = False`.")

    def wake(self) -> None:
        """Let those look who wait for something new."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait for something new, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return


class MemoryFeedPublisher:
    """:class:`enforcer.ports.FeedPublisher` on a :class:`MemoryFeed`."""

    def __init__(self, feed: MemoryFeed) -> None:
        self._feed = feed
        self._ours: dict[int, StreamEntry] = {}

    async def publish(self, first_index: int, leaves: Sequence[bytes], checkpoint: bytes) -> None:
        """Show new leaves and the checkpoint over them.

        Raises:
            ConflictError: the stream does not end where these leaves begin.
        """
        self._feed.check()
        last = max(self._feed.log, default=-1)
        if last != first_index - 1:
            raise ConflictError(
                f"the feed ends at entry {last}, the new entries begin at {first_index}",
                advice="Reconcile the feed with the ledger.",
                index=first_index,
            )
        self._write(first_index, leaves, checkpoint)
        self._feed.wake()

    async def show_cosigned(self, note: bytes) -> None:
        """Show the newest checkpoint that has cosignatures."""
        self._feed.check()
        self._feed.cosigned = note

    async def show_waypoints(self, notes: Mapping[int, bytes]) -> int:
        """Write the checkpoints that are missing or others."""
        self._feed.check()
        wrong = {
            size: note for size, note in notes.items() if self._feed.waypoints.get(size) != note
        }
        self._feed.waypoints |= wrong
        return len(wrong)

    async def put_list(self, sha256: str, path: Path) -> None:
        """Make a target list readable."""
        self._feed.check()
        self._feed.lists[sha256] = await asyncio.to_thread(path.read_bytes)

    async def put_delta(self, sha256: str, base_sha256: str, path: Path) -> None:
        """Make a delta readable."""
        self._feed.check()
        self._feed.deltas[sha256, base_sha256] = await asyncio.to_thread(path.read_bytes)

    async def put_wrap(self, sealed_sha256: str, key_id: str, document: bytes) -> None:
        """Make a wrap readable."""
        self._feed.check()
        self._feed.wraps[sealed_sha256, key_id] = document

    async def push_stop(self, envelope: bytes) -> None:
        """Show readers a signed stop."""
        self._feed.check()
        self._feed.stops = [*self._feed.stops, envelope][-STOPS_MAX:]
        self._feed.wake()

    async def reconcile(
        self,
        ledger: LedgerFiles,
        lists: Contents,
        wanted: Sequence[str],
        deltas: Mapping[Delta, Path] = NO_DELTAS,
    ) -> Reconciliation:
        """Compare the feed with the ledger and write again what is missing or differs."""
        self._feed.check()
        note = ledger.checkpoint_note
        size = claimed_size(note)
        right = {index: ledger.bundle(index, TILE_WIDTH) for index in range(size // TILE_WIDTH)}
        wrong = [index for index in right if self._feed.bundles.get(index) != right[index]]
        self._feed.bundles |= right
        floor = stream_floor(size)
        held = self._feed.log
        ours = {index: entry for index, entry in self._ours.items() if floor <= index < size}
        is_right = held == ours and len(ours) == size - floor and self._feed.head == note
        was_forged = any(
            index >= size
            or entry.leaf != next(iter(ledger.entries(index, index + 1)))
            or (index in ours and entry != ours[index])
            for index, entry in held.items()
        ) or bool(self._ours and self._feed.head and self._is_strange(self._feed.head))
        if not is_right:
            self._feed.log, self._feed.head = {}, None
            if note is not None:
                self._write(floor, list(ledger.entries(floor, size)), note)
        missing = [
            each
            for each in wanted
            if lists.has(each) and self._feed.lists.get(each) != lists.path(each).read_bytes()
        ]
        for each in missing:
            await self.put_list(each, lists.path(each))
        self._feed.reconciled += 1
        differing = [
            each
            for each, path in deltas.items()
            if self._feed.deltas.get(each) != path.read_bytes()
        ]
        for delta in differing:
            await self.put_delta(*delta, deltas[delta])
        self._feed.wake()
        return Reconciliation(
            0 if is_right else size - floor,
            len(wrong),
            len(missing) + len(differing),
            was_forged=was_forged,
        )

    async def keep_lists(self, lists: Collection[str], deltas: Collection[Delta]) -> int:
        """Remove all lists, deltas and wraps but those of `lists`, and `deltas`; say how many."""
        self._feed.check()
        old = [
            *(self._feed.lists.pop(each) for each in self._feed.lists.keys() - set(lists)),
            *(self._feed.deltas.pop(each) for each in self._feed.deltas.keys() - set(deltas)),
            *(
                self._feed.wraps.pop(each)
                for each in list(self._feed.wraps)
                if each[0] not in lists
            ),
        ]
        return len(old)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _write(self, first_index: int, leaves: Sequence[bytes], note: bytes) -> None:
        size = first_index + len(leaves)
        for index, leaf in enumerate(leaves, first_index):
            self._ours[index] = self._feed.log[index] = StreamEntry(index, leaf, note)
        for number in range(first_index // TILE_WIDTH, size // TILE_WIDTH):
            part = [self._ours.get(number * TILE_WIDTH + at) for at in range(TILE_WIDTH)]
            known = [entry.leaf for entry in part if entry is not None]
            if len(known) == TILE_WIDTH:
                self._feed.bundles[number] = b"".join(
                    len(leaf).to_bytes(2, "big") + leaf for leaf in known
                )
        floor = stream_floor(size)
        self._feed.log = {at: entry for at, entry in self._feed.log.items() if at >= floor}
        self._ours = {at: entry for at, entry in self._ours.items() if at >= floor}
        self._feed.head = note

    def _is_strange(self, head: bytes) -> bool:
        return all(entry.checkpoint != head for entry in self._ours.values())


class MemoryFeedSource:
    """:class:`enforcer.ports.FeedSource` on a :class:`MemoryFeed`."""

    def __init__(self, feed: MemoryFeed, *, poll_interval_ms: int = 20) -> None:
        self._feed = feed
        self._poll_seconds = poll_interval_ms / 1_000
        self._faults: Counter[str] = Counter()

    @property
    def faults(self) -> Mapping[str, int]:
        """How often something unreadable was passed over, by what it was."""
        return self._faults

    async def next(self, size: int, wait_ms_max: int) -> FeedUpdate | None:
        """Return entries from index `size` on, or None if there were none for `wait_ms_max`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms_max / 1_000
        while True:
            update = await self._look(size)
            left_seconds = deadline - loop.time()
            if update is not None or left_seconds <= 0:
                return update
            await self._feed.wait(min(left_seconds, self._poll_seconds))

    async def head(self) -> bytes | None:
        """Return the note at the head key, if there is one."""
        self._feed.check()
        if self._feed.head is not None and not claimed_size(self._feed.head):
            self._faults["the head is no checkpoint"] += 1
            return None
        return self._feed.head

    async def cosigned(self) -> bytes | None:
        """Return the newest checkpoint that has cosignatures, if there is one."""
        self._feed.check()
        return self._feed.cosigned

    async def stops(self) -> AsyncIterator[bytes]:
        """Yield signed stops as they come, those that the feed still has first."""
        seen: list[bytes] = []
        while True:
            self._feed.check()
            for envelope in [each for each in self._feed.stops if each not in seen]:
                seen.append(envelope)
                yield envelope
            await self._feed.wait(self._poll_seconds)

    async def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes.

        Raises:
            NotFoundError: the feed does not have it.
        """
        self._feed.check()
        if sha256 not in self._feed.lists:
            raise NotFoundError(f"the feed does not have {sha256}", advice="Ask elsewhere.")
        data = self._feed.lists[sha256]
        for at in range(0, len(data), CHUNK_BYTES):
            yield data[at : at + CHUNK_BYTES]

    async def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another.

        Raises:
            NotFoundError: the feed does not have it.
        """
        self._feed.check()
        if (sha256, base_sha256) not in self._feed.deltas:
            raise NotFoundError(f"the feed has no delta to {sha256}", advice="Take the list.")
        data = self._feed.deltas[sha256, base_sha256]
        for at in range(0, len(data), CHUNK_BYTES):
            yield data[at : at + CHUNK_BYTES]

    def count_fault(self, what: str) -> None:
        """Count that something in the feed turned out to be wrong when it was used."""
        self._faults[what] += 1

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: the feed does not have it.
        """
        self._feed.check()
        if (sealed_sha256, key_id) not in self._feed.wraps:
            raise no_wrap(sealed_sha256)
        return self._feed.wraps[sealed_sha256, key_id]

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def _look(self, size: int) -> FeedUpdate | None:
        note = await self.head()
        end = claimed_size(note)
        waypoint = next_waypoint(size, end)
        if waypoint is not None and waypoint in self._feed.waypoints:
            older = self._feed.waypoints[waypoint]
            if claimed_size(older) == waypoint:
                end, note = waypoint, older
            else:
                self._faults["an older checkpoint is none of its size"] += 1
        if note is not None and end > size:
            leaves = self._gather(size, end)
            if leaves:
                return FeedUpdate(size, tuple(leaves), note)
        run: list[StreamEntry] = []
        while (entry := self._feed.log.get(size + len(run))) is not None:
            run.append(entry)
        while run and not run[-1].is_last_of_batch:
            run.pop()
        if run:
            return FeedUpdate(size, tuple(entry.leaf for entry in run), run[-1].checkpoint)
        return None

    def _gather(self, size: int, end: int) -> list[bytes]:
        leaves: list[bytes] = []
        while (at := size + len(leaves)) < min(end, size + UPDATE_LEAVES_MAX):
            if at in self._feed.log:
                leaves.append(self._feed.log[at].leaf)
                continue
            try:
                entries = decode_bundle(self._feed.bundles.get(at // TILE_WIDTH, b""), TILE_WIDTH)
            except IntegrityError:
                self._faults["entries are missing between ours and the head"] += 1
                return []
            leaves += entries[at % TILE_WIDTH : end - at + at % TILE_WIDTH]
        return leaves
