"""The feed as a copied ledger in a directory: :class:`enforcer.ports.FeedSource`.

The layout is the ledger's own (checkpoint, cosigned, tile/entries/…, lists/, deltas/, wraps/; a
node's has a tail), as a copy of its files gives it or `enforcer audit export` unpacked, and stops/
beside it with signed stops, one in a file. It is looked at now and then. Refuses what is no regular
file; believes nothing. Always true: what is cut, or not copied yet, is said and gives no entry; and
a medium that hangs holds one thread, nobody for longer than `LOOK_SECONDS_MAX`, and not the end of
the program.
"""

from __future__ import annotations

import asyncio
import itertools
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from enforcer.backends import durable
from enforcer.backends.content import ContentStore
from enforcer.backends.delta_files import DELTAS, DeltaFiles
from enforcer.backends.feed_format import (
    LIST_BYTES_MAX,
    STOP_BYTES_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_LEAVES_MAX,
    claimed_size,
    no_wrap,
)
from enforcer.backends.lone_thread import FullError, LoneThread
from enforcer.backends.tile_files import TileFiles
from enforcer.backends.tile_tail import TailFile, TailPart
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core.note import NOTE_BYTES_MAX
from enforcer.core.tile import BUNDLE, TILE_WIDTH, Tile, decode_bundle, width_at
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import FeedUpdate

POLL_SECONDS: Final = 1.0
LOOK_SECONDS_MAX: Final = 10.0
"""A disk that spins up, and the largest update from a slow one, take less."""
STOPS_READ_MAX: Final = 1_000
"""Files in stops/ that are looked at, the first by name."""
STOPS_AGAIN_POLLS: Final = 60
"""After so many looks all stops are shown again: what was refused may count by now."""

T = TypeVar("T")


class DirectorySource:
    """Reads one copy; every look is its one thread's, since a medium may be slow."""

    def __init__(
        self,
        directory: Path,
        *,
        poll_seconds: float = POLL_SECONDS,
        look_seconds_max: float = LOOK_SECONDS_MAX,
    ) -> None:
        """Take a directory, which need not be there yet."""
        self._directory = directory
        self._poll_seconds = poll_seconds
        self._look_seconds_max = look_seconds_max
        self._thread = LoneThread("copy")
        self._tiles = TileFiles(directory)
        self._tail = TailFile(directory)
        self._lists = ContentStore(directory / "lists", size_bytes_max=LIST_BYTES_MAX)
        self._deltas = DeltaFiles(directory / DELTAS)
        self._wraps = WrapFiles(directory / "wraps")
        self._faults: Counter[str] = Counter()
        self._no_stops: set[str] = set()

    @property
    def faults(self) -> Mapping[str, int]:
        """How often something unreadable was passed over, by what it was."""
        return self._faults

    async def next(self, size: int, wait_ms_max: int) -> FeedUpdate | None:
        """Return entries from index `size` on, or None if there were none for `wait_ms_max`.

        Raises:
            UnavailableError: the copy is not there, or not whole.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_ms_max / 1_000
        while True:
            note = await self._checkpoint()
            if note is not None:
                try:
                    update = await self._do(partial(self._collect, size, note))
                    if update is not None:
                        return update
                except UnavailableError:
                    await asyncio.sleep(
                        self._poll_seconds
                    )  # it is torn for as long as it is copied
                    raise
            left_seconds = deadline - loop.time()
            if left_seconds <= 0:
                return None
            await asyncio.sleep(min(left_seconds, self._poll_seconds))

    async def head(self) -> bytes | None:
        """Return the copy's newest checkpoint; None where it has none of a possible form.

        Raises:
            UnavailableError: there is no copy, or it cannot be read.
        """
        note = await self._checkpoint()
        if note is None:
            return None
        parts = await self._do(partial(self._tail_parts, claimed_size(note)))
        return parts[-1].note if parts else note

    async def _checkpoint(self) -> bytes | None:
        """Return the checkpoint of the copy's tiles; raises as :meth:`head`."""
        note = await self._do(lambda: self._note("checkpoint"))
        if note is None and not await self._do(self._directory.is_dir):
            raise UnavailableError(
                f"there is no copy of the ledger in {self._directory}",
                advice="Mount the medium, or copy the ledger's directory to it.",
                path=str(self._directory),
            )
        return note

    async def cosigned(self) -> bytes | None:
        """Return the newest checkpoint in the copy that has cosignatures, if there is one."""
        return await self._do(lambda: self._note("cosigned"))

    async def stops(self) -> AsyncIterator[bytes]:
        """Yield the signed stops in stops/, and later ones as they come; all again at times."""
        shown: set[bytes] = set()
        for polls in itertools.count():
            if polls % STOPS_AGAIN_POLLS == 0:
                shown.clear()
            for stop in await self._do(self._read_stops):
                digest = sha256(stop).digest()
                if digest not in shown:
                    shown.add(digest)
                    yield stop
            await asyncio.sleep(self._poll_seconds)

    async def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes.

        Raises:
            NotFoundError: the copy does not have it.
        """
        if not await self._do(lambda: _is_regular(self._lists.path(sha256))):
            raise NotFoundError(
                f"the copy in {self._directory} does not have the target list {sha256}",
                advice="Copy the ledger's lists as well.",
                field="target_list_sha256",
            )
        chunks = self._lists.chunks(sha256)
        while (chunk := await self._do(lambda: next(chunks, None))) is not None:
            yield chunk

    async def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another.

        Raises:
            NotFoundError: the copy does not have it.
        """
        delta = sha256, base_sha256
        if not await self._do(lambda: _is_regular(self._deltas.path(delta))):
            raise NotFoundError(
                f"the copy in {self._directory} has no delta to the list {sha256}",
                advice="Take the whole list.",
                field="base_sha256",
            )
        chunks = self._deltas.chunks(delta)
        while (chunk := await self._do(lambda: next(chunks, None))) is not None:
            yield chunk

    def count_fault(self, what: str) -> None:
        """Count that something in the copy turned out to be wrong when it was used."""
        self._faults[what] += 1

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: the copy does not have it.
        """
        document = await self._do(lambda: self._wraps.read(sealed_sha256, key_id))
        if document is None:
            raise no_wrap(sealed_sha256)
        return document

    async def _do(self, look: Callable[[], T]) -> T:
        """Look at the copy in the thread that is for it.

        Raises:
            UnavailableError: the medium hangs, or gives an error, also where a look expects none.
        """

        def reported() -> T:
            with durable.reporting(self._directory, "read"):
                return look()

        try:
            async with asyncio.timeout(self._look_seconds_max):
                return await asyncio.wrap_future(self._thread.submit(reported))
        except (TimeoutError, FullError):
            raise UnavailableError(
                f"the copy in {self._directory} has not answered for {self._look_seconds_max:g} s",
                advice="Look at its medium and at the kernel's log; this repeats by itself.",
                path=str(self._directory),
            ) from None

    def _note(self, name: str) -> bytes | None:
        path = self._directory / name
        if not _is_regular(path):
            return None
        try:
            note = durable.read_file(path, size_bytes_max=NOTE_BYTES_MAX)
        except NotFoundError:
            return None
        except IntegrityError:
            note = b""
        if not claimed_size(note):
            self._faults[f"the copy's {name} is no checkpoint"] += 1
            return None
        return note

    def _tail_parts(self, size: int) -> list[TailPart]:
        """Return what the tail says of the entries from `size` on, without a gap.

        It is read after the checkpoint that claims this size: who writes there lays it meanwhile.
        """
        parts: list[TailPart] = []
        if _is_regular(self._tail.path):
            try:
                parts = self._tail.read()
            except IntegrityError:
                self._faults["a copy's tail is damaged"] += 1
                parts = self._tail.read(is_strict=False)
        laid = self._tail.read_laid() if _is_regular(self._tail.laid_path) else []
        found = []
        for part in (*laid, *parts):
            if part.first_index == size and claimed_size(part.note) == size + len(part.leaves):
                found.append(part)
                size += len(part.leaves)
        return found

    def _collect(self, size: int, note: bytes) -> FeedUpdate | None:
        """Read the entries from `size` to where the note claims to end, or the first of them.

        What follows is in the tail. None: the copy has none.
        """
        end = claimed_size(note)
        if size >= end:
            for told in self._tail_parts(end):
                skipped = size - told.first_index
                if skipped < len(told.leaves):
                    return FeedUpdate(size, told.leaves[skipped:], told.note)
            return None
        leaves: list[bytes] = []
        size_bytes = 0
        while (at := size + len(leaves)) < end:
            number, skipped = divmod(at, TILE_WIDTH)
            part = self._bundle(number, width_at(BUNDLE, number, end))[skipped:]
            leaves += part
            size_bytes += sum(map(len, part))
            if size_bytes > UPDATE_BYTES_MAX or len(leaves) >= UPDATE_LEAVES_MAX:
                break
        return FeedUpdate(size, tuple(leaves), note)

    def _bundle(self, number: int, width: int) -> list[bytes]:
        tile = Tile(BUNDLE, number, width)
        full = Tile(BUNDLE, number)
        if not any(_is_regular(self._tiles.path(each)) for each in (tile, full)):
            raise self._torn(f"{tile.path} is missing")
        try:
            return list(decode_bundle(self._tiles.read(tile), width))
        except IntegrityError as error:
            raise self._torn(error.message) from error

    def _torn(self, why: str) -> UnavailableError:
        self._faults["a copy is not whole"] += 1
        return UnavailableError(
            f"the copy in {self._directory} is not whole: {why}",
            advice="Let the copy end, or copy it again: the checkpoint last.",
            path=str(self._directory),
        )

    def _read_stops(self) -> list[bytes]:
        folder = self._directory / "stops"
        if not folder.is_dir():
            return []
        with durable.reporting(folder, "list"):
            names = sorted(each.name for each in folder.iterdir() if each.suffix == ".json")
        stops = []
        for path in (folder / name for name in names[:STOPS_READ_MAX]):
            data = b""
            if _is_regular(path):
                with suppress(IntegrityError, NotFoundError, UnavailableError):
                    data = durable.read_file(path, size_bytes_max=STOP_BYTES_MAX).strip()
            if data:
                stops.append(data)
            elif path.name not in self._no_stops:
                self._no_stops.add(path.name)
                self._faults["a file in a copy's stops is no stop"] += 1
        return stops


def _is_regular(path: Path) -> bool:
    """Tell whether a path is a file that can be read to its end, and no device or pipe."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
