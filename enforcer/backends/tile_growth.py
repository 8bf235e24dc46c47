"""New entries as tiles: written, read back and hashed again before anybody signs their tree.

Touches no checkpoint: what is written here counts for nothing until one covers it, and until then
is a leftover that the next append overwrites. What the present checkpoint may rest on stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from enforcer.backends.tile_files import TileFiles, damaged
from enforcer.backends.tile_tree import TileCache, TileTree
from enforcer.core.tile import BUNDLE, TILE_WIDTH, Tile, decode_bundle, full_tiles
from enforcer.errors import InputError

APPEND_LEAVES_MAX: Final = 16_384
APPEND_BYTES_MAX: Final = 64 << 20


def check_leaves(leaves: Sequence[bytes]) -> None:
    """Check that these may be appended at once.

    Raises:
        InputError: they are none, too many or too large together.
    """
    total = sum(map(len, leaves))
    if not 0 < len(leaves) <= APPEND_LEAVES_MAX or total > APPEND_BYTES_MAX:
        raise InputError(
            f"cannot append {len(leaves)} entries of {total} bytes at once",
            advice=f"Give 1 to {APPEND_LEAVES_MAX} entries of at most {APPEND_BYTES_MAX} bytes.",
            entries=len(leaves),
            size_bytes=total,
        )


def grow(
    files: TileFiles, before: TileTree, leaves: Sequence[bytes], cache: TileCache
) -> tuple[TileTree, list[Tile]]:
    """Write entries; return the tree with them, and the tiles that were partial and are full.

    What those were before stays on the disk: the present checkpoint may rest on it.

    Raises:
        InputError: an entry is too long.
        IntegrityError: the disk gave back other bytes, or memory did.
        UnavailableError: the disk did not take them.
    """
    edge, tiles = before.edge.grow(leaves)
    after = TileTree(files, edge, cache)
    files.write(tiles)
    _check_written(files, before, tiles, after.root)
    filled = [
        tile for tile in tiles if tile.is_full and tile.index == full_tiles(tile.level, before.size)
    ]
    return after, filled


def _check_written(
    files: TileFiles, before: TileTree, tiles: dict[Tile, bytes], root: bytes
) -> None:
    """Compute the tiles and the root again, from the entries that the disk gives back."""
    disk = {tile: files.read_back(tile) for tile in tiles}
    for tile, data in tiles.items():
        files.check_same(tile, disk[tile], data)
    leaves: list[bytes] = []
    for tile, data in disk.items():
        if tile.level == BUNDLE:
            entries = decode_bundle(data, tile.width)
            before.verify_bundle(tile, entries, disk[Tile(0, tile.index, tile.width)])
            leaves += entries[max(before.size - tile.index * TILE_WIDTH, 0) :]
    again, tiles_again = before.edge.grow(leaves)
    for tile, data in tiles_again.items():
        files.check_same(tile, disk[tile], data)
    if again.root() != root:
        raise damaged(
            files.root,
            "altered",
            f"the entries read back hash to {again.root().hex()}, not to {root.hex()}",
        )
