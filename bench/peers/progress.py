"""Say what is going on, one line a step, on stderr."""

from __future__ import annotations

import sys
import time


def note(what: str) -> None:
    """Say `what` with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)
