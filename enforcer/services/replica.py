"""A node's own copy of the ledger: what the feed offers is proven here, or changes nothing.

An update is taken when its checkpoint is signed by the log's key, goes on exactly where this
copy ends, and its entries hash to the checkpoint's root; when all of them can be understood,
and their times do not run backwards. Then it is made durable, and then folded. Refused: a
ledger that was rolled back, another history of the same size, a gap, an unknown kind. It does
no I/O but through the ledger's port, and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.entry import Entry, parse
from enforcer.core.envelope import Verify
from enforcer.core.fold import Effect
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.state import State
from enforcer.core.trust import Trust
from enforcer.errors import Datum, IntegrityError
from enforcer.ports import FeedUpdate, KeptFold, LedgerFiles
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.witnessed import Change, Witnessed

AHEAD_MS_MAX: Final = 120_000
"""Entries recorded further ahead of a node's own clock wait until it has caught up."""
INEFFECTIVE_MAX: Final = 100
"""So many entries without effect are remembered by index, the first ones."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An update that goes on from the copy as it was at ``first_index`` entries.

    One that is not whole is only known to be well-formed: the update that completes it proves it.
    """

    first_index: int
    leaves: tuple[bytes, ...]
    entries: tuple[Entry, ...]
    checkpoint: Checkpoint
    note: bytes
    tree: CompactRange
    """Over all entries, these included."""

    @property
    def is_whole(self) -> bool:
        """Whether the checkpoint covers these and no more, so that its root was checked."""
        return self.checkpoint.size == self.tree.size

    @property
    def recorded_at_ms(self) -> int:
        """The time of the last entry, which is the latest."""
        return self.entries[-1].recorded_at_ms


@dataclass(frozen=True, slots=True)
class Taken:
    """What `append` made durable, to go on from."""

    state: State
    tree: CompactRange
    refused: tuple[Effect, ...]
    """What entries had no effect; all of these, since the copy's last checkpoint."""
    changes: tuple[Change, ...]
    """What witnesses have not seen of what they changed."""
    is_whole: bool


class Replica:
    """The copy and its fold; ``state`` is only read by others, and only between calls."""

    def __init__(
        self, trust: Trust, verify: Verify, ledger: LedgerFiles, keeper: FoldKeeper | None = None
    ) -> None:
        """Take the copy as it is on disk, and what was kept of its fold.

        Nothing is read before `restore`.
        """
        self.state: State = trust.genesis(verify)
        self.witnessed = Witnessed(trust, verify, ledger)
        """How much of the copy witnesses have seen."""
        self.ineffective: tuple[int, ...] = ()
        """Entries that broke a rule and had no effect, the first of them."""
        self._trust = trust
        self._key = VerifierKey.parse(trust.log_vkey)
        self._verify = verify
        self._ledger = ledger
        self._tree = CompactRange()
        self._ahead: Taken | None = None
        self.keeper = keeper
        """What keeps the fold from one start to the next, if anything does."""

    @property
    def next_index(self) -> int:
        """The entry to ask the feed for: after what was taken, whole or not."""
        return self._ahead.state.size if self._ahead is not None else self.size

    @property
    def size(self) -> int:
        """How many entries were proven and folded."""
        return self.state.size

    @property
    def root(self) -> bytes:
        """The Merkle root over them."""
        return self._tree.root()

    def leaf(self, index: int) -> bytes:
        """Return an entry's bytes; it blocks.

        Raises:
            UnavailableError, IntegrityError: the copy cannot be read.
        """
        (leaf,) = self._ledger.entries(index, index + 1)
        return leaf

    @property
    def note(self) -> bytes | None:
        """The log's signed word on the copy as it is on disk."""
        return self._ledger.checkpoint_note

    def restore(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Prove the copy on disk, all of it, and fold what was not kept as folded; it blocks.

        Raises:
            IntegrityError: the copy is damaged, or holds what this version cannot understand.
        """
        size = self._ledger.size
        self.witnessed.restore()
        changes = self._take_kept()
        for leaf in self._ledger.entries(self.size, size):
            effect, change = self.witnessed.fold(self.state, parse(leaf))
            self._remember((effect,))
            if change is not None:
                changes.append(change)
            self._tree.append(leaf_hash(leaf))
            if progress is not None:
                progress(self.state.size, size)
        self.witnessed.note(changes)
        if self.root != self._ledger.root:
            raise _refused(
                "our own copy of the ledger does not hash to its checkpoint's root",
                "damaged",
                expected=self._ledger.root.hex(),
                got=self.root.hex(),
            )

    def keep(self, *, is_at_rest: bool) -> None:
        """Have the fold kept for the next start, if enough has come since it last was."""
        if self.keeper is not None and self.keeper.is_due(self.size, is_at_rest=is_at_rest):
            changes = tuple(
                (each.index, each.order_index, each.former_until_ms)
                for each in self.witnessed.changes
            )
            # From now on this state is never changed: appending goes on from a copy.
            seen = self.witnessed.size
            self.keeper.offer(KeptFold(self.root, self.state, self.ineffective, seen, changes))

    def _take_kept(self) -> list[Change]:
        """Go on from the kept fold if there is one; return what witnesses have not seen of it."""
        seen = self.witnessed.size
        found = self.keeper.usable(self._ledger, seen) if self.keeper is not None else None
        if found is None:
            return []
        fold, self._tree = found
        self.state, self.ineffective = fold.state, fold.ineffective
        self.state.verify = self._verify
        return [Change(*each) for each in fold.changes]

    def prove(self, update: FeedUpdate) -> Proven:
        """Check an update without changing anything.

        Raises:
            IntegrityError: ``data["problem"]`` is ``gap``, ``other count``, ``rolled back``,
                ``another tree``, ``unknown entry``, ``time backwards``, or what
                :func:`open_checkpoint` raises.
        """
        checkpoint = self._open(update.checkpoint_note)
        first = self.next_index
        if update.first_index != first or not update.leaves:
            raise _refused(
                f"the feed gave {len(update.leaves)} entries from {update.first_index} on, and we "
                f"have {first}",
                "gap",
                index=update.first_index,
            )
        if checkpoint.size < first + len(update.leaves):
            raise _refused(
                f"{len(update.leaves)} entries after {first} came with a checkpoint of "
                f"{checkpoint.size}",
                "other count",
                expected=checkpoint.size,
            )
        tree = (self._ahead.tree if self._ahead is not None else self._tree).copy()
        for leaf in update.leaves:
            tree.append(leaf_hash(leaf))
        if tree.size == checkpoint.size and tree.root() != checkpoint.root:
            raise _refused(
                f"the entries after {self.size} do not hash to the root that was signed",
                "another tree",
                expected=checkpoint.root.hex(),
                got=tree.root().hex(),
            )
        entries = self._understand(update.leaves)
        return Proven(first, update.leaves, entries, checkpoint, update.checkpoint_note, tree)

    def prove_head(self, note: bytes) -> Checkpoint:
        """Check a head that brings nothing new against our history.

        Raises:
            IntegrityError: ``problem`` is ``rolled back`` or ``split view``, or what
                :func:`open_checkpoint` raises.
        """
        checkpoint = self._open(note)
        if checkpoint.size == self.size and checkpoint.root != self.root:
            raise _refused(
                f"the log signed two histories of {self.size} entries",
                "split view",
                expected=self.root.hex(),
                got=checkpoint.root.hex(),
            )
        return checkpoint

    def append(self, proven: Proven) -> Taken:
        """Fold proven entries aside and make them durable; it blocks, and may run in a thread.

        Nothing that others see has changed before `accept`.

        Raises:
            UnavailableError: the disk did not take them.
            IntegrityError: a policy needs a newer fold, or the copy on disk is damaged.
        """
        if proven.first_index != self.next_index:
            raise ValueError("the update was proven against another size")
        ahead = self._ahead
        # Nobody else has the state ahead: it may grow where it is.
        state = ahead.state if ahead is not None else self.state.copy()
        folded = [self.witnessed.fold(state, entry) for entry in proven.entries]
        refused = tuple(effect for effect, _ in folded if not effect.is_effective)
        changes = tuple(change for _, change in folded if change is not None)
        if proven.is_whole:
            self._ledger.append(proven.leaves, lambda _checkpoint: proven.note)
        else:
            self._ledger.stage(proven.leaves)
        if ahead is not None:
            refused, changes = ahead.refused + refused, ahead.changes + changes
        return Taken(state, proven.tree, refused, changes, proven.is_whole)

    def accept(self, taken: Taken) -> None:
        """Go on from what `append` gave; others see it when it is whole."""
        self._ahead = None if taken.is_whole else taken
        if taken.is_whole:
            self.state = taken.state
            self._tree = taken.tree
            self.witnessed.note(taken.changes)
            self._remember(taken.refused)

    def give_up(self) -> None:
        """Forget what was taken since the last checkpoint, after the feed failed to complete it."""
        self._ahead = None
        self._ledger.unstage()

    def _open(self, note: bytes) -> Checkpoint:
        rotated = self.state.log_vkey
        key = self._key if rotated is None else VerifierKey.parse(rotated)
        checkpoint = open_checkpoint(note, self._trust.origin, key, self._verify)
        if checkpoint.size < self.size:
            raise _refused(
                f"the ledger was rolled back: the feed shows {checkpoint.size} entries, and we "
                f"have {self.size}",
                "rolled back",
                expected=self.size,
                got=checkpoint.size,
            )
        return checkpoint

    def _understand(self, leaves: Sequence[bytes]) -> tuple[Entry, ...]:
        """Read all entries, whose times must not run backwards."""
        entries = []
        state = self._ahead.state if self._ahead is not None else self.state
        latest_ms = state.recorded_at_ms
        for index, leaf in enumerate(leaves, state.size):
            try:
                entry = parse(leaf)
            except IntegrityError as error:
                raise _refused(
                    f"entry {index}: {error.message}", "unknown entry", index=index
                ) from error
            if entry.recorded_at_ms < latest_ms:
                raise _refused(
                    f"entry {index} is recorded {latest_ms - entry.recorded_at_ms} ms before the "
                    "entry in front of it",
                    "time backwards",
                    index=index,
                )
            latest_ms = entry.recorded_at_ms
            entries.append(entry)
        return tuple(entries)

    def _remember(self, effects: Sequence[Effect]) -> None:
        ineffective = [effect.index for effect in effects if not effect.is_effective]
        self.ineffective = (*self.ineffective, *ineffective)[:INEFFECTIVE_MAX]


def _refused(what: str, problem: str, **data: Datum) -> IntegrityError:
    return IntegrityError(
        what,
        advice="Nothing was taken; ask the ledger's operator, and keep what the feed shows.",
        problem=problem,
        **data,
    )
