"""How far a node has read a ledger that is much further on: in words, in numbers, and in the log.

Says nothing while there is little to read, and logs at a bounded rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

BEHIND_MIN: Final = 256
"""Fewer entries than this come at once."""
LOG_SECONDS: Final = 5.0

_log: Final = structlog.get_logger(__name__)


class Reading:
    """One node's reading; in one thread at a time."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._logged_seconds: float | None = None
        self.done = 0
        self.total = 0
        """Entries that there are, by the newest checkpoint that the log is known to have signed."""

    @property
    def words(self) -> str | None:
        """What to show; None while there is little to read."""
        if self.total - self.done < BEHIND_MIN:
            return None
        return f"reads the ledger: {self.done:,} of {self.total:,}"

    def saw(self, done: int, total: int) -> None:
        """Note how far it is, and say it now and then."""
        self.done, self.total = done, max(done, total)
        if self.words is None:
            return
        now = self._seconds()
        if self._logged_seconds is None or now >= self._logged_seconds + LOG_SECONDS:
            self._logged_seconds = now
            _log.info("reads the ledger", done=done, of=self.total)
