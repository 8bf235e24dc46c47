"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """Unix time as the system has it; it may be wrong, and may step."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000
