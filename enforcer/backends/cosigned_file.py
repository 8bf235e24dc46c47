"""A ledger's newest checkpoint that has cosignatures, in the file `cosigned` beside `checkpoint`.

It lags behind the checkpoint, because witnesses are asked after an append and nothing waits for
them. Always true: what is read or written here was signed by the log's key; whose the
cosignatures are, and whether they hold, is for whoever believes in those witnesses to check. One
that is ahead of what is left of a copy can be set aside; it still says which history this is.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.note import NOTE_BYTES_MAX, VerifierKey, Verify
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError

COSIGNED_FILE: Final = "cosigned"
AHEAD_FILE: Final = "cosigned.ahead"


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
        self._ahead_path = directory / AHEAD_FILE
        self.note = self._read_file(self.path)
        self.ahead_note: bytes | None = None

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

    @property
    def ahead(self) -> Checkpoint | None:
        """What was set aside says: no history without it is this ledger's."""
        return self._open(self.ahead_note) if self.ahead_note is not None else None

    def read_ahead(self) -> None:
        """Read what was set aside, if anything was; what is no checkpoint says nothing."""
        with suppress(IntegrityError):
            self.ahead_note = self._read_file(self._ahead_path)

    def keep_ahead(self, note: bytes) -> None:
        """Keep what the log signed for a ledger that has yet to come there; the longest counts.

        It counts for this object also where the disk does not take it.

        Raises:
            IntegrityError: the log did not sign it.
        """
        if self._is_further(note):
            self.ahead_note = note
            with suppress(UnavailableError):
                durable.write_file(self._ahead_path, note)

    def set_aside(self) -> None:
        """Move the note to what the ledger has yet to come to; needs no space on the disk."""
        note, self.note = self.note, None
        with suppress(OSError):
            if note is not None and self._is_further(note):
                self.ahead_note = note
                self.path.replace(self._ahead_path)
            else:
                self.path.unlink(missing_ok=True)

    def forget_ahead(self) -> None:
        """Forget what was set aside: the ledger has it."""
        self.ahead_note = None
        durable.remove_quietly(self._ahead_path)

    def _is_further(self, note: bytes) -> bool:
        ahead = self.ahead
        return ahead is None or ahead.size < self._open(note).size

    def _read_file(self, path: Path) -> bytes | None:
        try:
            note = durable.read_file(path, size_bytes_max=NOTE_BYTES_MAX)
            self._open(note)
        except NotFoundError:
            return None
        except IntegrityError as error:
            if error.data.get("problem") != "other key":
                raise
            return None  # from before the log's key was changed: there will be a newer one
        return note

    def _open(self, note: bytes) -> Checkpoint:
        return open_checkpoint(note, self._origin, self._vkey, self._verify)
