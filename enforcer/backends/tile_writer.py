"""Writing one ledger: in which order tail, tiles and checkpoint come to the disk.

Tiles are on the disk and read back before their tree is signed, the checkpoint is put in place
after them, and what it alone needed is removed last. A copy's small appends are one record in its
tail, which is laid into tiles before it is long. So a crash at any point leaves what was answered,
and leftovers. Refuses to sign what it cannot read back, and to go on from a checkpoint file that is
not the one it knows. One append at a time; readers in other threads go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from enforcer.backends.lock import DirectoryLock
from enforcer.backends.tile_files import damaged
from enforcer.backends.tile_growth import check_leaves, grow
from enforcer.backends.tile_history import check_ahead, forget_ahead
from enforcer.backends.tile_opening import SignedTree
from enforcer.backends.tile_reader import TileReader
from enforcer.backends.tile_tail import TAIL_BYTES_MAX, TAIL_LEAVES_MAX, TailPart
from enforcer.backends.tile_tree import TileCache, TileTree
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.note import VerifierKey, Verify
from enforcer.core.tile import TILE_WIDTH, Tile
from enforcer.errors import ConflictError, EnforcerError, UnavailableError

Seal: TypeAlias = Callable[[Checkpoint], bytes]
"""``seal(checkpoint)``: the signed note of this checkpoint, which it must not show to anyone."""


def received(note: bytes) -> Seal:
    """Return the seal of a replica: the note that the log has signed already.

    The ledger refuses it unless its signature, size and root are those of the tree being sealed.
    """
    return lambda _checkpoint: note


class TileWriter(TileReader):
    """One ledger for who has its lock; without it every verb here is refused."""

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
        """Read what is there, and take the lock, which :meth:`close` gives up.

        Raises:
            IntegrityError, UnavailableError: as :class:`TileReader`.
        """
        self._lock = lock
        self._appending = Lock()
        self._staged: tuple[TileTree, tuple[Tile, ...]] | None = None
        self._is_copy = is_copy
        super().__init__(path, origin, vkey, verify, is_writer=lock is not None, is_copy=is_copy)

    def close(self) -> None:
        """Give up the right to write; again is harmless."""
        if self._lock is not None:
            with suppress(EnforcerError):  # it may stay: whoever opens this reads it
                if self._lay_tail() is not None:
                    self._tail.clear()
            self._tail.close()
            self._lock.close()
            self._lock = None

    def keep_cosigned(self, note: bytes) -> None:
        """Keep a checkpoint of this ledger that has cosignatures, durably.

        An older one, or one of the same size with fewer signatures, may be given: the caller
        decides which is the better.

        Raises:
            ConflictError: the ledger was opened for reading.
            IntegrityError: the log did not sign it, or it is of another history than this ledger.
            UnavailableError: the disk did not take it.
        """
        with self._appending:
            self._check_writable()
            self._check_cosigned(self._cosigned.read(note))
            self._cosigned.keep(note)
            forget_ahead(self._laid.tree, self._cosigned)

    def append(self, leaves: Sequence[bytes], seal: Seal) -> bytes:
        """Add entries, all or none, and return the signed note of the new checkpoint.

        When it returns everything is on the disk and was read back and hashed again; a copy may
        have it in its tail instead, which is read back and hashed when it is opened or laid into
        tiles, at the latest after 64 entries. When it raises, nobody was shown a new checkpoint,
        and the next append goes on from the last one; except that after a fault while the
        checkpoint itself was put in place every append is refused until the ledger is opened
        again, because readers may have seen it.

        Args:
            leaves: 1 to 16,384 entries of at most 65,535 bytes, 64 MiB together.
            seal: the log's signer; at a replica, :func:`received`.

        Raises:
            InputError: the entries are none, too many or too large.
            ConflictError: the ledger was opened for reading.
            IntegrityError: the checkpoint on the disk is not the one this object knows, or the disk
                gave back other bytes, or the seal is of another tree, key or origin.
            UnavailableError: the disk did not take it.
        """
        check_leaves(leaves)
        with self._appending:
            if self._fits_tail(leaves):
                return self._append_to_tail(leaves, seal)
            before, filled = self._grown_from()
            after, more = grow(self._files, before, leaves, self._cache)
            note = self._sealed(after, seal)
            self._publish(after, note)
            self._clear_tail(TailPart(before.size, tuple(leaves), note))
            forget_ahead(self._laid.tree, self._cosigned)
            self._drop_partials((*filled, *more))
            return note

    def stage(self, leaves: Sequence[bytes]) -> None:
        """Write entries that the next append covers before its own, and no reader sees until then.

        An append or a stage that raises, :meth:`unstage`, and the end of the process forget all
        that was staged; its files are leftovers, which are overwritten.

        Raises:
            InputError, ConflictError, IntegrityError, UnavailableError: as :meth:`append`.
        """
        check_leaves(leaves)
        with self._appending:
            before, filled = self._grown_from()
            # Its own cache: what is staged may be forged, and then nobody may ever read it.
            after, more = grow(self._files, before, leaves, TileCache())
            self._staged = after, (*filled, *more)

    def unstage(self) -> None:
        """Forget what was staged; nothing staged is harmless."""
        with self._appending:
            self._staged = None

    def _settle_tail(self) -> None:
        """Lay what a killed writer left in the tail; a copy whose disk is full does it later."""
        try:
            self._lay_tail()
        except UnavailableError:
            if not self._is_copy:
                raise
            self._tail.close()
        else:
            self._tail.clear()

    def _clear_tail(self, last: TailPart) -> None:
        """Begin a new tail; the laid one has what came with it too, if that is small."""
        if not self._is_copy:
            return
        octets = sum(map(len, last.leaves))
        is_small = len(last.leaves) <= TAIL_LEAVES_MAX and octets <= TAIL_BYTES_MAX
        self._tail.clear(last if is_small else None)

    def _fits_tail(self, leaves: Sequence[bytes]) -> bool:
        """Tell whether these may go into the tail: in a copy, and without filling a tile.

        So all that is beyond the tiles on the disk is in the right edge in memory.
        """
        return (
            self._is_copy
            and self._staged is None
            and self._laid.note is not None
            and self.size % TILE_WIDTH + len(leaves) < TILE_WIDTH
            and self._tail.has_room(leaves)
        )

    def _append_to_tail(self, leaves: Sequence[bytes], seal: Seal) -> bytes:
        self._check_writable()
        edge, _ = self._state.tree.edge.grow(leaves)
        after = TileTree(self._files, edge, self._cache)
        note = self._sealed(after, seal)
        self._tail.add(TailPart(self.size, tuple(leaves), note))
        self._state = SignedTree(after, note)
        return note

    def _lay_tail(self) -> TileTree | None:
        """Write what the tail has into tiles, under its last checkpoint; None: it has nothing.

        The tail is the caller's to clear.

        Raises:
            UnavailableError, IntegrityError: as for :meth:`append`; the tail stays.
        """
        before, tree, note = self._laid.tree, *self._state
        if note is None or before.size == tree.size:
            return None
        self._check_appendable()
        leaves = list(tree.entries(before.size, tree.size))
        after, filled = grow(self._files, before, leaves, self._cache)
        self._checkpoint.check_seal(note, after)
        self._publish(after, note)
        self._drop_partials(filled)
        return after

    def _grown_from(self) -> tuple[TileTree, tuple[Tile, ...]]:
        """Return the tree to grow, and the tiles that were filled since the last checkpoint.

        What was staged is in it, once; what the tail has is laid before.
        """
        staged, self._staged = self._staged, None
        before, filled = staged or (self._state.tree, ())
        self._check_appendable()
        return self._lay_tail() or before, filled

    def _check_writable(self) -> None:
        if self._lock is None:
            raise ConflictError(
                f"the ledger in {self.path} is open for reading only",
                advice="Open it with writer=True.",
                path=str(self.path),
            )

    def _check_appendable(self) -> None:
        """Refuse to go on from anything but the checkpoint that this object knows."""
        self._check_writable()
        tree, known = self._laid
        self._checkpoint.check_known(known, laid_size=tree.size, size=self.size)
        # The next root is computed from these hashes: memory, too, can flip a bit.
        if tree.edge.root() != tree.root:
            raise damaged(self.path, "memory", "the right edge in memory was altered")

    def _sealed(self, tree: TileTree, seal: Seal) -> bytes:
        """Have a tree's checkpoint signed."""
        note = seal(self._checkpoint.of(tree))
        self._checkpoint.check_seal(note, tree)
        check_ahead(tree, self._cosigned)
        return note

    def _publish(self, tree: TileTree, note: bytes) -> None:
        """Put the checkpoint in place: from its rename on, readers rely on the new tree."""
        self._checkpoint.put(note, self._laid.note)
        self._state = self._laid = SignedTree(tree, note)

    def _drop_partials(self, filled: Sequence[Tile]) -> None:
        for tile in filled:
            self._files.drop_partials(tile.level, tile.index)
