"""What a program keeps of its fold, so that a restart folds only what came since.

Owns when that is written: often enough that little is folded twice, and so rarely that all that is
written is a few times what is there at last. Refuses what is not of this very copy: the copy is
hashed to see that. Nothing waits for the disk but the next writing.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.errors import EnforcerError
from enforcer.ports import FoldStore, KeptFold, LedgerFiles

COMING_MIN: Final = 4_096
"""Entries after which the fold is written while more are coming, or a quarter if that is more."""
AT_REST_MIN: Final = 256
"""When no more are coming; or one part in 64."""

_log: Final = structlog.get_logger(__name__)


class FoldKeeper:
    """One program's kept fold; use it from one event loop, but for `usable`."""

    def __init__(self, store: FoldStore) -> None:
        self._store = store
        self._kept_size = 0
        self._next: KeptFold | None = None
        self._offered = asyncio.Event()

    def usable(
        self, ledger: LedgerFiles, witnessed_size: int
    ) -> tuple[KeptFold, CompactRange] | None:
        """Return what was kept and the tree over its entries, if they are those of this copy.

        It blocks. Changes that fewer witnesses had seen than are known of now are not in it.
        """
        fold = self._store.load()
        if fold is None or not 0 < fold.state.size <= ledger.size:
            return None
        if fold.witnessed_size > witnessed_size:
            return None
        tree = CompactRange()
        for leaf in ledger.entries(0, fold.state.size):
            tree.append(leaf_hash(leaf))
        if tree.root() != fold.root:
            _log.warning("reads the whole ledger: what was kept is of another history")
            return None
        self._kept_size = fold.state.size
        _log.info("goes on from the kept fold", entries=fold.state.size, of=ledger.size)
        return fold, tree

    def is_due(self, size: int, *, is_at_rest: bool) -> bool:
        """Tell whether the fold of so many entries is worth writing."""
        least = max(AT_REST_MIN, size // 64) if is_at_rest else max(COMING_MIN, size // 4)
        return size - self._kept_size >= least

    def offer(self, fold: KeptFold) -> None:
        """Have a fold written that nobody changes any more; the newest counts."""
        self._kept_size = fold.state.size
        self._next = fold
        self._offered.set()

    async def run(self) -> None:
        """Write what is offered; it never returns."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            await asyncio.to_thread(self.write)

    def write(self) -> None:
        """Write what was offered last, if it is not written; it blocks."""
        fold, self._next = self._next, None
        if fold is None:
            return
        try:
            self._store.keep(fold)
        except EnforcerError as error:
            # What is due again is counted from here: the disk is not asked at each entry.
            _log.warning("a restart folds again", problem=error.message, advice=error.advice)
