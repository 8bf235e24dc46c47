"""One ledger in one directory: C2SP tlog-tiles files under a signed checkpoint.

Layout: checkpoint, cosigned, tile/..., lists/<sha256>, side/<sha256>, wraps/, lock, begun; a copy's
tail. Checkpoint and tail alone say what the ledger holds: files beyond them are leftovers of an
append that nobody was told of, and are overwritten. Refuses to sign what it cannot read back, and
to go on from an older or a lost checkpoint (``begun`` and ``cosigned`` tell). A copy's writer goes
on from what is left, and sets aside what it cannot read: it forgets up to 64 entries, and still
takes no history without the furthest checkpoint that is left of them (``cosigned.ahead``). One
writer, under a kernel lock for life; readers see the tree as they opened it. All calls block.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from enforcer.backends import durable
from enforcer.backends.content import ContentStore
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.sealing import SEALED_BYTES_MAX
from enforcer.backends.tile_writer import TileWriter
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core.note import VerifierKey, Verify
from enforcer.core.tile import BUNDLE, full_tiles
from enforcer.errors import NotFoundError

LIST_BYTES_MAX: Final = SEALED_BYTES_MAX  # the longest list, sealed
SIDE_BYTES_MAX: Final = 64 << 20
LOCK_FILE: Final = "lock"


class TileLedger(TileWriter):
    """The ledger in one directory.

    ``lists`` and ``side`` store the target lists and the side files beside the entries, and
    ``wraps`` the keys of sealed lists.
    """

    def __init__(
        self,
        path: Path,
        origin: str,
        vkey: VerifierKey,
        verify: Verify,
        lock: DirectoryLock | None,
        *,
        is_copy: bool = False,
    ) -> None:
        """Use :meth:`open`."""
        self.lists = ContentStore(path / "lists", size_bytes_max=LIST_BYTES_MAX)
        self.side = ContentStore(path / "side", size_bytes_max=SIDE_BYTES_MAX)
        self.wraps = WrapFiles(path / "wraps")
        super().__init__(path, origin, vkey, verify, lock, is_copy=is_copy)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        origin: str,
        vkey: VerifierKey,
        verify: Verify,
        writer: bool,
        lock: DirectoryLock | None = None,
        is_copy: bool = False,
    ) -> TileLedger:
        """Open the ledger in `path`; a writer makes it when there is nothing yet.

        Checks the checkpoint's signature and that the right edge of the tiles hashes to its root;
        everything else is checked when it is read. Works on a full disk, unless a copy's tail is to
        be laid into tiles, and for readers without the right to write. `lock` is the writer's, on
        ``path/lock``, where it has it already. A writer says by `is_copy` that others have this
        ledger, too: it may then keep a tail (see :meth:`append`), and opens also when that is
        damaged or lost, with what is left, to take the rest from others again. What those give
        it must then have the furthest checkpoint that is left of what it had, or is refused.

        Raises:
            NotFoundError: a reader's directory does not exist.
            ConflictError: another writer is at work; ``data["pid"]`` names it.
            IntegrityError: the checkpoint or the tiles under it are not what they must be.
            UnavailableError: the directory cannot be used.
        """
        if not writer:
            if not path.is_dir():
                raise NotFoundError(
                    f"there is no ledger in {path}",
                    advice="Check the path, or make a ledger by opening it for writing.",
                    path=str(path),
                )
            return cls(path, origin, vkey, verify, None)
        durable.make_directory(path)
        lock = lock or DirectoryLock(path / LOCK_FILE)
        try:
            for directory in ("tile", "lists", "side"):
                durable.make_directory(path / directory)
            ledger = cls(path, origin, vkey, verify, lock, is_copy=is_copy)
            ledger._settle()
        except BaseException:
            lock.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _settle(self) -> None:
        """Finish what a killed writer may have left unfinished; needs no space on the disk."""
        self._checkpoint.sweep()
        self.lists.sweep()
        self.side.sweep()
        if self.checkpoint_note is None:
            return
        # It may have died between putting the checkpoint in place and making that durable.
        self._checkpoint.sync()
        self._settle_tail()
        self._checkpoint.mark_begun()
        for level in (BUNDLE, *range(len(self._state.tree.edge.tiles))):
            full = full_tiles(level, self.size)
            if full:
                self._files.drop_partials(level, full - 1)
