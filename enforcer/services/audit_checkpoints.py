"""What others kept of a ledger's checkpoints, and what witnesses cosigned, against its history.

A checkpoint that the log signed and that this history does not contain is a fork, or a rollback;
the finding has both signed notes, which prove it to anybody. Nothing is believed but the trust.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.envelope import Verify
from enforcer.core.note import Note
from enforcer.core.trust import Trust
from enforcer.errors import IntegrityError
from enforcer.services.findings import Code, Finding

COSIGNED_PLACE = "cosigned"

Kept: TypeAlias = tuple[Checkpoint, bytes]


class CheckpointAudit:
    """The checkpoints of one audit; call `begin`, `check` at each size, and `finish`."""

    def __init__(
        self,
        trust: Trust,
        verify: Verify,
        *,
        own: bytes | None,
        cosigned: bytes | None,
        earlier: Sequence[bytes],
    ) -> None:
        """Take the ledger's own signed note, the cosigned one beside it, and those kept before."""
        self._trust = trust
        self._witnesses = trust.witnesses
        self._verify = verify
        self._own = own or b""
        self._cosigned = cosigned
        self._earlier = earlier
        self._kept: dict[int, list[Kept]] = {}
        self.quorum = trust.witnesses.quorum
        self.witnessed_size = 0
        """Entries under the cosigned checkpoint, if that has a quorum and is of this history."""

    def begin(self) -> Iterator[Finding]:
        """Read all notes; yield what is wrong with them."""
        for note in self._earlier:
            try:
                self._keep(note)
            except IntegrityError as error:
                yield Finding(Code.LEDGER_DAMAGED, f"an earlier checkpoint: {error.message}")
        if self._cosigned is None:
            return
        try:
            checkpoint = self._keep(self._cosigned)
            if self.quorum and self._witnesses.has_quorum(Note.parse(self._cosigned), self._verify):
                self.witnessed_size = checkpoint.size
        except IntegrityError as error:
            yield Finding(Code.LEDGER_DAMAGED, error.message, place=COSIGNED_PLACE)

    def check(self, size: int, root: bytes) -> Iterator[Finding]:
        """Compare what was signed for `size` entries with the root that they have here."""
        for checkpoint, note in self._kept.pop(size, ()):
            if checkpoint.root != root:
                if note == self._cosigned:
                    self.witnessed_size = 0
                yield Finding(
                    Code.FORKED,
                    f"an earlier checkpoint of size {size} has root {checkpoint.root.hex()}, "
                    f"this ledger had {root.hex()}: the log signed two histories",
                    size - 1,
                    notes=self._both(note),
                )

    def finish(self, size: int) -> Iterator[Finding]:
        """Yield what is left: checkpoints of more entries than there are, and what none covers."""
        for said, kept in sorted(self._kept.items()):
            for _, note in kept:
                yield Finding(
                    Code.ROLLED_BACK,
                    f"an earlier checkpoint counts {said} entries, this ledger has {size}",
                    notes=self._both(note),
                )
        if not self.quorum:
            return
        if not self.witnessed_size:
            yield Finding(
                Code.NOT_WITNESSED,
                f"no checkpoint beside the ledger has the cosignatures of {self.quorum} of the "
                "trust file's witnesses: that there is only one history is the log's word alone",
            )
        elif self.witnessed_size < size:
            yield Finding(
                Code.WITNESSES_BEHIND,
                f"witnesses have seen {self.witnessed_size} of {size} entries",
                self.witnessed_size,
            )

    def _keep(self, note: bytes) -> Checkpoint:
        key = self._trust.key_of(note)
        checkpoint = open_checkpoint(note, self._trust.origin, key, self._verify)
        if checkpoint.size:
            self._kept.setdefault(checkpoint.size, []).append((checkpoint, note))
        return checkpoint

    def _both(self, note: bytes) -> tuple[str, ...]:
        return note.decode(), self._own.decode()
