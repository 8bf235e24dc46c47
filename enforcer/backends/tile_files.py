"""The tile and bundle files of one ledger (C2SP tlog-tiles): bytes in and out, no trust.

Reads give exactly the width asked for, or say which file is missing, cut or too long. A partial
file gives way to the full one only when that is durable and in a signed tree, so a reader
that does not find the partial finds the full one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.merkle import HASH_BYTES
from enforcer.core.tile import (
    BUNDLE,
    BUNDLE_BYTES_MAX,
    TILE_BYTES,
    Tile,
    decode_bundle,
    encode_bundle,
)
from enforcer.errors import Datum, IntegrityError, NotFoundError


class TileFiles:
    """The files below ``root/tile``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._synced: set[Path] = set()

    def path(self, tile: Tile) -> Path:
        """Return where the file of a tile is."""
        return self.root / tile.path

    def read(self, tile: Tile) -> bytes:
        """Return the bytes of a tile, from the full one's file if its own is gone.

        Raises:
            IntegrityError: the file is missing, cut or too long; ``data["path"]`` says which.
            UnavailableError: it cannot be read.
        """
        try:
            return self._fitted(tile, tile, durable.read_file(self.path(tile), **_bound(tile)))
        except NotFoundError:
            pass
        full = Tile(tile.level, tile.index)
        try:
            return self._fitted(full, tile, durable.read_file(self.path(full), **_bound(full)))
        except NotFoundError:
            raise damaged(
                self.path(tile), "missing", f"{self.path(tile)} is missing, the checkpoint needs it"
            ) from None

    def read_back(self, tile: Tile) -> bytes:
        """Return what the disk holds of a tile just written, whatever that is."""
        return durable.read_back(self.path(tile), **_bound(tile))

    def check_same(self, tile: Tile, got: bytes, expected: bytes) -> None:
        """Raise IntegrityError when the file of a tile holds other bytes than it must."""
        if got != expected:
            path = self.path(tile)
            raise damaged(path, "altered", f"{path} was altered: it holds other bytes than it must")

    def write(self, tiles: Mapping[Tile, bytes]) -> None:
        """Make the files of these tiles durable, in the place of any that are there.

        No checkpoint covers one yet, and none that does was ever written twice: a tile of more
        entries has another name. So nobody can be reading what is written here.

        Raises:
            UnavailableError: one could not be.
        """
        files = {self.path(tile): data for tile, data in tiles.items()}
        for directory in dict.fromkeys(path.parent for path in files):
            self._make(directory)
        durable.write_unread(files)

    def drop_partials(self, level: int, index: int) -> None:
        """Remove the partial files of a full tile: at most 255, and what crashes left of them.

        Nobody needs them any more, so failing is no harm: they stay until somebody cleans up.
        """
        directory = self.path(Tile(level, index, 1)).parent
        with suppress(OSError):
            for partial in directory.iterdir():
                partial.unlink()
            directory.rmdir()
        self._synced.discard(directory)

    def _make(self, directory: Path) -> None:
        """Make a directory durable, also one that a killed process made and did not sync."""
        if directory == self.root or directory in self._synced:
            return
        self._make(directory.parent)
        durable.make_directory(directory)
        durable.sync_directory(directory.parent)
        self._synced.add(directory)

    def _fitted(self, file: Tile, tile: Tile, data: bytes) -> bytes:
        """Return the part of a file's bytes that `tile` has, or say how they do not fit."""
        path = self.path(file)
        if file.level == BUNDLE:
            try:
                whole = encode_bundle(decode_bundle(data, file.width))
                wanted = encode_bundle(decode_bundle(data, tile.width))
            except IntegrityError as error:
                raise damaged(path, "cut", f"{path} is cut: {error.message}") from None
        else:
            whole = data[: file.width * HASH_BYTES]
            wanted = data[: tile.width * HASH_BYTES]
            if len(whole) < file.width * HASH_BYTES:
                raise damaged(
                    path, "cut", f"{path} is cut: {len(data)} bytes for {file.width} hashes"
                )
        if len(data) > len(whole):
            extra = len(data) - len(whole)
            raise damaged(path, "too long", f"{path} is {extra} bytes too long")
        return wanted


RESTORE: Final = "Restore the file from a replica or a backup, and leave the checkpoint as it is."
COPY_AGAIN: Final = (
    "A node that starts sets it aside, and reads again from its feed what is gone. A directory "
    "that was copied while its node wrote is to be copied again; a control plane's ledger is to be "
    "restored: enforcer ledger restore."
)


def damaged(
    path: Path, problem: str, what: str, *, advice: str = RESTORE, **data: Datum
) -> IntegrityError:
    """Return the error of a file of the ledger that is not what it must be."""
    return IntegrityError(
        what,
        advice=advice,
        problem=problem,
        path=str(path),
        **data,
    )


def _bound(tile: Tile) -> dict[str, int]:
    return {"size_bytes_max": BUNDLE_BYTES_MAX if tile.level == BUNDLE else TILE_BYTES}
