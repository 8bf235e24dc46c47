"""A fold that grows with a ledger on disk, which somebody else may be writing.

Owns the state, the order history, and a Merkle tree of its own over what it folded; begins with
what was kept of it, if the files begin so too. Takes nothing beyond the checkpoint of the files
that it is given, and refuses files that are of another history than what it folded before.
Always true: what it holds is the fold of the first `size` entries of one signed ledger, wherever
the last `advance` stopped; where that did not raise, of all that the checkpoint covers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from enforcer.core.entry import parse
from enforcer.core.envelope import Verify
from enforcer.core.fold import apply
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.trust import Trust
from enforcer.errors import IntegrityError
from enforcer.ports import LedgerFiles
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.order_history import OrderHistory

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in entries."""


class WarmFold:
    """What the first entries of a ledger amount to; one thread at a time uses it."""

    def __init__(self, trust: Trust, verify: Verify, keeper: FoldKeeper | None = None) -> None:
        self.state = trust.genesis(verify)
        self.history = OrderHistory()
        self.keeper = keeper
        """What keeps the fold from one start to the next, if anything does."""
        self._tree = CompactRange()

    @property
    def size(self) -> int:
        """How many entries it has folded."""
        return self.state.size

    def advance(self, files: LedgerFiles, progress: Progress | None = None) -> None:
        """Fold what `files` hold beyond; it blocks.

        Raises:
            IntegrityError: they hold less than was folded (``problem`` is ``rolled back``), or
                another history (``split view``); or an entry cannot be understood, or a file is
                damaged: then what stood before that is folded.
        """
        self._check_goes_on(files)
        size = files.size
        if not self.size:
            self._take_kept(files)
        for leaf in files.entries(self.size, size):
            entry = parse(leaf)
            self.history.note(self.state, entry, apply(self.state, entry))
            self._tree.append(leaf_hash(leaf))
            if progress is not None:
                progress(self.size, size)
        self._check_same(files)

    def _take_kept(self, files: LedgerFiles) -> None:
        found = self.keeper.usable(files, 0) if self.keeper is not None else None
        if found is None:
            return
        fold, tree = found
        if fold.history is not None:
            fold.state.verify = self.state.verify
            self.state, self._tree = fold.state, tree
            self.history = OrderHistory.restored(fold.state, fold.history)

    def _check_goes_on(self, files: LedgerFiles) -> None:
        if files.size < self.size:
            raise IntegrityError(
                f"the ledger on disk has {files.size} entries, and it had {self.size}",
                advice="Somebody put an older copy in its place: find the newer one, and see "
                "`enforcer ledger restore`.",
                problem="rolled back",
                expected=self.size,
                got=files.size,
            )
        self._check_same(files)

    def _check_same(self, files: LedgerFiles) -> None:
        """Refuse files that do not begin with what was folded."""
        if not self.size:
            return
        expected, got = self._tree.root(), files.root_at(self.size)
        if expected != got:
            raise IntegrityError(
                f"the first {self.size} entries on disk are others than they were",
                advice="Keep both copies: together they prove that the log has two histories.",
                problem="split view",
                expected=expected.hex(),
                got=got.hex(),
            )
