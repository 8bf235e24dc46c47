"""The feed in Redis, as the control plane writes it: :class:`enforcer.ports.FeedPublisher`.

Writes what the ledger holds, and never believes what it reads back: whatever differs is written
again. Refuses a Redis that would drop keys by itself. Always true: entries and the head that
covers them appear together, and no entry leaves the stream before its bundle is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.typing import EncodableT, FieldT

from enforcer.backends import redis_read
from enforcer.backends.feed_format import (
    CHECKPOINT_BYTES_MAX,
    CHECKPOINT_FIELD,
    CHUNK_BYTES,
    ENTRY_FIELD,
    ENVELOPE_FIELD,
    STOPS_MAX,
    FeedKeys,
    Manifest,
    claimed_size,
    delta_name,
    stream_floor,
    stream_id,
)
from enforcer.backends.redis_audit import FeedAudit
from enforcer.backends.redis_connection import RedisLink
from enforcer.backends.redis_place import RedisPlace
from enforcer.core.tile import TILE_WIDTH, encode_bundle
from enforcer.errors import ConflictError, InputError
from enforcer.ports import NO_DELTAS, Contents, Delta, LedgerFiles, Reconciliation

OLDEST_VERSION: Final = (6, 2)  # XTRIM MINID


class RedisFeedPublisher:
    """Writes one ledger's feed; the only writer of it, in one event loop."""

    def __init__(self, place: RedisPlace | str, origin: str) -> None:
        """Check the place, or URL; nothing is connected yet.

        Raises:
            InputError: it is no Redis URL.
        """
        self._link = RedisLink(place)
        self._keys = FeedKeys(origin)
        self._tail = BundleTail()
        self._audit = FeedAudit(self._keys)
        self._turn = asyncio.Lock()
        self._is_checked = False

    async def check_server(self) -> None:
        """Look whether this Redis can carry a feed.

        Raises:
            InputError: it is older than 6.2, or set to evict keys when its memory is full.
            UnavailableError: it is away.
        """
        async with self._link.use("read the server's settings") as redis:
            info = await redis.info("server") | await redis.info("memory")
        version = str(info.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERSION:
            raise InputError(
                f"Redis is of version {version}",
                advice="Run Redis 6.2 or later.",
                field="redis.url",
            )
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise InputError(
                f"Redis would drop keys by itself: its maxmemory-policy is {policy}",
                advice="Run: redis-cli config set maxmemory-policy noeviction - and keep it so in "
                "redis.conf.",
                field="redis.url",
            )
        self._is_checked = True

    async def publish(self, first_index: int, leaves: Sequence[bytes], checkpoint: bytes) -> None:
        """Show new leaves and the checkpoint over them, both at once; complete bundles before.

        Raises:
            ConflictError: the stream does not end where these leaves begin.
            UnavailableError: Redis is away; nothing or all of it was written.
        """
        async with self._turn:
            full = self._tail.add(first_index, leaves)
            async with self._link.use("publish entries") as redis:
                for index, bundle in full:
                    await redis.set(self._keys.bundle(index), bundle)
                is_next = await self._show(redis, first_index, leaves, checkpoint)
            if not is_next:
                raise ConflictError(
                    f"the feed's stream does not end before entry {first_index}",
                    advice="Reconcile the feed with the ledger.",
                    index=first_index,
                )
            self._audit.wrote(first_index, leaves, checkpoint)

    async def head(self) -> bytes | None:
        """Return the newest checkpoint that the feed shows, whoever wrote it; None: it has none.

        Raises:
            UnavailableError: Redis is away.
        """
        async with self._link.use("read the feed's head") as redis:
            try:
                return await redis_read.value(redis, self._keys.head, CHECKPOINT_BYTES_MAX) or None
            except redis_read.GarbageError:
                return None

    async def traces(self) -> list[bytes]:
        """Return what the feed has of a ledger, whoever wrote it: notes, and b"" for all else.

        Raises:
            UnavailableError: Redis is away.
        """
        asked = [(key, CHECKPOINT_BYTES_MAX) for key in (self._keys.head, self._keys.cosigned)]
        async with self._link.use("look for what it has of a ledger") as redis:
            notes = await redis_read.values(redis, asked)
            try:
                has_entries = bool(await redis_read.messages(redis, self._keys.log, "-", 1))
            except redis_read.GarbageError:
                has_entries = True
        found = [b"" if note is None else note for note in notes if note != b""]
        return [*found, b""] if has_entries else found

    async def show_cosigned(self, note: bytes) -> None:
        """Show the newest checkpoint that has cosignatures."""
        async with self._link.use("publish a cosigned checkpoint") as redis:
            await redis.set(self._keys.cosigned, note)

    async def show_waypoints(self, notes: Mapping[int, bytes]) -> int:
        """Write the checkpoints that are missing or others; all are read back."""
        async with self._link.use("compare older checkpoints") as redis:
            async with redis.pipeline(transaction=False) as turn:
                for size in notes:
                    turn.getrange(self._keys.waypoint(size), 0, CHECKPOINT_BYTES_MAX)
                held = await turn.execute(raise_on_error=False)
            wrong = [size for size, note in zip(notes, held, strict=True) if note != notes[size]]
            for size in wrong:
                await redis.set(self._keys.waypoint(size), notes[size])
            return len(wrong)

    async def put_list(self, sha256: str, path: Path) -> None:
        """Write a target list in chunks, and its manifest when they are all there."""
        await self._put(sha256, path)

    async def put_delta(self, sha256: str, base_sha256: str, path: Path) -> None:
        """Write a delta as a list is written, under its own name."""
        await self._put(delta_name((sha256, base_sha256)), path)

    async def put_wrap(self, sealed_sha256: str, key_id: str, document: bytes) -> None:
        """Write a wrap."""
        async with self._link.use("write a wrap") as redis:
            await redis.set(self._keys.wrap(sealed_sha256, key_id), document)

    async def push_stop(self, envelope: bytes) -> None:
        """Add a signed stop to the stream that every node obeys at once."""
        fields: dict[FieldT, EncodableT] = {ENVELOPE_FIELD: envelope}
        async with self._link.use("publish a stop") as redis:
            try:
                await redis.xadd(self._keys.stops, fields, maxlen=STOPS_MAX, approximate=False)
            except ResponseError as error:
                if type(error) is not ResponseError:  # such as: no right to, no memory for it
                    raise
                # Somebody has put another kind of key there, or the last of all ids.
                async with redis.pipeline(transaction=True) as turn:
                    turn.delete(self._keys.stops)
                    turn.xadd(self._keys.stops, fields)
                    await turn.execute()

    async def reconcile(
        self,
        ledger: LedgerFiles,
        lists: Contents,
        wanted: Sequence[str],
        deltas: Mapping[Delta, Path] = NO_DELTAS,
    ) -> Reconciliation:
        """Compare the feed with the ledger and write again what is missing or differs.

        Every entry of the stream is compared, every bundle, wanted list and delta is looked for,
        and each call reads back a few of those whole.

        Raises:
            InputError: this Redis cannot carry a feed (:meth:`check_server`).
            UnavailableError: Redis is away; what was written so far stays.
        """
        if not self._is_checked:
            await self.check_server()
        async with self._turn:
            note = ledger.checkpoint_note
            size = claimed_size(note)  # our own note, and so the size that belongs to it
            async with self._link.use("compare the feed with the ledger") as redis:
                bundles = await self._refill_bundles(redis, ledger, size)
                found = await self._audit.compare_stream(redis, ledger, size, note)
                if not found.is_right:
                    await self._rebuild(redis, ledger, size, note)
                paths = {each: lists.path(each) for each in wanted if lists.has(each)}
                paths |= {delta_name(delta): path for delta, path in deltas.items()}
                missing = [
                    name
                    for name, path in paths.items()
                    if not await self._audit.has_list(redis, name, path)
                ]
            for name in missing:
                await self._put(name, paths[name])
            return Reconciliation(
                entries=0 if found.is_right else size - stream_floor(size),
                bundles=bundles,
                lists=len(missing),
                was_forged=found.is_forged,
            )

    async def keep_lists(self, lists: Collection[str], deltas: Collection[Delta]) -> int:
        """Remove all lists, deltas and wraps but those of `lists` and `deltas`; count the keys."""
        kept = {*lists, *map(delta_name, deltas)}
        count = 0
        async with self._link.use("look for what nobody needs any more") as redis:
            cursor = 0
            while True:
                cursor, keys = await redis_read.scanned(redis, cursor, self._keys.glob)
                names = {key: self._keys.list_of(key) for key in keys}
                old = [key for key, name in names.items() if name is not None and name not in kept]
                if old:
                    count += await redis.delete(*old)
                if cursor == 0:
                    return count

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def _show(
        self, redis: Redis, first_index: int, leaves: Sequence[bytes], checkpoint: bytes
    ) -> bool:
        """Write entries and head in one transaction, and tell whether they followed what was there.

        An id that is taken shows as an error, a stream that was wiped by its length.
        """
        size = first_index + len(leaves)
        floor = stream_floor(size)
        async with redis.pipeline(transaction=True) as turn:
            turn.xlen(self._keys.log)
            for index in range(max(first_index, floor), size):
                fields = _fields(leaves[index - first_index], checkpoint)
                turn.xadd(self._keys.log, fields, id=stream_id(index))
            turn.xtrim(self._keys.log, minid=stream_id(floor), approximate=False)
            turn.set(self._keys.head, checkpoint)
            length, *answers = await turn.execute(raise_on_error=False)
        failed = any(isinstance(answer, Exception) for answer in answers)
        return bool(length == first_index - stream_floor(first_index)) and not failed

    async def _rebuild(
        self, redis: Redis, ledger: LedgerFiles, size: int, note: bytes | None
    ) -> None:
        """Put a stream and a head of our own in the place of whatever is there, at once."""
        floor = stream_floor(size)
        leaves = await asyncio.to_thread(lambda: list(ledger.entries(floor, size)))
        async with redis.pipeline(transaction=True) as turn:
            turn.delete(self._keys.log, self._keys.head)
            if note is not None:
                for index, leaf in enumerate(leaves, floor):
                    turn.xadd(self._keys.log, _fields(leaf, note), id=stream_id(index))
                turn.set(self._keys.head, note)
            await turn.execute()
        self._tail.restart(size, leaves)
        if note is not None:
            self._audit.wrote(floor, leaves, note)

    async def _refill_bundles(self, redis: Redis, ledger: LedgerFiles, size: int) -> int:
        """Write the bundles that are missing or were found altered; return how many."""
        wrong = await self._audit.wrong_bundles(redis, ledger, size // TILE_WIDTH)
        for index in wrong:
            bundle = await asyncio.to_thread(ledger.bundle, index, TILE_WIDTH)
            await redis.set(self._keys.bundle(index), bundle)
        return len(wrong)

    async def _put(self, name: str, path: Path) -> None:
        """Write a list, or a delta, in chunks, and its manifest when they are all there."""
        manifest = Manifest.of(path)
        async with self._link.use("write a target list") as redis:
            with path.open("rb") as file:
                for at in range(manifest.chunks):
                    chunk = await asyncio.to_thread(file.read, CHUNK_BYTES)
                    await redis.set(self._keys.chunk(name, at), chunk)
            await redis.set(self._keys.manifest(name), manifest.format())


class BundleTail:
    """The entries since the last full bundle, kept to write the next one when it is full."""

    def __init__(self) -> None:
        self._first_index = 0
        self._leaves: list[bytes] = []

    def add(self, first_index: int, leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Take new entries and return the bundles that are full now, as (index, bytes).

        A bundle whose beginning is not known here is left to `reconcile`.
        """
        if first_index != self._first_index + len(self._leaves):
            self.restart(first_index, ())
        self._leaves += leaves
        self._drop(-self._first_index % TILE_WIDTH)
        full: list[tuple[int, bytes]] = []
        while len(self._leaves) >= TILE_WIDTH:
            index = self._first_index // TILE_WIDTH
            full.append((index, encode_bundle(self._leaves[:TILE_WIDTH])))
            self._drop(TILE_WIDTH)
        return full

    def restart(self, size: int, leaves: Sequence[bytes]) -> None:
        """Begin anew at a ledger of `size` entries, of which `leaves` are the last."""
        kept = min(size % TILE_WIDTH, len(leaves))
        self._first_index = size - kept
        self._leaves = list(leaves[len(leaves) - kept :])

    def _drop(self, count: int) -> None:
        count = min(count, len(self._leaves))
        del self._leaves[:count]
        self._first_index += count


def _fields(leaf: bytes, checkpoint: bytes) -> dict[FieldT, EncodableT]:
    return {ENTRY_FIELD: leaf, CHECKPOINT_FIELD: checkpoint}
