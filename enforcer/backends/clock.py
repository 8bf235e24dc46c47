"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """Unix time as the system has it; it may be wrong, and may step."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return milliseconds since this machine was started (CLOCK_BOOTTIME)."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
