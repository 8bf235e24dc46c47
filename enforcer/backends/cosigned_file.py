"""A ledger's newest checkpoint that has cosignatures, in the file `cosigned` beside `checkpoint`.

It lags behind the checkpoint, because witnesses are asked after an append and nothing waits for
them. Always true: what is read or written here was signed by the log's key; whose the
cosignatures are, and whether they hold, is for whoever believes in those witnesses to check.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.note import NOTE_BYTES_MAX, VerifierKey, Verify
from enforcer.errors import IntegrityError, NotFoundError

COSIGNED_FILE: Final = "cosigned"


class CosignedFile:
    """The file of one ledger; one writer."""

    def __init__(self, directory: Path, origin: str, vkey: VerifierKey, verify: Verify) -> None:
        """Read it, if it is there.

        Raises:
            IntegrityError: it is no checkpoint that the log signed.
            UnavailableError: it cannot be read.
        """
        self.path = directory / COSIGNED_FILE
        self._origin = origin
        self._vkey = vkey
        self._verify = verify
        self.note: bytes | None = None
        try:
            note = durable.read_file(self.path, size_bytes_max=NOTE_BYTES_MAX)
            self._open(note)
        except NotFoundError:
            return
        except IntegrityError as error:
            if error.data.get("problem") != "other key":
                raise
            return  # from before the log's key was changed: there will be a newer one
        self.note = note

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What the note says."""
        return self._open(self.note) if self.note is not None else None

    def read(self, note: bytes) -> Checkpoint:
        """Return what a note that is to be kept says.

        Raises:
            IntegrityError: the log did not sign it.
        """
        return self._open(note)

    def keep(self, note: bytes) -> None:
        """Put the note in the place of what was there; it is durable when this returns.

        Raises:
            UnavailableError: the disk did not take it.
        """
        durable.write_file(self.path, note)
        self.note = note

    def _open(self, note: bytes) -> Checkpoint:
        return open_checkpoint(note, self._origin, self._vkey, self._verify)
