"""What a ledger's directory holds: the tiles under its checkpoint, and what a copy's tail has more.

Reads alone, and proves what it gives: the right edge hashes to the checkpoint's root, and each part
of the tail to the note that the log signed for it. What lies beyond checkpoint and tail does not
count. Readers beside a writer take files in the order in which one becomes another. A copy's writer
goes on from what is left: it has what it cannot read set aside, and the notes in that kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import structlog

from enforcer.backends.cosigned_file import CosignedFile
from enforcer.backends.tile_checkpoint import CheckpointFile
from enforcer.backends.tile_files import COPY_AGAIN, TileFiles, damaged
from enforcer.backends.tile_tail import TailFile, TailPart
from enforcer.backends.tile_tree import TileCache, TileTree
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.edge import RightEdge
from enforcer.core.merkle import HASH_BYTES
from enforcer.core.tile import BUNDLE, Tile, decode_bundle, full_tiles
from enforcer.errors import IntegrityError

OPENINGS_MAX: Final = 10
"""So often a reader begins again when a writer has come between."""

_log: Final = structlog.get_logger(__name__)


class SignedTree(NamedTuple):
    """A tree, and the note that the log signed for it; the empty tree has none."""

    tree: TileTree
    note: bytes | None


class TileOpening:
    """Reads what one directory holds, as often as is asked."""

    def __init__(
        self, files: TileFiles, cache: TileCache, checkpoint: CheckpointFile, tail: TailFile
    ) -> None:
        """Take the files to read; nothing is read yet."""
        self._files = files
        self._cache = cache
        self._checkpoint = checkpoint
        self._tail = tail

    def laid(self) -> SignedTree:
        """Return the tree that the tiles have: the checkpoint, and the right edge under it.

        Raises:
            IntegrityError: they are not what they must be, or the checkpoint was lost.
            UnavailableError: one cannot be read.
        """
        note = self._checkpoint.read_unless_lost()
        if note is None:
            return SignedTree(TileTree(self._files, RightEdge(), self._cache), None)
        checkpoint = self._checkpoint.open(note)
        edge = RightEdge.read(checkpoint.size, self._files.read)
        tree = TileTree(self._files, edge, self._cache)
        if tree.root != checkpoint.root:
            raise self._edge_damaged(edge, tree.root, checkpoint)
        if edge.width:
            tile = Tile(BUNDLE, full_tiles(BUNDLE, edge.size), edge.width)
            tree.verify_bundle(tile, decode_bundle(edge.bundle, edge.width), edge.tiles[0])
        return SignedTree(tree, note)

    def with_tail(self, laid: SignedTree, *, is_strict: bool = True) -> SignedTree:
        """Return the tree with what the tail has beyond the tiles, proven as a feed's is.

        Raises:
            IntegrityError: the tail is damaged, or the log did not sign what stands there; unless
                `is_strict` is False.
            UnavailableError: it cannot be read.
        """
        if laid.note is None:
            return laid
        # In this order: a writer beside us may make what we read first into what we read then.
        parts = self._tail.read(is_strict=is_strict)
        laid = self._followed(laid, self._tail.read_laid(), is_strict=False)
        return self._followed(laid, parts, is_strict=is_strict)

    def beside_a_writer(self, laid: SignedTree) -> tuple[SignedTree, SignedTree]:
        """Return the tree that the tiles have, and that with the tail.

        A writer may lay the tail, and more of them, after we have read the checkpoint.

        Raises:
            IntegrityError, UnavailableError: as :meth:`laid` and :meth:`with_tail`.
        """
        whole = laid
        for _ in range(OPENINGS_MAX):
            whole = self.with_tail(laid)
            if self._checkpoint.read() == laid.note:
                return laid, whole
            laid = whole = self.laid()
        return laid, whole

    def what_is_left(self, laid: SignedTree, cosigned: CosignedFile) -> SignedTree:
        """Return the tree with what can be read of a copy's tail; set aside what is no good.

        Raises:
            UnavailableError: the tail cannot be read.
        """
        try:
            whole = self.with_tail(laid)
        except IntegrityError as error:
            whole = self.with_tail(laid, is_strict=False)
            for note in self._tail.notes():
                with suppress(IntegrityError):
                    if cosigned.read(note).size > whole.tree.size:
                        cosigned.keep_ahead(note)
            self._tail.set_aside()
            _log.error(
                "the tail of the ledger's copy was set aside: reads again what it held",
                problem=error.message,
                ledger_size=whole.tree.size,
                path=str(self._tail.damaged_path),
            )
        cosigned.read_ahead()
        known = cosigned.checkpoint
        if known is not None and known.size > whole.tree.size:
            cosigned.set_aside()
            _log.error(
                "the ledger's copy was longer: reads again what is gone, no other history",
                ledger_size=whole.tree.size,
                known_size=known.size,
            )
        return whole

    def _followed(
        self, laid: SignedTree, parts: Sequence[TailPart], *, is_strict: bool
    ) -> SignedTree:
        tree, note = laid
        for part in parts:
            if part.first_index > tree.size:
                break
            if part.first_index == tree.size:
                edge, tiles = tree.edge.grow(part.leaves)
                if not all(self._files.path(tile).exists() for tile in tiles if tile.is_full):
                    break
                after = TileTree(self._files, edge, self._cache)
                try:
                    self._checkpoint.check_seal(part.note, after)
                except IntegrityError as error:
                    if not is_strict:
                        break
                    path = self._tail.path
                    raise damaged(
                        path, "altered", f"{path} was altered: {error.message}", advice=COPY_AGAIN
                    ) from error
                tree, note = after, part.note
        return SignedTree(tree, note)

    def _edge_damaged(self, edge: RightEdge, got: bytes, checkpoint: Checkpoint) -> IntegrityError:
        """Return the error of a right edge that does not hash to its checkpoint's root."""
        names = [
            Tile(level, full_tiles(level, edge.size), len(hashes) // HASH_BYTES).path
            for level, hashes in enumerate(edge.tiles)
            if hashes
        ]
        root = self._files.root
        return damaged(
            root,
            "altered",
            f"of {', '.join(names)} in {root} one was altered: they hash to {got.hex()}, "
            f"the checkpoint of size {checkpoint.size} says {checkpoint.root.hex()}",
            expected=checkpoint.root.hex(),
            got=got.hex(),
        )
