"""A node's time: never before what it has been, whatever the machine's clock does.

``t`` is the larger of the clock and a floor; the floor is the latest of every ``t`` given out
and every ``recorded_at`` accepted, and is kept on disk. So a clock that was stepped back never
revives a block that has ended.
"""

from __future__ import annotations

import threading
from typing import Final

import structlog

from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import Clock, KeptFiles

FLOOR_FILE: Final = "floor"
DIGITS_MAX: Final = 15

_log = structlog.get_logger(__name__)


class NodeTime:
    """The time of one node; use it from one event loop, and `keep` from any thread."""

    def __init__(self, clock: Clock, files: KeptFiles) -> None:
        """Read the floor that was kept.

        Raises:
            UnavailableError: it cannot be read.
            IntegrityError: it is no number; going on without it could revive a block.
        """
        self._clock = clock
        self._files = files
        self._turn = threading.Lock()  # so that an older floor never replaces a newer one
        self._floor_ms = _read_floor(files)

    def now_ms(self) -> int:
        """Return ``t``: Unix time in milliseconds, never smaller than before."""
        self._floor_ms = max(self._floor_ms, self._clock.now_ms())
        return self._floor_ms

    def own_ms(self) -> int:
        """Return what the machine's clock says, which may be earlier."""
        return self._clock.now_ms()

    def raise_to(self, recorded_at_ms: int) -> None:
        """Let no later ``t`` be before the time of an accepted entry."""
        self._floor_ms = max(self._floor_ms, recorded_at_ms)

    def keep(self) -> None:
        """Make the floor durable, as far as the disk allows; it blocks."""
        try:
            with self._turn:
                self._files.write(FLOOR_FILE, b"%d\n" % self._floor_ms)
        except EnforcerError as error:
            _log.error("cannot keep the time floor", problem=error.message, advice=error.advice)


def _read_floor(files: KeptFiles) -> int:
    text = files.read(FLOOR_FILE)
    if text is None:
        return 0
    digits = text.removesuffix(b"\n")
    if not digits.isdigit() or len(digits) > DIGITS_MAX:
        raise IntegrityError(
            f"{files.path(FLOOR_FILE)} holds no time",
            advice="Check the machine's clock, then remove the file.",
            path=str(files.path(FLOOR_FILE)),
        )
    return int(digits)
