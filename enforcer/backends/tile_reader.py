"""A ledger's directory for reading: entries, tiles, proofs and receipts of the tree that is held.

Everything handed out hashes up to the signed root. Safe to use from several threads: a tree never
changes, and the writer in this process replaces the one held as a whole. Readers in other processes
see the tree as they opened it. All calls block.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from enforcer.backends.cosigned_file import CosignedFile
from enforcer.backends.tile_checkpoint import CheckpointFile
from enforcer.backends.tile_files import TileFiles, damaged
from enforcer.backends.tile_history import check_cosigned
from enforcer.backends.tile_opening import TileOpening
from enforcer.backends.tile_tail import TailFile
from enforcer.backends.tile_tree import Progress, TileCache, TileTree
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.note import VerifierKey, Verify
from enforcer.core.receipt import Receipt
from enforcer.core.tile import TILE_WIDTH


class TileReader:
    """One ledger as its files have it; who writes it is a subclass, and alone sets the trees."""

    def __init__(
        self,
        path: Path,
        origin: str,
        vkey: VerifierKey,
        verify: Verify,
        *,
        is_writer: bool = False,
        is_copy: bool = False,
    ) -> None:
        """Read what is there; a copy's writer goes on from what is left.

        Raises:
            IntegrityError: the checkpoint, the tiles or the tail are not what they must be, or are
                not of the history that was cosigned.
            UnavailableError: one cannot be read.
        """
        self.path = path
        self.origin = origin
        self._files = TileFiles(path)
        self._cache = TileCache()
        # Read before the checkpoint, so that a reader beside a writer never finds it ahead of that.
        self._cosigned = CosignedFile(path, origin, vkey, verify)
        self._checkpoint = CheckpointFile(path, origin, vkey, verify)
        self._tail = TailFile(path)
        self._opening = TileOpening(self._files, self._cache, self._checkpoint, self._tail)
        # What the tiles have, under the checkpoint file.
        self._laid = self._opening.laid()
        # One reference, replaced as a whole: readers in other threads see the old or the new tree.
        self._state = self._laid
        if not is_writer:
            self._laid, self._state = self._opening.beside_a_writer(self._laid)
        elif is_copy:
            self._state = self._opening.what_is_left(self._laid, self._cosigned)
        else:
            self._state = self._opening.with_tail(self._laid)
        self._check_cosigned(self._cosigned.checkpoint)

    @property
    def size(self) -> int:
        """How many entries the checkpoint counts."""
        return self._state.tree.size

    @property
    def root(self) -> bytes:
        """The Merkle root of these entries."""
        return self._state.tree.root

    @property
    def checkpoint_note(self) -> bytes | None:
        """The signed note of the checkpoint; None while the ledger is empty."""
        return self._state.note

    @property
    def cosigned_note(self) -> bytes | None:
        """The newest checkpoint that has cosignatures; it may be older than the checkpoint."""
        return self._cosigned.note

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Return entries, as :meth:`TileTree.entries` does."""
        return self._state.tree.entries(start, end)

    def leaf_hashes(self, start: int, end: int) -> Iterator[bytes]:
        """Return leaf hashes, as :meth:`TileTree.leaf_hashes` does."""
        return self._state.tree.leaf_hashes(start, end)

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return the hashes of a tile, as :meth:`TileTree.tile` does."""
        return self._state.tree.tile(level, index, width)

    def bundle(self, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return an entry bundle, as :meth:`TileTree.bundle` does."""
        return self._state.tree.bundle(index, width)

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return an inclusion proof, as :meth:`TileTree.inclusion_proof` does."""
        return self._state.tree.inclusion_proof(index, size)

    def consistency_proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return a consistency proof, as :meth:`TileTree.consistency_proof` does."""
        return self._state.tree.consistency_proof(first, second)

    def root_at(self, size: int) -> bytes:
        """Return an earlier root, as :meth:`TileTree.root_at` does."""
        return self._state.tree.root_at(size)

    def receipt(self, index: int) -> Receipt:
        """Return the proof that entry `index` is in the tree of a checkpoint.

        That is the newest one with cosignatures if it covers the entry, else the present one.

        Raises:
            InputError: there is no such entry.
            IntegrityError: a tile is damaged.
        """
        tree, note = self._state
        cosigned = self._cosigned.note
        if cosigned is not None:
            size = self._cosigned.read(cosigned).size
            if 0 <= index < size:
                return Receipt(index, tree.inclusion_proof(index, size), cosigned)
        return Receipt(index, tree.inclusion_proof(index, tree.size), note or b"")

    def verify_all(self, progress: Progress | None = None) -> None:
        """Read every file again; hash every entry, compare with every tile and the checkpoint.

        Raises:
            IntegrityError: the first file that is not what it must be; ``data["path"]`` names it,
                ``data["index"]`` the entry if it is one.
        """
        tree, known = self._laid
        note = self._checkpoint.read()
        if note != known:
            self._check_not_older(note)
        elif self._opening.with_tail(self._laid).tree.size < self.size:
            note = self._checkpoint.read()
            if note == known:
                raise damaged(
                    self._tail.path,
                    "cut",
                    f"{self._tail.path} is cut: {self.size} entries were there",
                )
            self._check_not_older(note)  # a writer has laid the tail meanwhile
        TileTree(self._files, tree.edge, TileCache()).verify_all(progress)

    def _check_not_older(self, note: bytes | None) -> None:
        laid_size = self._laid.tree.size
        self._checkpoint.check_not_older(note, laid_size=laid_size, size=self.size)

    def _check_cosigned(self, known: Checkpoint | None) -> None:
        check_cosigned(known, self._state, self._checkpoint.path, self._cosigned)
