"""How the programs log: one JSON object a line, on stderr; events are verbs, fields are few.

No address of a peer, no query name, nothing about a subscriber may be a field. A line that
stderr does not take, for its disk is full, its reader gone or asleep, is lost: nothing is raised,
and who logs waits a tenth of a second at most. The next line that is taken is told how many were.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from typing import Final

import structlog

WAIT_MS_MAX: Final = 100
STDERR: Final = 2
LOST: Final = '{"event": "log_lines_lost", "level": "error", "count": %d}'


class Lines:
    """Writes lines to a descriptor; any thread may use it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._lost = 0
        self._is_torn = False
        """The last line was taken in part."""

    def msg(self, line: str) -> None:
        """Write one line, or lose it."""
        with self._lock:
            if self._lost and self._write(LOST % self._lost):
                self._lost = 0
            if self._lost or not self._write(line):
                self._lost += 1

    debug = info = warning = error = critical = msg

    def _write(self, line: str) -> bool:
        """Tell whether the whole line was taken."""
        text = f"\n{line}\n" if self._is_torn else f"{line}\n"
        left = whole = memoryview(text.encode("utf-8", "backslashreplace"))
        ready = select.poll()
        ready.register(self._fd, select.POLLOUT)
        try:
            while left:
                # Who lost a line has waited already. So much goes into a pipe that has room.
                if not ready.poll(0 if self._lost else WAIT_MS_MAX):
                    return False
                left = left[os.write(self._fd, left[: select.PIPE_BUF]) :]
        except OSError:
            return False
        finally:
            self._is_torn = bool(left) and (self._is_torn or len(left) < len(whole))
        return True


def log_to_stderr() -> None:
    """Write each event as one line of JSON, unless whoever runs this process has decided."""
    if structlog.is_configured():
        return
    # Who was started without stderr may have a file of its own in that place.
    has_stderr = sys.__stderr__ is not None
    lines = Lines(STDERR if has_stderr else os.open(os.devnull, os.O_WRONLY))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: lines,
    )
