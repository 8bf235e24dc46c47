"""The right to write a directory: an exclusive kernel lock, held until closed or until death.

Always flock, never lockf: a lock by fcntl belongs to the process and is lost when any descriptor
of the file is closed. A child forked without exec shares the lock, and keeps it when
its parent dies; children made by exec do not have it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.errors import ConflictError

_PID_BYTES_MAX: Final = 32


class DirectoryLock:
    """The lock on one file, whose content is the process id of the last holder."""

    def __init__(self, path: Path) -> None:
        """Take the lock, without waiting.

        Raises:
            ConflictError: another holder has it; ``data["pid"]`` is its process id, if known.
            UnavailableError: the file cannot be opened or locked.
        """
        self.path = path
        with durable.reporting(path, "lock"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, durable.PUBLIC_MODE)
        try:
            with durable.reporting(path, "lock"):
                self._lock()
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Give the lock back; again is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._descriptor, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
            pid = int(text) if text.isdecimal() else None
            raise ConflictError(
                f"{self.path.parent} is being written by process {text or 'unknown'}",
                advice="Stop that process first, or open the ledger for reading only.",
                path=str(self.path.parent),
                pid=pid,
            ) from None
        # The pid only serves the message above: a full disk must not keep a process from starting.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
