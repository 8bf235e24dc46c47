"""The time floor that a gate keeps on disk, so that a restart takes it no step back in time.

It is what the gate can vouch for: the table's own floor and what has passed since, never a
reading of the wall clock. Kept beside the last good table, bound to one ledger by a checksum.
Always true: what is read was written whole by `keep`; anything else is an IntegrityError.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from enforcer.backends.durable import PRIVATE_MODE, read_file, write_file
from enforcer.errors import IntegrityError, NotFoundError

FLOOR_NAME: Final = "time-floor"
FLOOR_BYTES_MAX: Final = 128


class TimeFloor:
    """The floor of one ledger's gate, in the state directory."""

    def __init__(self, state_dir: Path, origin: str) -> None:
        self.path = state_dir / FLOOR_NAME
        self._origin = origin

    def keep(self, floor_ms: int) -> None:
        """Put the floor (Unix milliseconds) on the disk, durably.

        Raises:
            UnavailableError: the disk is full or failed.
        """
        write_file(self.path, self._spell(floor_ms), mode=PRIVATE_MODE)

    def read(self) -> int:
        """Return the floor that was kept last, 0 when none ever was.

        Raises:
            IntegrityError: it is damaged or of another ledger.
            UnavailableError: it cannot be read.
        """
        try:
            text = read_file(self.path, size_bytes_max=FLOOR_BYTES_MAX)
        except NotFoundError:
            return 0
        digits = text.partition(b" ")[0]
        if not digits.isdigit() or text != self._spell(int(digits)):
            raise IntegrityError(
                f"{self.path} holds no time of this ledger",
                advice="Check the machine's clock, then remove the file.",
                path=str(self.path),
            )
        return int(digits)

    def _spell(self, floor_ms: int) -> bytes:
        checksum = sha256(f"{self._origin}\n{floor_ms}".encode()).hexdigest()
        return f"{floor_ms} {checksum}\n".encode("ascii")
