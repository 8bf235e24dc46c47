"""Checkpoints that contradict a node's own history: both are kept, and both are shown.

Two notes that the log signed, and that cannot both be true, prove to everybody that it lied to
somebody. One that is only not shown to extend our history is kept as such until our copy has
grown past it, and says which of both it was: a feed that mixes a true checkpoint with other
entries looks the same. Bounded; what is proven stays, and goes before what is not.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.note import Verify
from enforcer.core.trust import Trust
from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import KeptFiles, LedgerFiles

SPLIT_VIEWS_MAX: Final = 100
FOLDER: Final = "split-views"

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SplitView:
    """Where a pair is kept, and whether it proves that the log signed two histories."""

    file: str
    size: int
    is_proven: bool


class SplitViews:
    """What one node has seen that contradicts its own copy."""

    def __init__(self, trust: Trust, verify: Verify, ledger: LedgerFiles, files: KeptFiles) -> None:
        self._trust = trust
        self._verify = verify
        self._ledger = ledger
        self._files = files
        self.views = tuple(self._known(name) for name in files.names(FOLDER))

    @property
    def proven(self) -> int:
        """How many pairs prove that the log signed two histories."""
        return sum(view.is_proven for view in self.views)

    @property
    def is_unsettled(self) -> bool:
        """Whether there is something to `settle`."""
        size = self._ledger.size
        return any(not view.is_proven and view.size <= size for view in self.views)

    def settle(self) -> None:
        """Judge again what was not proven, now that our copy has as many entries; it blocks."""
        size = self._ledger.size
        for view in self.views:
            if not view.is_proven and view.size <= size:
                try:
                    self._settle(view)
                except EnforcerError as error:
                    _log.error("cannot settle a split view", problem=error.message)

    def look(self, note: bytes) -> None:
        """Compare a checkpoint that was refused with our own; keep both if it is the log's word.

        It blocks. One that the log did not sign is nobody's word, and is left alone.
        """
        try:
            self._look(note)
        except IntegrityError:
            return
        except EnforcerError as error:
            _log.error("cannot keep a split view", problem=error.message)

    def _look(self, note: bytes) -> None:
        ours = self._ledger.checkpoint_note
        key = self._trust.key_of(note)
        theirs = open_checkpoint(note, self._trust.origin, key, self._verify)
        if ours is None:
            return
        is_proven = theirs.size <= self._ledger.size
        if is_proven and self._ledger.root_at(theirs.size) == theirs.root:
            return
        self._keep(theirs, ours, note, is_proven=is_proven)

    def _keep(self, theirs: Checkpoint, ours: bytes, note: bytes, *, is_proven: bool) -> None:
        kind = "proven" if is_proven else "unproven"
        name = f"{FOLDER}/{theirs.size}-{theirs.root.hex()}-{kind}.json"
        if any(view.file == name for view in self.views):
            return
        if len(self.views) >= SPLIT_VIEWS_MAX:
            unproven = next((view for view in self.views if not view.is_proven), None)
            if not is_proven or unproven is None:
                return
            self._drop(unproven)  # else whoever has the feed could fill this with such
        pair = {"is_proven": is_proven, "ours": ours.decode(), "theirs": note.decode()}
        self._files.write(name, json.dumps(pair, ensure_ascii=False, indent=2).encode() + b"\n")
        self.views = (*self.views, self._known(name))
        _log.error("split_view", ledger_size=theirs.size, is_proven=is_proven, file=name)

    def _settle(self, view: SplitView) -> None:
        """Take an unproven pair away; where it was a true one, a proven one takes its place."""
        with suppress(IntegrityError, ValueError, KeyError, TypeError, AttributeError):
            pair = json.loads(self._files.read(view.file) or b"{}")
            self._look(pair["theirs"].encode())
        _log.info("split_view_settled", ledger_size=view.size, proven=self.proven)
        self._drop(view)

    def _drop(self, view: SplitView) -> None:
        self._files.remove(view.file)
        self.views = tuple(each for each in self.views if each is not view)

    @staticmethod
    def _known(name: str) -> SplitView:
        size = name.rpartition("/")[2].partition("-")[0]
        return SplitView(name, int(size) if size.isdigit() else 0, name.endswith("-proven.json"))
