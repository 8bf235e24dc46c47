"""What differs between the feed in Redis and the ledger; it reads, and decides nothing.

Remembers which checkpoint was written with which entry, because older ones are kept nowhere
else. The stream is compared whole each time; of bundles and lists a few are read whole each
time, in turn, so that an altered one is found within a bounded number of calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import InvalidResponse

from enforcer.backends import redis_read
from enforcer.backends.feed_format import (
    CHECKPOINT_BYTES_MAX,
    CHUNK_BYTES,
    MANIFEST_BYTES_MAX,
    READ_ENTRIES_MAX,
    FeedKeys,
    Manifest,
    read_entry,
    stream_floor,
    stream_id,
)
from enforcer.backends.redis_read import GarbageError, Message
from enforcer.core.tile import BUNDLE_BYTES_MAX, TILE_WIDTH
from enforcer.ports import LedgerFiles

BUNDLES_READ_MAX: Final = 8
"""Bundles that one call reads whole."""
LENGTHS_ASKED_MAX: Final = 512
"""Lengths that one round trip asks for."""


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """Whether stream and head are ours to the last byte; if not, whether someone wrote there."""

    is_right: bool
    is_forged: bool


_RIGHT: Final = StreamVerdict(is_right=True, is_forged=False)
_LACKING: Final = StreamVerdict(is_right=False, is_forged=False)
_FORGED: Final = StreamVerdict(is_right=False, is_forged=True)


class FeedAudit:
    """Compares one feed with its ledger."""

    def __init__(self, keys: FeedKeys) -> None:
        self._keys = keys
        self._notes: dict[int, bytes] = {}  # entry index -> SHA-256 of the note written with it
        self._next_bundle = 0
        self._next_chunk = 0

    def wrote(self, first_index: int, leaves: Sequence[bytes], note: bytes) -> None:
        """Remember that the publisher put `note` beside these entries."""
        size = first_index + len(leaves)
        floor = stream_floor(size)
        digest = sha256(note).digest()
        self._notes = {index: seen for index, seen in self._notes.items() if index >= floor}
        self._notes |= dict.fromkeys(range(max(first_index, floor), size), digest)

    async def compare_stream(
        self, redis: Redis, ledger: LedgerFiles, size: int, note: bytes | None
    ) -> StreamVerdict:
        """Compare all that the stream keeps, and the head, with a ledger of `size` entries."""
        try:
            head = await redis_read.value(redis, self._keys.head, CHECKPOINT_BYTES_MAX)
            if head != (note or b""):
                return self._strange(head)
            expected = stream_floor(size)
            while True:
                page = await redis_read.messages(
                    redis, self._keys.log, stream_id(expected), READ_ENTRIES_MAX
                )
                if not page:
                    break
                end = min(expected + len(page), size)
                leaves = await asyncio.to_thread(
                    lambda start, stop: list(ledger.entries(start, stop)), expected, end
                )
                verdict = self._compare_page(page, expected, leaves, size)
                if not verdict.is_right:
                    return verdict
                expected = end
            first = await redis_read.messages(redis, self._keys.log, "-", 1)
        except (GarbageError, InvalidResponse):
            # Another kind of key, or a message too large to read, is nothing that we wrote.
            return _FORGED
        begins = size == 0 or (first and first[0][0] == stream_id(stream_floor(size)).encode())
        return _RIGHT if expected == size and begins else _LACKING

    async def wrong_bundles(self, redis: Redis, ledger: LedgerFiles, count: int) -> list[int]:
        """Return which of the first `count` bundles are missing, or were read and found altered."""
        wrong: set[int] = set()
        for start in range(0, count, LENGTHS_ASKED_MAX):
            some = range(start, min(start + LENGTHS_ASKED_MAX, count))
            async with redis.pipeline(transaction=False) as turn:
                for index in some:
                    turn.strlen(self._keys.bundle(index))
                lengths = await turn.execute(raise_on_error=False)
            wrong |= {
                index
                for index, length in zip(some, lengths, strict=True)
                if not isinstance(length, int) or length == 0
            }
        for _ in range(min(count, BUNDLES_READ_MAX)):
            index = self._next_bundle = (self._next_bundle + 1) % count
            if index not in wrong:
                held = await _held(redis, self._keys.bundle(index), BUNDLE_BYTES_MAX)
                if held != await asyncio.to_thread(ledger.bundle, index, TILE_WIDTH):
                    wrong.add(index)
        return sorted(wrong)

    async def has_list(self, redis: Redis, name: str, path: Path) -> bool:
        """Tell whether manifest and chunks of a list are there; one chunk is read, in turn.

        `name` is its SHA-256, or a delta's name.
        """
        manifest = Manifest.of(path)
        async with redis.pipeline(transaction=False) as turn:
            turn.getrange(self._keys.manifest(name), 0, MANIFEST_BYTES_MAX)
            for at in range(manifest.chunks):
                turn.strlen(self._keys.chunk(name, at))
            held, *lengths = await turn.execute(raise_on_error=False)
        if held != manifest.format():
            return False
        if lengths != [manifest.chunk_bytes(at) for at in range(manifest.chunks)]:
            return False
        at = self._next_chunk = (self._next_chunk + 1) % manifest.chunks
        chunk = await _held(redis, self._keys.chunk(name, at), CHUNK_BYTES)
        return chunk == (await asyncio.to_thread(_read_chunk, path, at))

    def _strange(self, head: bytes) -> StreamVerdict:
        """Judge a head that is not the ledger's: an older one of ours, nothing, or a forgery."""
        is_ours = not head or not self._notes or sha256(head).digest() in self._notes.values()
        return _LACKING if is_ours else _FORGED

    def _compare_page(
        self,
        page: Sequence[Message],
        first_index: int,
        leaves: Sequence[bytes],
        size: int,
    ) -> StreamVerdict:
        for at, (identity, fields) in enumerate(page):
            entry = read_entry(identity, fields)
            if entry is None or entry.index >= size:
                return _FORGED
            index = first_index + at
            if entry.index != index:
                return _LACKING
            note = self._notes.get(index)
            if entry.leaf != leaves[at]:
                return _FORGED
            if note is None:  # written by an earlier process: it may be right, and is not ours
                return _LACKING
            if sha256(entry.checkpoint).digest() != note:
                return _FORGED
        return _RIGHT


async def _held(redis: Redis, key: str, size_bytes_max: int) -> bytes | None:
    """Return a key's value; None where somebody has put another kind of key there since."""
    try:
        return await redis_read.value(redis, key, size_bytes_max)
    except GarbageError:
        return None


def _read_chunk(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at * CHUNK_BYTES)
        return file.read(CHUNK_BYTES)
