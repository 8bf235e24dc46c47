"""What witnesses have cosigned of one ledger, gathered: the newest checkpoint with a quorum.

Takes cosignatures from whoever brings them, and counts those alone that a witness of the trust
file made for a checkpoint of this very history. Always true: what `best` gives has a quorum (or,
where none is asked for, at least one cosignature), is on the disk, and never becomes smaller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.cosignature import CosignerKey, Witnesses, cosigned_at, with_lines
from enforcer.core.note import Note, Verify
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, IntegrityError, RefusedError
from enforcer.ports import LedgerFiles
from enforcer.services.fence import Fence

GATHERED_MAX: Final = 32
"""Checkpoints that are being gathered for, the newest ones: witnesses may be apart by so many."""

LOG_LINES_MAX: Final = 2

_log: Final = structlog.get_logger(__name__)


class Cosigned:
    """The cosignatures of one ledger; use it from one event loop."""

    def __init__(self, files: LedgerFiles, trust: Trust, verify: Verify) -> None:
        self._files = files
        self._trust = trust
        self._witnesses = trust.witnesses
        self._verify = verify
        self._gathered: dict[int, Note] = {}
        """Size -> the log's own line, and those of named witnesses that hold."""
        self.fence = Fence(trust.witnesses)
        """Whether they have left this ledger for another."""
        self._turn = asyncio.Lock()
        self.news = asyncio.Event()
        """Set whenever `best` becomes another."""
        self._tell: list[Callable[[], None]] = []

    def on_best(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when `best` has become another; it must not wait."""
        self._tell.append(tell)

    @property
    def witnesses(self) -> Witnesses:
        """Whose cosignatures count."""
        return self._witnesses

    @property
    def best(self) -> bytes | None:
        """The newest checkpoint that is witnessed, with all that is known to have cosigned it."""
        return self._files.cosigned_note

    def is_witnessed(self, size: int) -> bool:
        """Tell whether the checkpoint of this size has a quorum."""
        note = self._gathered.get(size)
        return note is not None and self._count(note) >= max(self._witnesses.quorum, 1)

    def cosigners(self, size: int) -> frozenset[CosignerKey]:
        """Return the witnesses that have cosigned the checkpoint of this size."""
        note = self._gathered.get(size)
        if note is None:
            return frozenset()
        return frozenset(self._witnesses.cosigned(note, self._verify))

    async def add(self, data: bytes) -> Checkpoint:
        """Take the cosignatures that stand in a note; again is no error.

        Raises:
            IntegrityError: the log did not sign it, a named witness's line does not hold, or the
                history is another (``problem`` is ``split view``).
            ConflictError: it covers more than this ledger holds.
            RefusedError: no line in it is of a witness that the trust file names.
            UnavailableError: it could not be kept.
        """
        async with self._turn:
            checkpoint, note, cosigners = await asyncio.to_thread(self._open, data)
            try:
                await asyncio.to_thread(self._check, checkpoint, note)
            except (ConflictError, IntegrityError):
                self.fence.is_elsewhere(cosigners)
                raise
            if not cosigners:
                raise RefusedError(
                    "no witness that the trust file names has cosigned this",
                    advice="Have the roots name the witness in trust.toml, under [witnesses].",
                    field="checkpoint",
                )
            self.fence.is_here(cosigners, checkpoint.size)
            known = self._gathered.get(checkpoint.size)
            merged = with_lines(known, note.signatures) if known is not None else note
            self._gathered[checkpoint.size] = merged
            for old in sorted(self._gathered)[:-GATHERED_MAX]:
                del self._gathered[old]
            if self._is_better(checkpoint.size, merged):
                await asyncio.to_thread(self._files.keep_cosigned, merged.format())
                self.news.set()
                for tell in self._tell:
                    tell()
            return checkpoint

    def doubt(self, key: CosignerKey, size: int) -> None:
        """Hear an answer in a witness's name, for so many entries, that nobody signed.

        What it has cosigned of them says more than any answer in its name.
        """
        if key in self.cosigners(size):
            return
        self.fence.says_elsewhere(key, *max((size, -1), self._kept_by(key)))

    async def hear(self, data: bytes) -> None:
        """Hear what a witness showed that did not cosign; only what is against this ledger counts.

        What it cosigned earlier is nothing new, and may have been kept back to be shown now.

        Raises:
            IntegrityError: the log did not sign it, or a named witness's line does not hold.
        """
        checkpoint, note, cosigners = await asyncio.to_thread(self._open, data)
        try:
            await asyncio.to_thread(self._check, checkpoint, note)
        except (ConflictError, IntegrityError):
            self.fence.is_elsewhere(cosigners)

    def _open(self, data: bytes) -> tuple[Checkpoint, Note, dict[CosignerKey, int]]:
        """Return the checkpoint, the note with those lines alone that count, whose, and when."""
        key = self._trust.key_of(data)
        checkpoint = open_checkpoint(data, self._trust.origin, key, self._verify)
        note = Note.parse(data)
        cosigners = self._witnesses.cosigned(note, self._verify)
        # While the log changes its key it signs with both, and readers may ask for either.
        own = [line for line in note.signatures if line.name == key.name]
        own.sort(key=lambda line: not line.is_of(key))
        lines = [line for line in note.signatures if any(map(line.is_of, cosigners))]
        return checkpoint, with_lines(Note(note.text, ()), own[:LOG_LINES_MAX] + lines), cosigners

    def _check(self, checkpoint: Checkpoint, note: Note) -> None:
        """Refuse a checkpoint of another history than this ledger's."""
        if checkpoint.size > self._files.size:
            raise ConflictError(
                f"the checkpoint covers {checkpoint.size} entries, and this ledger has "
                f"{self._files.size}",
                advice="Look where the others are: this ledger was rolled back, or it is another.",
                size=self._files.size,
            )
        root = self._files.root_at(checkpoint.size)
        if root != checkpoint.root:
            _log.error("split_view", ledger_size=checkpoint.size, note=note.format().decode())
            raise IntegrityError(
                f"the log signed two histories of {checkpoint.size} entries",
                advice="Keep both checkpoints: together they prove it.",
                problem="split view",
                expected=root.hex(),
                got=checkpoint.root.hex(),
            )

    def _kept_by(self, key: CosignerKey) -> tuple[int, int]:
        """Return the size of the best that a witness cosigned, and when; (0, -1): it did not.

        It may be of an earlier process; whoever shows it again says nothing new.
        """
        if self.best is None:
            return 0, -1
        note = Note.parse(self.best)
        with suppress(IntegrityError):
            at_seconds = cosigned_at(note, key, self._verify)
            if at_seconds is not None:
                return Checkpoint.parse(note.text).size, at_seconds
        return 0, -1

    def _is_better(self, size: int, note: Note) -> bool:
        """Tell whether a note that was gathered is to take the place of the best one."""
        if self._count(note) < max(self._witnesses.quorum, 1):
            return False
        best = self._files.cosigned_note
        if best is None:
            return True
        former = Note.parse(best)
        former_size = Checkpoint.parse(former.text).size
        if former_size != size:
            return size > former_size
        return self._count(note) > self._count(former)

    def _count(self, note: Note) -> int:
        return len(self._witnesses.cosigned(note, self._verify))
