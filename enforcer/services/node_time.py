"""A node's time: ``t`` is the machine's clock, but never before the floor (DESIGN: Time).

The floor is what the node knows to be past: the newest ``recorded_at`` that it accepted, and
what a clock that nobody can set has counted since. The machine's clock may raise it by up to
120 s more, and no further: so a clock stepped back revives no block that had ended, and one that
is years ahead can be set right again. The floor is kept on disk. Should it ever be wrong (the
ledger itself was years ahead), see that the machine's clock is right, stop node and gate, remove
``floor`` from the node's state directory and ``last-good.table`` and ``time-floor`` from the
gate's, and start both.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import Clock, KeptFiles

FLOOR_FILE: Final = "floor"
DIGITS_MAX: Final = 15
CLOCK_TRUST_MS: Final = 120_000
"""How far the machine's clock is believed beyond what is known to be past."""
KEEP_MS_MAX: Final = 60_000
"""So much of the floor may be lost with the power, while no order begins or ends."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of a node's time, Unix milliseconds."""

    t_ms: int
    """The later of the two others."""
    own_ms: int
    """What the machine's clock says."""
    floor_ms: int
    """What it surely is by now."""


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
        self._floor_ms, self._known_ms = _read(files)
        self._known_at_ms = clock.monotonic_ms()  # when it was `_known_ms`, which moves on
        self._kept_ms = self._floor_ms  # what the disk has
        self._keep_at_ms: int | None = None  # when the next order begins or ends

    def moment(self) -> Moment:
        """Read the time."""
        own_ms = self._clock.now_ms()
        known_ms = self._move_on()
        self._floor_ms = max(self._floor_ms, known_ms, min(own_ms, known_ms + CLOCK_TRUST_MS))
        return Moment(max(own_ms, self._floor_ms), own_ms, self._floor_ms)

    def now_ms(self) -> int:
        """Return ``t``: Unix time in milliseconds, never before the floor."""
        return self.moment().t_ms

    def own_ms(self) -> int:
        """Return what the machine's clock says, which may be earlier."""
        return self._clock.now_ms()

    def raise_to(self, recorded_at_ms: int) -> None:
        """Let no later ``t`` be before the time of an accepted entry."""
        self._known_ms = max(self._move_on(), recorded_at_ms)

    def is_due(self, next_change_ms: int | None) -> bool:
        """Tell whether `keep` is due: a minute after it was, or when an order began or ended.

        `next_change_ms` is when the next one does. So a clock that is stepped back while the
        machine is off brings back no block that had ended.
        """
        changes = [each for each in (self._keep_at_ms, next_change_ms) if each is not None]
        self._keep_at_ms = min(changes, default=None)
        gained_ms = self._floor_ms - self._kept_ms
        is_passed = self._keep_at_ms is not None and self._floor_ms >= self._keep_at_ms
        if is_passed:
            self._keep_at_ms = next_change_ms
        return is_passed or not 0 <= gained_ms < KEEP_MS_MAX

    def keep(self) -> None:
        """Make the floor durable, as far as the disk allows; it blocks."""
        try:
            with self._turn:
                floor_ms = self._floor_ms
                self._files.write(FLOOR_FILE, b"%d %d\n" % (floor_ms, self._known_ms))
                self._kept_ms = floor_ms
        except EnforcerError as error:
            _log.error("cannot keep the time floor", problem=error.message, advice=error.advice)

    def _move_on(self) -> int:
        """Return what is known to be past by now."""
        at_ms = self._clock.monotonic_ms()
        self._known_ms += max(at_ms - self._known_at_ms, 0)
        self._known_at_ms = at_ms
        return self._known_ms


def _read(files: KeptFiles) -> tuple[int, int]:
    """Read the floor, and what of it was known without the machine's clock."""
    text = files.read(FLOOR_FILE)
    if text is None:
        return 0, 0
    numbers = text.removesuffix(b"\n").split(b" ")
    if len(numbers) != 2 or not all(
        number.isdigit() and len(number) <= DIGITS_MAX for number in numbers
    ):
        raise IntegrityError(
            f"{files.path(FLOOR_FILE)} holds no time",
            advice="Check the machine's clock, then remove the file.",
            path=str(files.path(FLOOR_FILE)),
        )
    floor_ms, known_ms = map(int, numbers)
    return floor_ms, known_ms
