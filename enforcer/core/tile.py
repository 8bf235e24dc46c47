"""C2SP tlog-tiles: the names of tiles and entry bundles, their widths, a bundle's bytes.

A tile is up to 256 hashes of one level, level 0 being leaf hashes; a bundle is up to 256
entries. Always true: a :class:`Tile` made here has a path, and that path gives the same tile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.merkle import HASH_BYTES, SIZE_MAX, CompactRange
from enforcer.errors import InputError, IntegrityError

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
ENTRY_BYTES_MAX: Final = 65_535
BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)
BUNDLE: Final = -1  # the level of entry bundles, below that of their leaf hashes
LEVEL_MAX: Final = 63

_LENGTH_BYTES: Final = 2
_PATH: Final = re.compile(
    r"tile/(?P<level>0|[1-9][0-9]?|entries)"
    r"/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Tile:
    """The name of a tile, or of an entry bundle when ``level`` is ``BUNDLE``."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        """Raise InputError for a tile that no tree has."""
        if not (
            BUNDLE <= self.level <= LEVEL_MAX
            and 0 <= self.index <= SIZE_MAX // TILE_WIDTH
            and 1 <= self.width <= TILE_WIDTH
        ):
            raise InputError(
                f"no tree has a tile of level {self.level}, index {self.index}, width {self.width}",
                advice=f"Widths go from 1 to {TILE_WIDTH}, levels from 0 to {LEVEL_MAX}.",
                level=self.level,
                index=self.index,
                width=self.width,
            )

    @property
    def is_full(self) -> bool:
        """Whether the tile will never change."""
        return self.width == TILE_WIDTH

    @property
    def path(self) -> str:
        """The path below the ledger's root, such as ``tile/0/x001/x234/067.p/5``."""
        level = "entries" if self.level == BUNDLE else str(self.level)
        rest, last = divmod(self.index, 1000)
        index = f"{last:03}"
        while rest:
            rest, part = divmod(rest, 1000)
            index = f"x{part:03}/{index}"
        suffix = "" if self.is_full else f".p/{self.width}"
        return f"tile/{level}/{index}{suffix}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path.

        Raises:
            InputError: it is not the path of a tile, in the one spelling it has.
        """
        found = _PATH.fullmatch(path)
        if found is not None:
            level = BUNDLE if found["level"] == "entries" else int(found["level"])
            index = int(found["index"].replace("x", "").replace("/", ""))
            width = int(found["width"] or TILE_WIDTH)
            if level <= LEVEL_MAX and width <= TILE_WIDTH and index <= SIZE_MAX // TILE_WIDTH:
                tile = cls(level, index, width)
                if tile.path == path:
                    return tile
        raise InputError(
            f"{path[:80]!r} is not the path of a tile",
            advice="Paths look like tile/0/x001/234.p/5 or tile/entries/000.",
            field="path",
        )


def width_at(level: int, index: int, size: int) -> int:
    """Return how wide a tile is in a tree of ``size`` entries: 0 (not there yet) to 256."""
    hashes = size >> (TILE_HEIGHT * max(level, 0))
    return min(max(hashes - index * TILE_WIDTH, 0), TILE_WIDTH)


def full_tiles(level: int, size: int) -> int:
    """Return how many full tiles a level has: the index of its partial tile, if it has one."""
    return size >> (TILE_HEIGHT * (max(level, 0) + 1))


def tile_root(hashes: bytes) -> bytes:
    """Return the Merkle root over the hashes of a tile."""
    return CompactRange.over(split_hashes(hashes)).root()


def split_hashes(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile, whose length must be a multiple of 32 bytes."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return the entries, each after its length as a big-endian uint16.

    Raises:
        InputError: an entry is over 65,535 bytes; ``data["index"]`` is its position.
    """
    parts: list[bytes] = []
    for index, entry in enumerate(entries):
        if len(entry) > ENTRY_BYTES_MAX:
            raise InputError(
                f"the entry has {len(entry)} bytes",
                advice=f"An entry has at most {ENTRY_BYTES_MAX} bytes; move text to a side file.",
                index=index,
                got=len(entry),
            )
        parts += (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, width: int) -> Sequence[bytes]:
    """Return the first ``width`` entries of a bundle that has at least as many.

    Raises:
        IntegrityError: the bundle ends early; ``data["offset"]`` says at which byte.
    """
    entries: list[bytes] = []
    at = 0
    while len(entries) < width:
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or end > len(data):
            raise IntegrityError(
                f"the bundle ends within entry {len(entries)} of {width}, at byte {len(data)}",
                advice="Restore the bundle from a replica or a backup.",
                problem="cut",
                offset=at,
                expected=width,
                got=len(entries),
            )
        entries.append(data[start:end])
        at = end
    return entries
