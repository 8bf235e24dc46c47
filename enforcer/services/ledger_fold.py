"""Keeping the fold of the ledger that a control plane serves, so that the next start is short.

Owns when that is done: beside the serving, in threads, at most once every few seconds. The next
start is a restart of this process, a standby's that takes over, or that of a standby which begins
to wait. Always true: what is offered is the fold of entries that were answered, under the root
that was signed for them; nobody changes it any more.
"""

from __future__ import annotations

import asyncio
from typing import Final

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.note import Note
from enforcer.ports import KeptFold
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.ledger import Ledger

LOOK_SECONDS: Final = 5.0


async def keep_fold(ledger: Ledger, keeper: FoldKeeper) -> None:
    """Keep the fold whenever enough has come; it never returns.

    Cancelled while the disk is at work, it ends with that: the next to serve writes the same file.
    """
    while True:
        fold = _fold(ledger) if keeper.is_due(ledger.state.size, is_at_rest=True) else None
        if fold is not None:
            keeper.offer(fold)
            writing = asyncio.ensure_future(asyncio.to_thread(keeper.write))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing
                raise
        await asyncio.sleep(LOOK_SECONDS)


def _fold(ledger: Ledger) -> KeptFold | None:
    """Return the fold as it is now; None: the files are ahead of it, for a moment."""
    note = ledger.files.checkpoint_note
    checkpoint = Checkpoint.parse(Note.parse(note).text) if note is not None else None
    if checkpoint is None or checkpoint.size != ledger.state.size:
        return None
    return KeptFold(checkpoint.root, ledger.state.copy(), (), 0, (), ledger.history.kept())
