"""How much of a processor that a loop shares is left to what may wait for it."""

from __future__ import annotations

import os
from contextlib import suppress


def lower_priority(nice: int) -> None:
    """Lower the calling thread's priority to `nice` (0 to 19), where that is lower.

    It cannot be raised again. Where the call is refused (a filter of system calls), all is
    served as well, only later: nothing depends on it.
    """
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) < nice:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
