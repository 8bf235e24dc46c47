"""What this process has open, for tests of what must be closed again."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path


def open_files() -> set[tuple[int, int, int]]:
    """Return what is open: each one's number and what it is the number of.

    For what came since: what other tests left behind may go at any moment.
    """
    gc.collect()
    found = set()
    for number in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):  # that of the directory itself, or of what went by now
            found.add(place_of(number))
    return found


def place_of(number: int) -> tuple[int, int, int]:
    """Return an open file as `open_files` has it."""
    status = os.fstat(number)
    return number, status.st_dev, status.st_ino
