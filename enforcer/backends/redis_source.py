"""The feed in Redis, as a node reads it: :class:`enforcer.ports.FeedSource`.

Only reads, and hands on bytes that it does not believe. Pushed by the stream and pulled by the
head: a stream that was trimmed or made anew leaves its readers waiting for ever without an error.
What is garbage is counted and passed over as if it were not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from enforcer.backends.feed_format import (
    CHECKPOINT_BYTES_MAX,
    CHUNK_BYTES,
    ENVELOPE_FIELD,
    LIST_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    READ_ENTRIES_MAX,
    STOP_BYTES_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_LEAVES_MAX,
    FeedKeys,
    Manifest,
    StreamEntry,
    claimed_size,
    delta_name,
    next_waypoint,
    no_wrap,
    read_entry,
    stream_id,
)
from enforcer.backends.redis_bounded import BoundedReads
from enforcer.backends.redis_connection import BLOCK_MS_MAX
from enforcer.backends.redis_place import RedisPlace
from enforcer.backends.redis_read import Message
from enforcer.backends.sealing import WRAP_BYTES_MAX
from enforcer.core.list_delta import DELTA_BYTES_MAX
from enforcer.core.tile import BUNDLE_BYTES_MAX, TILE_WIDTH, decode_bundle, encode_bundle
from enforcer.errors import IntegrityError, NotFoundError
from enforcer.ports import FeedUpdate

STOPS_READ_MAX: Final = 64
ANEW_POLLS: Final = 5
"""Of so many looks at a quiet stream of stops one asks whether it is still the same."""
_FIRST: Final = "0-0"


class RedisFeedSource:
    """Reads one ledger's feed, in one event loop."""

    def __init__(
        self, place: RedisPlace | str, origin: str, *, poll_interval_ms: int = 200
    ) -> None:
        """Check the place, or URL; nothing is connected yet.

        Raises:
            InputError: it is no Redis URL.
        """
        self._reads = BoundedReads(place)
        self._keys = FeedKeys(origin)
        self._poll_interval_ms = min(max(poll_interval_ms, 1), BLOCK_MS_MAX)
        self._in_step_at: int | None = None
        """The size that the feed was last seen to claim; None once it was waited for more."""
        self._cut_at: int | None = None
        """At which size the stream last gave a part of what one checkpoint covers."""

    @property
    def faults(self) -> Mapping[str, int]:
        """How often something unreadable was passed over, by what it was."""
        return self._reads.faults

    async def next(self, size: int, wait_ms_max: int) -> FeedUpdate | None:
        """Return entries from index `size` on, or None if there were none for `wait_ms_max`.

        What the stream brings with its checkpoint needs nothing else; the head is looked at when
        nothing has come, and where it was not seen to be at `size`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms_max / 1_000
        while True:
            note = None if self._in_step_at == size else await self.head()
            self._in_step_at = None
            if note is not None and (end := claimed_size(note)) > size:
                update = await self._collect(size, *await self._goal(size, end, note))
                if update is not None:
                    return update
            left_ms = max(int((deadline - loop.time()) * 1_000), 1)  # however slow the head was
            update = await self._wait(size, min(left_ms, self._poll_interval_ms))
            if update is not None:
                self._in_step_at = size + len(update.leaves)
                return update
            if loop.time() >= deadline:
                return None

    async def head(self) -> bytes | None:
        """Return the note at the head key, if there is one of a possible length."""
        note = await self._reads.value(self._keys.head, CHECKPOINT_BYTES_MAX)
        self._in_step_at = claimed_size(note)
        if note is not None and not self._in_step_at:
            self._reads.fault("the head is no checkpoint")
            return None
        return note

    async def cosigned(self) -> bytes | None:
        """Return the newest checkpoint that has cosignatures, if there is one."""
        note = await self._reads.value(self._keys.cosigned, CHECKPOINT_BYTES_MAX)
        if note is not None and not claimed_size(note):
            self._reads.fault("the cosigned checkpoint is none")
            return None
        return note

    async def stops(self) -> AsyncIterator[bytes]:
        """Yield signed stops as they come, those that the stream still has first."""
        after, quiet = _FIRST, 0
        while True:
            page = await self._reads.messages_after(
                self._keys.stops, after, STOPS_READ_MAX, self._poll_interval_ms
            )
            quiet = 0 if page else quiet + 1
            for identity, fields in page:
                after = identity.decode("ascii")
                envelope = fields.get(ENVELOPE_FIELD, b"")
                if 0 < len(envelope) <= STOP_BYTES_MAX:
                    yield envelope
                else:
                    self._reads.fault("a message in the stream of stops is no stop")
            # Its ids are times, so one that was made anew goes on behind, but after a clock's step.
            if quiet % ANEW_POLLS == 1 and await self._is_anew(after):
                after = _FIRST

    async def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes.

        Raises:
            NotFoundError: the feed does not have it, or not all of it.
        """
        async for chunk in self._chunks(sha256, LIST_BYTES_MAX):
            yield chunk

    async def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another.

        Raises:
            NotFoundError: the feed does not have it, or not all of it.
        """
        async for chunk in self._chunks(delta_name((sha256, base_sha256)), DELTA_BYTES_MAX):
            yield chunk

    def count_fault(self, what: str) -> None:
        """Count that something in the feed turned out to be wrong when it was used."""
        self._reads.fault(what)

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: the feed does not have it.
        """
        document = await self._reads.value(self._keys.wrap(sealed_sha256, key_id), WRAP_BYTES_MAX)
        if document is None:
            raise no_wrap(sealed_sha256)
        return document

    async def close(self) -> None:
        """Close the connections."""
        await self._reads.close()

    async def _chunks(self, name: str, size_bytes_max: int) -> AsyncIterator[bytes]:
        """Yield a list, or a delta, of at most that length."""
        # One round trip brings a short list whole.
        text, first = await self._reads.values(
            (self._keys.manifest(name), MANIFEST_BYTES_MAX),
            (self._keys.chunk(name, 0), CHUNK_BYTES),
        )
        manifest = Manifest.parse(text, size_bytes_max) if text is not None else None
        if text is not None and manifest is None:
            self._reads.fault("a target list's manifest is none")
        if manifest is None:
            raise _no_list(name)
        for at in range(manifest.chunks):
            chunk = (
                first
                if at == 0
                else await self._reads.value(self._keys.chunk(name, at), CHUNK_BYTES)
            )
            if chunk is None or len(chunk) != manifest.chunk_bytes(at):
                self._reads.fault("a chunk of a target list is missing or of another length")
                raise _no_list(name)
            yield chunk

    async def _goal(self, size: int, end: int, note: bytes) -> tuple[int, bytes]:
        """Return up to where to read now, and the checkpoint of that; at most a waypoint's way."""
        waypoint = next_waypoint(size, end)
        if waypoint is None:
            return end, note
        older = await self._reads.value(self._keys.waypoint(waypoint), CHECKPOINT_BYTES_MAX)
        if older is not None and claimed_size(older) == waypoint:
            return waypoint, older
        if older is not None:
            self._reads.fault("an older checkpoint is none of its size")
        return end, note

    async def _collect(self, size: int, end: int, note: bytes) -> FeedUpdate | None:
        """Gather the entries from `size` to `end`, or the first of them; None at a gap."""
        leaves: list[bytes] = []
        size_bytes = 0
        stream_begins = 0
        while (at := size + len(leaves)) < end:
            part: Sequence[bytes] = ()
            if at >= stream_begins:
                page = await self._range(at)
                if page and page[0].index > at:
                    stream_begins = page[0].index
                part = [entry.leaf for entry in _run(page, at)]
            part = part or await self._bundle(at)
            if not part:
                self._reads.fault("entries are missing between ours and the head")
                return None
            part = part[: end - at]
            size_bytes += sum(map(len, part))
            leaves += part
            if size_bytes > UPDATE_BYTES_MAX or len(leaves) >= UPDATE_LEAVES_MAX:
                break
        return FeedUpdate(size, tuple(leaves), note)

    async def _wait(self, size: int, wait_ms: int) -> FeedUpdate | None:
        """Wait until the stream has entry `size`; what comes with its checkpoint is an update."""
        after = stream_id(size - 1) if size else _FIRST
        messages = await self._reads.messages_after(
            self._keys.log, after, READ_ENTRIES_MAX, wait_ms
        )
        run = _run(self._entries(messages), size)
        is_cut = bool(run)
        while run and not run[-1].is_last_of_batch:
            run.pop()
        if not run and is_cut and self._cut_at != size:
            self._cut_at = size  # more was recorded at once than comes at once: by the head, then
            return None
        if run:
            return FeedUpdate(size, tuple(entry.leaf for entry in run), run[-1].checkpoint)
        if messages:  # it answered at once with nothing to go on with: do not ask again in a hurry
            self._reads.fault("the stream does not go on where we are")
            await asyncio.sleep(wait_ms / 1_000)
        return None

    async def _range(self, index: int) -> list[StreamEntry]:
        page = await self._reads.messages(self._keys.log, stream_id(index), READ_ENTRIES_MAX)
        return self._entries(page)

    async def _bundle(self, index: int) -> Sequence[bytes]:
        """Return the entries from `index` to the end of its full bundle, if that is there."""
        number, at = divmod(index, TILE_WIDTH)
        data = await self._reads.value(self._keys.bundle(number), BUNDLE_BYTES_MAX)
        if data is None:
            return ()
        try:
            entries = decode_bundle(data, TILE_WIDTH)
        except IntegrityError:
            entries = ()
        if not entries or encode_bundle(entries) != data:
            self._reads.fault("an entry bundle is none")
            return ()
        return entries[at:]

    async def _is_anew(self, after: str) -> bool:
        """Tell whether the stream of stops ends before what was read of it: it is another one."""
        if after == _FIRST:
            return False
        last = await self._reads.last_id(self._keys.stops)
        return last is None or _order(last) < _order(after.encode())

    def _entries(self, page: Sequence[Message]) -> list[StreamEntry]:
        entries = [read_entry(identity, fields) for identity, fields in page]
        if None in entries:
            self._reads.fault("a message in the stream is no entry")
        return [entry for entry in entries if entry is not None]


def _run(entries: Sequence[StreamEntry], first_index: int) -> list[StreamEntry]:
    """Return those that follow each other from `first_index` on."""
    run: list[StreamEntry] = []
    for entry in entries:
        if entry.index != first_index + len(run):
            break
        run.append(entry)
    return run


def _order(identity: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = identity.partition(b"-")
    return int(milliseconds), int(sequence)


def _no_list(name: str) -> NotFoundError:
    return NotFoundError(
        f"the feed does not have the target list {name}",
        advice="Ask the control plane for it.",
        field="target_list_sha256",
    )
