"""One tree of a ledger on disk, verified as it is read; it never changes.

The right edge is in memory and hashes to the checkpoint's root; a full tile must hash to its
place in the tile above, and entries to their level 0 tile. So every byte handed out hashes up to
that root, and a damaged file is named the first time it is read. Safe to use from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Final, TypeAlias

from enforcer.backends.tile_files import TileFiles, damaged
from enforcer.core import merkle
from enforcer.core.edge import RightEdge
from enforcer.core.merkle import HASH_BYTES, CompactRange, leaf_hash
from enforcer.core.tile import (
    BUNDLE,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    decode_bundle,
    encode_bundle,
    full_tiles,
    split_hashes,
    tile_root,
    width_at,
)
from enforcer.errors import InputError, NotFoundError

CACHED_TILES_MAX: Final = 256  # 8 KiB each

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in entries."""


class TileCache:
    """The last verified full tiles, which are the same in every later tree of the ledger."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tiles: dict[tuple[int, int], bytes] = {}

    def get(self, level: int, index: int) -> bytes | None:
        """Return the hashes of a tile, if it was verified lately."""
        return self._tiles.get((level, index))

    def put(self, level: int, index: int, hashes: bytes) -> None:
        """Keep a verified tile in the place of the oldest."""
        with self._lock:
            while len(self._tiles) >= CACHED_TILES_MAX:
                del self._tiles[next(iter(self._tiles))]
            self._tiles[level, index] = hashes


class TileTree:
    """The tree of the first ``size`` entries; ``edge`` must hash to the checkpoint's root."""

    def __init__(self, files: TileFiles, edge: RightEdge, cache: TileCache) -> None:
        self.edge = edge
        self.size = edge.size
        self.root = edge.root()
        self._files = files
        self._cache = cache

    def hashes(self, level: int, index: int) -> bytes:
        """Return the hashes of a tile that the tree has.

        Raises:
            IntegrityError: a tile file is damaged.
        """
        if index == full_tiles(level, self.size):
            return self.edge.tiles[level]
        found = self._cache.get(level, index)
        if found is None:
            found = self._files.read(Tile(level, index))
            above = self.hashes(level + 1, index // TILE_WIDTH)
            at = index % TILE_WIDTH * HASH_BYTES
            expected, got = above[at : at + HASH_BYTES], tile_root(found)
            if got != expected:
                path = self._files.path(Tile(level, index))
                raise damaged(
                    path,
                    "altered",
                    f"{path} was altered: it hashes to {got.hex()}, not to {expected.hex()}",
                )
            self._cache.put(level, index, found)
        return found

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a perfect subtree: the reader that proofs are built from."""
        # Tiles hold every eighth level; those between are hashed from the tile below.
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, at = divmod(index << height, TILE_WIDTH)
        hashes = self.hashes(tile_level, tile_index)
        return tile_root(hashes[at * HASH_BYTES : (at + (1 << height)) * HASH_BYTES])

    def tile(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, or that bundle when `level` is ``BUNDLE``.

        Raises:
            InputError: no tree has such a tile.
            NotFoundError: this one does not have it yet.
            IntegrityError: its file is damaged.
        """
        if level == BUNDLE:
            return self.bundle(index, width)
        self._check_exists(Tile(level, index, width))
        return self.hashes(level, index)[: width * HASH_BYTES]

    def bundle(self, index: int, width: int) -> bytes:
        """Return the bundle of the first `width` entries; raises as :meth:`tile`."""
        self._check_exists(Tile(BUNDLE, index, width))
        return encode_bundle(self._entries_of(index)[:width])

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Return the entries from `start` to before `end`, holding one bundle at a time.

        Raises:
            InputError: the tree has no such range.
            IntegrityError: while iterating, at a file that is damaged.
        """
        return self._spread(start, end, self._entries_of)

    def leaf_hashes(self, start: int, end: int) -> Iterator[bytes]:
        """Return the leaf hashes from `start` to before `end`; raises as :meth:`entries`."""
        return self._spread(start, end, lambda index: split_hashes(self.hashes(0, index)))

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof of entry `index` in the tree of the first `size` entries.

        Raises:
            InputError: there is no such tree, or that tree has no such entry.
            IntegrityError: a tile is damaged.
        """
        self._check_size(size)
        return merkle.inclusion_proof(index, size, self.node)

    def consistency_proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the proof that the first `first` entries begin the tree of the first `second`.

        Raises:
            InputError: there are no such trees; nothing can be proven from size 0.
            IntegrityError: a tile is damaged.
        """
        self._check_size(second)
        return merkle.consistency_proof(first, second, self.node)

    def root_at(self, size: int) -> bytes:
        """Return the root of the tree of the first `size` entries.

        Raises:
            InputError: there is no such tree.
            IntegrityError: a tile is damaged.
        """
        self._check_size(size)
        return merkle.root_at(size, self.node)

    def verify_bundle(self, tile: Tile, entries: Sequence[bytes], hashes: bytes) -> list[bytes]:
        """Return the leaf hashes of a bundle's entries, which must be `hashes`.

        Raises:
            IntegrityError: one is not; ``data["index"]`` is the index of the entry.
        """
        found = [leaf_hash(entry) for entry in entries]
        for at, (got, expected) in enumerate(zip(found, split_hashes(hashes), strict=True)):
            if got != expected:
                path, index = self._files.path(tile), tile.index * TILE_WIDTH + at
                raise damaged(
                    path,
                    "altered",
                    f"{path} was altered: entry {index} hashes to {got.hex()},"
                    f" not to {expected.hex()}",
                    index=index,
                )
        return found

    def verify_all(self, progress: Progress | None) -> None:
        """Hash every entry again and compare with every tile file.

        Raises:
            IntegrityError: the first file that is not what it must be; ``data["path"]`` names it.
        """
        tree = CompactRange()
        for index in range(-(-self.size // TILE_WIDTH)):
            tile = Tile(BUNDLE, index, width_at(BUNDLE, index, self.size))
            entries = decode_bundle(self._files.read(tile), tile.width)
            for leaf in self.verify_bundle(tile, entries, self.hashes(0, index)):
                tree.append(leaf)
            if progress is not None:
                progress(tree.size, self.size)
        # What the edge in memory was read from may have changed since.
        for level, hashes in enumerate(self.edge.tiles):
            if hashes:
                tile = Tile(level, full_tiles(level, self.size), len(hashes) // HASH_BYTES)
                self._files.check_same(tile, self._files.read(tile), hashes)
        if tree.root() != self.root:
            raise damaged(
                self._files.root,
                "altered",
                f"the entries hash to {tree.root().hex()}, not to {self.root.hex()}",
            )

    def _entries_of(self, index: int) -> Sequence[bytes]:
        if index == full_tiles(BUNDLE, self.size):
            return decode_bundle(self.edge.bundle, self.edge.width)
        tile = Tile(BUNDLE, index)
        entries = decode_bundle(self._files.read(tile), TILE_WIDTH)
        self.verify_bundle(tile, entries, self.hashes(0, index))
        return entries

    def _spread(
        self, start: int, end: int, parts: Callable[[int], Sequence[bytes]]
    ) -> Iterator[bytes]:
        """Return the parts of each bundle that lie within the range."""
        if not 0 <= start <= end <= self.size:
            raise InputError(
                f"the ledger of {self.size} entries has no entries {start} to {end}",
                advice="Give a start and an end within the ledger's size.",
                start=start,
                end=end,
                size=self.size,
            )
        return (
            part
            for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH))
            for part in parts(index)[max(start - index * TILE_WIDTH, 0) : end - index * TILE_WIDTH]
        )

    def _check_exists(self, tile: Tile) -> None:
        if tile.width > width_at(tile.level, tile.index, self.size):
            raise NotFoundError(
                f"the ledger of {self.size} entries has no {tile.path}",
                advice="Ask for tiles of the size that the checkpoint says.",
                path=tile.path,
                size=self.size,
            )

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise InputError(
                f"the ledger has {self.size} entries, not {size}",
                advice="Ask for a tree up to the ledger's size.",
                field="size",
                size=size,
            )
