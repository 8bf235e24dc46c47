"""What a node or an auditor believes before it has read anything: the trust file's content."""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.core.cosignature import NOBODY, Witnesses
from enforcer.core.envelope import Verify
from enforcer.core.note import Note, VerifierKey
from enforcer.core.state import Roots, State


@dataclass(frozen=True, slots=True)
class Trust:
    """One ledger's name and log key, its root keys, and who must witness it."""

    origin: str
    log_vkey: str
    """The log's key as a C2SP signed-note verifier key, ``name+hash+base64``."""
    roots: Roots
    witnesses: Witnesses = NOBODY
    """A quorum of 0 only where nobody witnesses yet; shown as UNWITNESSED."""

    former_log_vkeys: tuple[str, ...] = ()
    """Keys that the log had before: for receipts and checkpoints that were kept from then."""

    def key_of(self, note: bytes) -> VerifierKey:
        """Return the log's key by which a note claims to be signed; by default the present one.

        For notes that were kept from before a rotation; whether it did sign is still to be seen.

        Raises:
            IntegrityError: it is no signed note.
        """
        lines = Note.parse(note).signatures
        keys = list(map(VerifierKey.parse, (self.log_vkey, *self.former_log_vkeys)))
        return next((key for key in keys if any(line.is_of(key) for line in lines)), keys[0])

    def genesis(self, verify: Verify) -> State:
        """Return the state before the first entry."""
        return State(self.origin, self.roots, verify)
