"""How much of a node's own copy a quorum of witnesses has seen: new blocks wait for that.

Owns the newest checkpoint with a quorum, proven against the copy and kept beside it, and, for each
order that later entries changed, until when the witnessed entries alone would block it. What
lifts a block is not looked at here, so it never waits. With a quorum of 0 everything counts as
seen. Always true: it never goes back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.entry import Entry, parse_payload
from enforcer.core.envelope import Verify
from enforcer.core.fold import Effect, apply
from enforcer.core.note import Note
from enforcer.core.order import OrderRef
from enforcer.core.state import State
from enforcer.core.trust import Trust
from enforcer.errors import InputError, IntegrityError
from enforcer.ports import LedgerFiles

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What one entry did to an order: until when the entries before it would have blocked it."""

    index: int
    order_index: int
    former_until_ms: int
    """0: not at all."""


class Witnessed:
    """The witnessed part of one copy; changes are noted as entries are folded."""

    def __init__(self, trust: Trust, verify: Verify, ledger: LedgerFiles) -> None:
        self._witnesses = trust.witnesses
        self._trust = trust
        self._verify = verify
        self._ledger = ledger
        self._changes: list[Change] = []  # ascending by index, none below `size`
        self.size = 0
        """Entries that a quorum has seen."""
        self.until_ms: Mapping[int, int] = {}
        """Orders that the rest changed -> until when the witnessed entries alone block them."""

    @property
    def quorum(self) -> int:
        """How many witnesses it takes; 0: none."""
        return self._witnesses.quorum

    @property
    def is_behind(self) -> bool:
        """Whether witnesses have yet to see some of the copy."""
        return bool(self.quorum) and self.size < self._ledger.size

    def restore(self) -> None:
        """Go on from the cosigned checkpoint that was kept; call it before anything is folded.

        One that this trust's witnesses did not sign counts for nothing: others may be named now.
        """
        note = self._ledger.cosigned_note if self.quorum else None
        if note is None:
            return
        try:
            parsed = Note.parse(note)
            if self._witnesses.has_quorum(parsed, self._verify):
                self.size = Checkpoint.parse(parsed.text).size
        except IntegrityError as error:
            _log.error("the cosigned checkpoint that was kept", problem=error.message)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What witnesses have not seen of what entries changed, ascending."""
        return tuple(self._changes)

    def fold(self, state: State, entry: Entry) -> tuple[Effect, Change | None]:
        """Fold an entry in, and say what it changed that witnesses have not seen."""
        if not self.quorum or state.size < self.size:
            return apply(state, entry), None
        order = state.orders.get(_order_index(entry))
        row = order.row if order is not None else None
        effect = apply(state, entry)
        if effect.order_index is None or not effect.is_effective:
            return effect, None
        former_ms = row.until_ms if row is not None else 0
        return effect, Change(effect.index, effect.order_index, former_ms)

    def note(self, changes: Sequence[Change]) -> None:
        """Remember what the newest entries changed."""
        self._changes += [change for change in changes if change.index >= self.size]
        self._recompute()

    def prove(self, note: bytes) -> Checkpoint | None:
        """Return what a cosigned checkpoint says, if it has a quorum and tells something new.

        It blocks, and changes nothing. One that covers more than the copy has must come again.

        Raises:
            IntegrityError: the log did not sign it, a witness's line in it does not hold, or it is
                of another history (``problem`` is ``split view``).
        """
        key = self._trust.key_of(note)
        checkpoint = open_checkpoint(note, self._trust.origin, key, self._verify)
        if not self.size < checkpoint.size <= self._ledger.size:
            return None
        if not self._witnesses.has_quorum(Note.parse(note), self._verify):
            return None
        root = self._ledger.root_at(checkpoint.size)
        if root != checkpoint.root:
            raise IntegrityError(
                f"witnesses have seen another history of {checkpoint.size} entries than this node",
                advice="Keep both checkpoints, and ask the ledger's operator and the witnesses.",
                problem="split view",
                expected=root.hex(),
                got=checkpoint.root.hex(),
            )
        return checkpoint

    def accept(self, checkpoint: Checkpoint) -> None:
        """Count all that a proven checkpoint covers as seen."""
        self.size = max(self.size, checkpoint.size)
        at = bisect_left(self._changes, self.size, key=lambda change: change.index)
        self._changes = self._changes[at:]
        self._recompute()

    def keep(self, note: bytes) -> None:
        """Have a proven checkpoint on the disk, for the next start; it blocks.

        Raises:
            UnavailableError: the disk did not take it.
        """
        self._ledger.keep_cosigned(note)

    def _recompute(self) -> None:
        # Of each order the first change: before it stands what witnesses have seen.
        self.until_ms = {
            change.order_index: change.former_until_ms for change in reversed(self._changes)
        }


def _order_index(entry: Entry) -> int:
    """Return the order that an act names, or -1."""
    try:
        reference = getattr(parse_payload(entry.envelope), "order", None)
    except InputError:
        return -1
    return reference.entry_index if isinstance(reference, OrderRef) else -1
