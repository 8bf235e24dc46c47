"""The keys that sign checkpoints: one, or two while the roots put one in the other's place.

While both sign, readers with the former trust file and with the new one believe the same
checkpoints; who has folded the roots' LogKeyRotated asks for the new key's line. Refuses to
start without the key that the trust file names, and without the one that the roots named last.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from enforcer.backends.keys import PrivateKey
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import with_lines
from enforcer.core.note import Note, VerifierKey
from enforcer.core.state import State
from enforcer.core.trust import Trust
from enforcer.errors import InputError


class LogKeys:
    """Signs checkpoints with each of a log's keys."""

    def __init__(self, trust: Trust, files: Sequence[Path]) -> None:
        """Read the keys; one of them must be that of the trust file.

        Raises:
            InputError: it is not among them, or a file has no key.
            NotFoundError, UnavailableError: a file cannot be read.
        """
        keys = [PrivateKey.load(path) for path in files]
        self._keys = {VerifierKey(trust.origin, key.public_key): key for key in keys}
        self.vkeys = frozenset(vkey.text for vkey in self._keys)
        """The public halves, as they stand in trust files and in LogKeyRotated."""
        if trust.log_vkey not in self.vkeys:
            raise InputError(
                f"the key in {', '.join(map(str, files))} is not the log key that the trust file "
                "names",
                advice="Name the key whose public half is log_vkey: nobody believes another.",
                path=str(files[0]),
            )

    def __call__(self, checkpoint: Checkpoint) -> bytes:
        """Return the signed note of a checkpoint."""
        notes = [
            Note.parse(sign_checkpoint(checkpoint, vkey, key.sign))
            for vkey, key in self._keys.items()
        ]
        return with_lines(
            notes[0], [line for note in notes[1:] for line in note.signatures]
        ).format()

    def check(self, state: State) -> None:
        """Refuse to serve a ledger whose roots have named another key than these.

        Raises:
            InputError: they have.
        """
        if state.log_vkey is not None and state.log_vkey not in self.vkeys:
            raise InputError(
                f"entry {state.log_key_index} put another log key in force, {state.log_vkey}",
                advice="Name its file as log_key_file or second_log_key_file.",
                index=state.log_key_index,
            )
