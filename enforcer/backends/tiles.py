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

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Self, TypeAlias

import structlog

from enforcer.backends import durable
from enforcer.backends.content import ContentStore
from enforcer.backends.cosigned_file import CosignedFile
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.sealing import SEALED_BYTES_MAX
from enforcer.backends.tile_files import TileFiles, damaged
from enforcer.backends.tile_tail import TAIL_BYTES_MAX, TAIL_LEAVES_MAX, TailFile, TailPart
from enforcer.backends.tile_tree import Progress, TileCache, TileTree
from enforcer.backends.wrap_files import WrapFiles
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.edge import RightEdge
from enforcer.core.merkle import HASH_BYTES
from enforcer.core.note import NOTE_BYTES_MAX, VerifierKey, Verify
from enforcer.core.receipt import Receipt
from enforcer.core.tile import BUNDLE, TILE_WIDTH, Tile, decode_bundle, full_tiles
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)

APPEND_LEAVES_MAX: Final = 16_384
APPEND_BYTES_MAX: Final = 64 << 20
LIST_BYTES_MAX: Final = SEALED_BYTES_MAX  # the longest list, sealed
SIDE_BYTES_MAX: Final = 64 << 20
LOCK_FILE: Final = "lock"
OPENINGS_MAX: Final = 10
"""So often a reader begins again when a writer has come between."""
BEGUN_FILE: Final = "begun"
"""Says that a checkpoint was there: without one, a ledger is lost, and not new."""

_COPY_AGAIN: Final = (
    "A node that starts sets it aside, and reads again from its feed what is gone. A directory "
    "that was copied while its node wrote is to be copied again; a control plane's ledger is to be "
    "restored: enforcer ledger restore."
)

_log: Final = structlog.get_logger(__name__)

Seal: TypeAlias = Callable[[Checkpoint], bytes]
"""``seal(checkpoint)``: the signed note of this checkpoint, which it must not show to anyone."""


def received(note: bytes) -> Seal:
    """Return the seal of a replica: the note that the log has signed already.

    The ledger refuses it unless its signature, size and root are those of the tree being sealed.
    """
    return lambda _checkpoint: note


class TileLedger:
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
        self.path = path
        self.origin = origin
        self.lists = ContentStore(path / "lists", size_bytes_max=LIST_BYTES_MAX)
        self.side = ContentStore(path / "side", size_bytes_max=SIDE_BYTES_MAX)
        self.wraps = WrapFiles(path / "wraps")
        self._vkey = vkey
        self._verify = verify
        self._lock = lock
        self._files = TileFiles(path)
        self._cache = TileCache()
        self._appending = Lock()
        self._in_doubt = False
        self._staged: tuple[TileTree, tuple[Tile, ...]] | None = None
        # Read before the checkpoint, so that a reader beside a writer never finds it ahead of that.
        self._cosigned = CosignedFile(path, origin, vkey, verify)
        self._tail = TailFile(path)
        self._is_copy = is_copy
        # The tree that the tiles have, under the checkpoint file.
        self._laid = self._load()
        # One reference, replaced as a whole: readers in other threads see the old or the new tree.
        self._state = self._laid
        if is_copy and lock is not None:
            self._read_what_is_left()
        else:
            self._read_tail()
        self._check_cosigned(self._cosigned.checkpoint)

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

    def close(self) -> None:
        """Give up the right to write; again is harmless."""
        if self._lock is not None:
            with suppress(EnforcerError):  # it may stay: whoever opens this reads it
                if self._lay_tail() is not None:
                    self._tail.clear()
            self._tail.close()
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many entries the checkpoint counts."""
        return self._state[0].size

    @property
    def root(self) -> bytes:
        """The Merkle root of these entries."""
        return self._state[0].root

    @property
    def checkpoint_note(self) -> bytes | None:
        """The signed note of the checkpoint; None while the ledger is empty."""
        return self._state[1]

    @property
    def cosigned_note(self) -> bytes | None:
        """The newest checkpoint that has cosignatures; it may be older than the checkpoint."""
        return self._cosigned.note

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
            self._forget_ahead()

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
        _check_leaves(leaves)
        with self._appending:
            if self._fits_tail(leaves):
                return self._append_to_tail(leaves, seal)
            before, filled = self._take_staged()
            self._check_appendable()
            before = self._lay_tail() or before
            after, more = self._grow(before, leaves, self._cache)
            note = self._sealed(after, seal)
            self._publish(note)
            self._state = self._laid = after, note
            self._clear_tail(TailPart(before.size, tuple(leaves), note))
            self._forget_ahead()
            for tile in (*filled, *more):
                self._files.drop_partials(tile.level, tile.index)
            return note

    def stage(self, leaves: Sequence[bytes]) -> None:
        """Write entries that the next append covers before its own, and no reader sees until then.

        An append or a stage that raises, :meth:`unstage`, and the end of the process forget all
        that was staged; its files are leftovers, which are overwritten.

        Raises:
            InputError, ConflictError, IntegrityError, UnavailableError: as :meth:`append`.
        """
        _check_leaves(leaves)
        with self._appending:
            before, filled = self._take_staged()
            self._check_appendable()
            before = self._lay_tail() or before
            # Its own cache: what is staged may be forged, and then nobody may ever read it.
            after, more = self._grow(before, leaves, TileCache())
            self._staged = after, (*filled, *more)

    def unstage(self) -> None:
        """Forget what was staged; nothing staged is harmless."""
        with self._appending:
            self._take_staged()

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Return entries, as :meth:`TileTree.entries` does."""
        return self._state[0].entries(start, end)

    def leaf_hashes(self, start: int, end: int) -> Iterator[bytes]:
        """Return leaf hashes, as :meth:`TileTree.leaf_hashes` does."""
        return self._state[0].leaf_hashes(start, end)

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return the hashes of a tile, as :meth:`TileTree.tile` does."""
        return self._state[0].tile(level, index, width)

    def bundle(self, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return an entry bundle, as :meth:`TileTree.bundle` does."""
        return self._state[0].bundle(index, width)

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return an inclusion proof, as :meth:`TileTree.inclusion_proof` does."""
        return self._state[0].inclusion_proof(index, size)

    def consistency_proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return a consistency proof, as :meth:`TileTree.consistency_proof` does."""
        return self._state[0].consistency_proof(first, second)

    def root_at(self, size: int) -> bytes:
        """Return an earlier root, as :meth:`TileTree.root_at` does."""
        return self._state[0].root_at(size)

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
        note = self._read_note()
        if note != known:
            self._check_not_older(note)
        elif self._with_tail(self._laid)[0].size < self.size:
            note = self._read_note()
            if note == known:
                raise damaged(
                    self._tail.path,
                    "cut",
                    f"{self._tail.path} is cut: {self.size} entries were there",
                )
            self._check_not_older(note)  # a writer has laid the tail meanwhile
        TileTree(self._files, tree.edge, TileCache()).verify_all(progress)

    @property
    def _note_path(self) -> Path:
        return self.path / "checkpoint"

    @property
    def _begun_path(self) -> Path:
        return self.path / BEGUN_FILE

    def _load(self) -> tuple[TileTree, bytes | None]:
        """Read the checkpoint and the right edge under it."""
        begun = self._begun_path.exists()  # looked at first, because it comes to be last
        note = self._read_note()
        if note is None:
            if begun:
                raise damaged(
                    self._note_path,
                    "missing",
                    f"{self._note_path} was lost: going on without it would fork the ledger",
                )
            return TileTree(self._files, RightEdge(), self._cache), None
        checkpoint = open_checkpoint(note, self.origin, self._vkey, self._verify)
        edge = RightEdge.read(checkpoint.size, self._files.read)
        tree = TileTree(self._files, edge, self._cache)
        if tree.root != checkpoint.root:
            raise self._edge_damaged(edge, tree.root, checkpoint)
        if edge.width:
            tile = Tile(BUNDLE, full_tiles(BUNDLE, edge.size), edge.width)
            tree.verify_bundle(tile, decode_bundle(edge.bundle, edge.width), edge.tiles[0])
        return tree, note

    def _settle(self) -> None:
        """Finish what a killed writer may have left unfinished; needs no space on the disk."""
        durable.remove_quietly(durable.temporary_of(self._note_path))
        self.lists.sweep()
        self.side.sweep()
        if self.checkpoint_note is None:
            return
        # It may have died between putting the checkpoint in place and making that durable.
        durable.sync_file(self._note_path)
        self._settle_tail()
        if not self._begun_path.exists():
            durable.write_file(self._begun_path, b"")
        for level in (BUNDLE, *range(len(self._state[0].edge.tiles))):
            full = full_tiles(level, self.size)
            if full:
                self._files.drop_partials(level, full - 1)

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

    def _read_note(self) -> bytes | None:
        try:
            return durable.read_file(self._note_path, size_bytes_max=NOTE_BYTES_MAX)
        except NotFoundError:
            return None

    def _read_tail(self) -> None:
        """Go on from the tiles to what the tail has.

        A writer beside us may lay the tail, and more of them, after we have read the checkpoint.
        """
        for _ in range(OPENINGS_MAX):
            self._state = self._with_tail(self._laid)
            if self._lock is not None or self._read_note() == self._laid[1]:
                return
            self._laid = self._state = self._load()

    def _read_what_is_left(self) -> None:
        """Go on from the tiles to what can be read of a copy's tail; set aside what is no good."""
        try:
            self._state = self._with_tail(self._laid)
        except IntegrityError as error:
            self._state = self._with_tail(self._laid, is_strict=False)
            for note in self._tail.notes():
                with suppress(IntegrityError):
                    if self._cosigned.read(note).size > self.size:
                        self._cosigned.keep_ahead(note)
            self._tail.set_aside()
            _log.error(
                "the tail of the ledger's copy was set aside: reads again what it held",
                problem=error.message,
                ledger_size=self.size,
                path=str(self._tail.damaged_path),
            )
        self._cosigned.read_ahead()
        cosigned = self._cosigned.checkpoint
        if cosigned is not None and cosigned.size > self.size:
            self._cosigned.set_aside()
            _log.error(
                "the ledger's copy was longer: reads again what is gone, no other history",
                ledger_size=self.size,
                known_size=cosigned.size,
            )

    def _with_tail(
        self, laid: tuple[TileTree, bytes | None], *, is_strict: bool = True
    ) -> tuple[TileTree, bytes | None]:
        """Return the tree with what the tail has beyond the tiles, proven as a feed's is.

        Raises:
            IntegrityError: the tail is damaged, or the log did not sign what stands there; unless
                `is_strict` is False.
        """
        if laid[1] is None:
            return laid
        # In this order: a writer beside us may make what we read first into what we read then.
        parts = self._tail.read(is_strict=is_strict)
        laid = self._followed(laid, self._tail.read_laid(), is_strict=False)
        return self._followed(laid, parts, is_strict=is_strict)

    def _followed(
        self,
        laid: tuple[TileTree, bytes | None],
        parts: Sequence[TailPart],
        *,
        is_strict: bool,
    ) -> tuple[TileTree, bytes | None]:
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
                    self._check_seal(part.note, Checkpoint(self.origin, after.size, after.root))
                except IntegrityError as error:
                    if not is_strict:
                        break
                    path = self._tail.path
                    raise damaged(
                        path, "altered", f"{path} was altered: {error.message}", advice=_COPY_AGAIN
                    ) from error
                tree, note = after, part.note
        return tree, note

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
            and self._laid[1] is not None
            and self.size % TILE_WIDTH + len(leaves) < TILE_WIDTH
            and self._tail.has_room(leaves)
        )

    def _append_to_tail(self, leaves: Sequence[bytes], seal: Seal) -> bytes:
        self._check_writable()
        edge, _ = self._state[0].edge.grow(leaves)
        after = TileTree(self._files, edge, self._cache)
        note = self._sealed(after, seal)
        self._tail.add(TailPart(self.size, tuple(leaves), note))
        self._state = after, note
        return note

    def _lay_tail(self) -> TileTree | None:
        """Write what the tail has into tiles, under its last checkpoint; None: it has nothing.

        The tail is the caller's to clear.

        Raises:
            UnavailableError, IntegrityError: as for :meth:`append`; the tail stays.
        """
        before, tree, note = self._laid[0], *self._state
        if note is None or before.size == tree.size:
            return None
        self._check_appendable()
        leaves = list(tree.entries(before.size, tree.size))
        after, filled = self._grow(before, leaves, self._cache)
        self._check_seal(note, Checkpoint(self.origin, after.size, after.root))
        self._publish(note)
        self._state = self._laid = after, note
        for tile in filled:
            self._files.drop_partials(tile.level, tile.index)
        return after

    def _take_staged(self) -> tuple[TileTree, tuple[Tile, ...]]:
        """Return the tree to grow, and the tiles that were filled since the last checkpoint."""
        staged, self._staged = self._staged, None
        return staged or (self._state[0], ())

    def _grow(
        self, before: TileTree, leaves: Sequence[bytes], cache: TileCache
    ) -> tuple[TileTree, list[Tile]]:
        """Write entries; return the tree with them, and the tiles that were partial and are full.

        What those were before stays on the disk: the present checkpoint may rest on it.
        """
        edge, tiles = before.edge.grow(leaves)
        after = TileTree(self._files, edge, cache)
        self._files.write(tiles)
        self._check_written(before, tiles, after.root)
        filled = [
            tile
            for tile in tiles
            if tile.is_full and tile.index == full_tiles(tile.level, before.size)
        ]
        return after, filled

    def _check_writable(self) -> None:
        if self._lock is None:
            raise ConflictError(
                f"the ledger in {self.path} is open for reading only",
                advice="Open it with writer=True.",
                path=str(self.path),
            )

    def _check_cosigned(self, cosigned: Checkpoint | None) -> None:
        """Refuse a cosigned checkpoint that is not one of this ledger's own history."""
        if cosigned is None:
            return
        if cosigned.size > self.size:
            raise damaged(
                self._note_path,
                "rolled back",
                f"{self._note_path} is of {self.size} entries, and {self._cosigned.path.name} "
                f"proves that there were {cosigned.size}",
                advice=_COPY_AGAIN,
                expected=cosigned.size,
                got=self.size,
                **self._both_notes(),
            )
        root = self._state[0].root_at(cosigned.size)
        if root != cosigned.root:
            raise damaged(
                self._cosigned.path,
                "split view",
                f"{self._cosigned.path} is of another history: the log signed two roots for "
                f"{cosigned.size} entries",
                expected=root.hex(),
                got=cosigned.root.hex(),
                **self._both_notes(),
            )

    def _check_ahead(self, tree: TileTree) -> None:
        """Refuse a history without the furthest checkpoint of what this copy had and forgot."""
        ahead = self._cosigned.ahead
        if ahead is None or ahead.size > tree.size:
            return
        root = tree.root_at(ahead.size)
        if root != ahead.root:
            raise IntegrityError(
                f"this copy had another history of {ahead.size} entries before it was damaged: the "
                f"log signed two",
                advice="Keep the ledger's directory: with what the feed has it proves that.",
                problem="split view",
                expected=ahead.root.hex(),
                got=root.hex(),
                ours=(self._cosigned.ahead_note or b"").decode(),
            )

    def _forget_ahead(self) -> None:
        """Forget what was set aside once the tiles have it: every append has compared them."""
        ahead = self._cosigned.ahead
        if ahead is not None and ahead.size <= self._laid[0].size:
            self._cosigned.forget_ahead()

    def _both_notes(self) -> dict[str, str]:
        ours, theirs = self.checkpoint_note or b"", self._cosigned.note or b""
        return {"ours": ours.decode(), "theirs": theirs.decode()}

    def _check_appendable(self) -> None:
        """Refuse to go on from anything but the checkpoint that this object knows."""
        self._check_writable()
        if self._in_doubt:
            raise UnavailableError(
                f"the last checkpoint in {self.path} may or may not be on the disk",
                advice="Look at the kernel's log for a failing disk, then restart this process.",
                path=str(self.path),
            )
        tree, known = self._laid
        note = self._read_note()
        if note != known:
            self._check_not_older(note)
            raise damaged(
                self._note_path,
                "altered",
                f"{self._note_path} was changed by somebody else while this process held the lock",
            )
        # The next root is computed from these hashes: memory, too, can flip a bit.
        if tree.edge.root() != tree.root:
            raise damaged(self.path, "memory", "the right edge in memory was altered")

    def _check_not_older(self, note: bytes | None) -> None:
        """Refuse a checkpoint file that is gone, not signed, or older than what was read before."""
        if note is None:
            raise damaged(self._note_path, "missing", f"{self._note_path} was removed")
        size = open_checkpoint(note, self.origin, self._vkey, self._verify).size
        if size < self._laid[0].size:
            raise damaged(
                self._note_path,
                "rolled back",
                f"{self._note_path} was rolled back to size {size}, this ledger was at {self.size}",
                expected=self.size,
                got=size,
            )

    def _check_written(self, before: TileTree, tiles: dict[Tile, bytes], root: bytes) -> None:
        """Compute the tiles and the root again, from the entries that the disk gives back."""
        disk = {tile: self._files.read_back(tile) for tile in tiles}
        for tile, data in tiles.items():
            self._files.check_same(tile, disk[tile], data)
        leaves: list[bytes] = []
        for tile, data in disk.items():
            if tile.level == BUNDLE:
                entries = decode_bundle(data, tile.width)
                before.verify_bundle(tile, entries, disk[Tile(0, tile.index, tile.width)])
                leaves += entries[max(before.size - tile.index * TILE_WIDTH, 0) :]
        again, tiles_again = before.edge.grow(leaves)
        for tile, data in tiles_again.items():
            self._files.check_same(tile, disk[tile], data)
        if again.root() != root:
            raise damaged(
                self.path,
                "altered",
                f"the entries read back hash to {again.root().hex()}, not to {root.hex()}",
            )

    def _sealed(self, tree: TileTree, seal: Seal) -> bytes:
        """Have a tree's checkpoint signed."""
        checkpoint = Checkpoint(self.origin, tree.size, tree.root)
        note = seal(checkpoint)
        self._check_seal(note, checkpoint)
        self._check_ahead(tree)
        return note

    def _check_seal(self, note: bytes, checkpoint: Checkpoint) -> None:
        sealed = open_checkpoint(note, self.origin, self._vkey, self._verify)
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

    def _publish(self, note: bytes) -> None:
        """Put the checkpoint in place: from its rename on, readers rely on the new tree."""
        known = self._laid[1]
        self._in_doubt = True
        try:
            durable.write_file(self._note_path, note)
            if known is None:
                durable.write_file(self._begun_path, b"")
        except UnavailableError:
            self._in_doubt = self._read_note() != known
            raise
        self._in_doubt = False

    def _edge_damaged(self, edge: RightEdge, got: bytes, checkpoint: Checkpoint) -> IntegrityError:
        """Return the error of a right edge that does not hash to its checkpoint's root."""
        names = [
            Tile(level, full_tiles(level, edge.size), len(hashes) // HASH_BYTES).path
            for level, hashes in enumerate(edge.tiles)
            if hashes
        ]
        return damaged(
            self.path,
            "altered",
            f"of {', '.join(names)} in {self.path} one was altered: they hash to {got.hex()}, "
            f"the checkpoint of size {checkpoint.size} says {checkpoint.root.hex()}",
            expected=checkpoint.root.hex(),
            got=got.hex(),
        )


def _check_leaves(leaves: Sequence[bytes]) -> None:
    total = sum(map(len, leaves))
    if not 0 < len(leaves) <= APPEND_LEAVES_MAX or total > APPEND_BYTES_MAX:
        raise InputError(
            f"cannot append {len(leaves)} entries of {total} bytes at once",
            advice=f"Give 1 to {APPEND_LEAVES_MAX} entries of at most {APPEND_BYTES_MAX} bytes.",
            entries=len(leaves),
            size_bytes=total,
        )
