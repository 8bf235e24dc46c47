"""The time that entries get: the machine's clock, as long as it goes on as it began.

Times in the ledger never run back, so one entry from a clock that is a year ahead would close
the ledger for that year. Refuses to name a time when the clock was stepped since the start, or
is behind the last entry, each by more than 120 s. A clock that is wrong from the start is not
seen here, if it is ahead.
"""

from __future__ import annotations

from typing import Final

from enforcer.errors import UnavailableError
from enforcer.ports import Clock

STEP_MS_MAX: Final = 120_000


class LedgerTime:
    """The time of one ledger's entries, from when this was made on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = clock.now_ms() - clock.monotonic_ms()

    def now_ms(self, last_ms: int) -> int:
        """Return what time it most likely is, and never before the last entry's, `last_ms`."""
        likely_ms = self._likely_ms()
        own_ms = self._clock.now_ms()
        is_stepped = abs(own_ms - likely_ms) > STEP_MS_MAX
        return max(likely_ms if is_stepped else own_ms, last_ms)

    def fault(self, last_ms: int) -> UnavailableError | None:
        """Return why the clock is not to be believed, after an entry recorded at `last_ms`."""
        own_ms = self._clock.now_ms()
        step_ms = own_ms - self._likely_ms()
        if abs(step_ms) > STEP_MS_MAX:
            return UnavailableError(
                f"this machine's clock was stepped by {step_ms / 1_000:+.0f} s, and nothing can "
                "be recorded by it",
                advice="Set the clock right; if it is right now, restart the control plane.",
                step_ms=step_ms,
            )
        if own_ms < last_ms - STEP_MS_MAX:
            return UnavailableError(
                f"this machine's clock is {(last_ms - own_ms) / 1_000:.0f} s behind the ledger's "
                "last entry, and nothing can be recorded by it",
                advice="Set the clock right, and restart the control plane.",
                step_ms=own_ms - last_ms,
            )
        return None

    def _likely_ms(self) -> int:
        return self._clock.monotonic_ms() + self._ahead_ms
