"""The right edge of a tiled tree: all that is needed to append, and the tiles that result.

One value, never changed: growing gives the next edge and the tiles to write, and the old edge
stays good when they cannot be written. Whoever appends can so compute everything twice, from
what was asked and from what the disk gave back, and compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enforcer.core.merkle import HASH_BYTES, CompactRange, leaf_hash
from enforcer.core.tile import (
    BUNDLE,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    encode_bundle,
    full_tiles,
    split_hashes,
    tile_root,
)


@dataclass(frozen=True, slots=True)
class RightEdge:
    """The partial tiles of a tree of ``size`` entries.

    ``tiles[level]`` has the hashes of that level's partial tile (none when the last is full),
    ``bundle`` the encoded entries of the partial bundle.
    """

    size: int = 0
    tiles: tuple[bytes, ...] = ()
    bundle: bytes = b""

    @classmethod
    def read(cls, size: int, read: Callable[[Tile], bytes]) -> RightEdge:
        """Gather the edge of a tree of ``size`` entries; nothing is verified."""
        tiles: list[bytes] = []
        while hashes := size >> (TILE_HEIGHT * len(tiles)):
            index, width = divmod(hashes, TILE_WIDTH)
            tiles.append(read(Tile(len(tiles), index, width)) if width else b"")
        index, width = divmod(size, TILE_WIDTH)
        bundle = read(Tile(BUNDLE, index, width)) if width else b""
        return cls(size, tuple(tiles), bundle)

    @property
    def width(self) -> int:
        """How many entries the partial bundle has."""
        return self.size % TILE_WIDTH

    def root(self) -> bytes:
        """Return the root of the tree."""
        roots: list[bytes] = []
        for hashes in reversed(self.tiles):
            roots += CompactRange.over(split_hashes(hashes)).roots
        return CompactRange(self.size, roots).root()

    def grow(self, leaves: Sequence[bytes]) -> tuple[RightEdge, dict[Tile, bytes]]:
        """Return the edge after ``leaves``, and every tile and bundle that is new with it.

        Raises:
            InputError: a leaf is over 65,535 bytes.
        """
        bundle, new = self._grow_bundles(leaves)
        edge: list[bytes] = []
        hashes = b"".join(map(leaf_hash, leaves))
        while hashes or len(edge) < len(self.tiles):
            level = len(edge)
            old = self.tiles[level] if level < len(self.tiles) else b""
            index = full_tiles(level, self.size)
            row, above = old + hashes, b""
            while len(row) >= TILE_BYTES:
                full, row = row[:TILE_BYTES], row[TILE_BYTES:]
                new[Tile(level, index)] = full
                above += tile_root(full)
                index += 1
            if hashes and row:
                new[Tile(level, index, len(row) // HASH_BYTES)] = row
            edge.append(row)
            hashes = above
        return RightEdge(self.size + len(leaves), tuple(edge), bundle), new

    def _grow_bundles(self, leaves: Sequence[bytes]) -> tuple[bytes, dict[Tile, bytes]]:
        new: dict[Tile, bytes] = {}
        bundle = self.bundle
        index, width = divmod(self.size, TILE_WIDTH)
        at = 0
        while at < len(leaves):
            taken = leaves[at : at + TILE_WIDTH - width]
            bundle += encode_bundle(taken)
            at += len(taken)
            width += len(taken)
            new[Tile(BUNDLE, index, width)] = bundle
            if width == TILE_WIDTH:
                index, width, bundle = index + 1, 0, b""
        return bundle, new
