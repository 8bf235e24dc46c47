"""A ledger's signed checkpoint, in the file `checkpoint`; and `begun`: there was one.

From the rename of a checkpoint on, readers rely on its tree: so nothing is put in place before its
tiles are on the disk, and after a fault in between nobody appends until the ledger is opened again.
Refuses what the log did not sign, what is of another tree, and a file that is gone, was changed, or
is older than what was read before: going on from one would fork the ledger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.backends.tile_files import damaged
from enforcer.backends.tile_tree import TileTree
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.note import NOTE_BYTES_MAX, VerifierKey, Verify
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError

CHECKPOINT_FILE: Final = "checkpoint"
BEGUN_FILE: Final = "begun"
"""Says that a checkpoint was there: without one, a ledger is lost, and not new."""


class CheckpointFile:
    """The checkpoint of one ledger; one writer."""

    def __init__(self, directory: Path, origin: str, vkey: VerifierKey, verify: Verify) -> None:
        """Take the log's name and key; nothing is read yet."""
        self.path = directory / CHECKPOINT_FILE
        self._begun_path = directory / BEGUN_FILE
        self._origin = origin
        self._vkey = vkey
        self._verify = verify
        self._in_doubt = False

    def read(self) -> bytes | None:
        """Return the note that is there; None: there is none.

        Raises:
            IntegrityError: it is too long.
            UnavailableError: it cannot be read.
        """
        try:
            return durable.read_file(self.path, size_bytes_max=NOTE_BYTES_MAX)
        except NotFoundError:
            return None

    def read_unless_lost(self) -> bytes | None:
        """Return the note that is there; None: there never was one.

        Raises:
            IntegrityError: there was one; or as :meth:`read`.
            UnavailableError: as :meth:`read`.
        """
        begun = self._begun_path.exists()  # looked at first, because it comes to be last
        note = self.read()
        if note is None and begun:
            raise damaged(
                self.path,
                "missing",
                f"{self.path} was lost: going on without it would fork the ledger",
            )
        return note

    def open(self, note: bytes) -> Checkpoint:
        """Return what a note says.

        Raises:
            IntegrityError: the log did not sign it.
        """
        return open_checkpoint(note, self._origin, self._vkey, self._verify)

    def of(self, tree: TileTree) -> Checkpoint:
        """Return what is to be signed of a tree."""
        return Checkpoint(self._origin, tree.size, tree.root)

    def check_seal(self, note: bytes, tree: TileTree) -> None:
        """Check that the log signed this tree.

        Raises:
            IntegrityError: it signed another one (``data["problem"]``), or nothing.
        """
        sealed, checkpoint = self.open(note), self.of(tree)
        if sealed != checkpoint:
            raise IntegrityError(
                f"the signed checkpoint is of size {sealed.size} and root {sealed.root.hex()},"
                f" the entries give size {checkpoint.size} and root {checkpoint.root.hex()}",
                advice="Do not use these entries: ask another source for them and the checkpoint.",
                problem="another tree",
                expected=checkpoint.root.hex(),
                got=sealed.root.hex(),
                size=checkpoint.size,
                size_sealed=sealed.size,
            )

    def check_not_older(self, note: bytes | None, *, laid_size: int, size: int) -> None:
        """Check a note that is not the one known: `laid_size` entries were under that one.

        `size` is what this ledger has come to, with its tail.

        Raises:
            IntegrityError: it is gone, not signed, or older.
        """
        if note is None:
            raise damaged(self.path, "missing", f"{self.path} was removed")
        got = self.open(note).size
        if got < laid_size:
            raise damaged(
                self.path,
                "rolled back",
                f"{self.path} was rolled back to size {got}, this ledger was at {size}",
                expected=size,
                got=got,
            )

    def check_known(self, known: bytes | None, *, laid_size: int, size: int) -> None:
        """Check that the file is as its only writer left it; sizes as :meth:`check_not_older`.

        Raises:
            IntegrityError: it is not.
            UnavailableError: what became of the last one is unknown, or it cannot be read.
        """
        if self._in_doubt:
            raise UnavailableError(
                f"the last checkpoint in {self.path.parent} may or may not be on the disk",
                advice="Look at the kernel's log for a failing disk, then restart this process.",
                path=str(self.path.parent),
            )
        note = self.read()
        if note != known:
            self.check_not_older(note, laid_size=laid_size, size=size)
            raise damaged(
                self.path,
                "altered",
                f"{self.path} was changed by somebody else while this process held the lock",
            )

    def put(self, note: bytes, known: bytes | None) -> None:
        """Put the checkpoint in the place of the known one; it is durable when this returns.

        Raises:
            UnavailableError: the disk did not take it; it is in doubt where readers may have seen
                it all the same.
        """
        self._in_doubt = True
        try:
            durable.write_file(self.path, note)
            if known is None:
                durable.write_file(self._begun_path, b"")
        except UnavailableError:
            self._in_doubt = self.read() != known
            raise
        self._in_doubt = False

    def sweep(self) -> None:
        """Remove what a killed writer may have left beside it."""
        durable.remove_quietly(durable.temporary_of(self.path))

    def sync(self) -> None:
        """Make durable what a writer put in place before it was killed.

        Raises:
            UnavailableError: the kernel could not.
        """
        durable.sync_file(self.path)

    def mark_begun(self) -> None:
        """Say that there is one, where a writer was killed before it did.

        Raises:
            UnavailableError: the disk did not take it.
        """
        if not self._begun_path.exists():
            durable.write_file(self._begun_path, b"")
