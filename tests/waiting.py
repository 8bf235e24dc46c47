"""How tests wait: they look again and again, and fail with why when it does not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WAIT_SECONDS = 60.0  # for what must come on a busy machine too; who passes never waits that long
POLL_SECONDS = 0.005
NEVER_MS = 600_000
"""A time that no test waits out: what waits so long does so until the test lets it go."""


def eventually(holds: Callable[[], object], within_seconds: float = WAIT_SECONDS) -> object:
    """Return what `holds` returns, once that is true; nothing else runs meanwhile."""
    end = time.monotonic() + within_seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
    return found


async def until(condition: Callable[[], object]) -> None:
    """Wait until it holds, while others run; fail when it does not for `WAIT_SECONDS`.

    What cannot be looked at yet does not hold yet: nothing is shown, or nothing is attested.
    """
    missing: Exception | None = None
    for _ in range(int(WAIT_SECONDS / POLL_SECONDS)):
        try:
            if condition():
                return
            missing = None
        except (LookupError, AttributeError, TypeError) as error:
            missing = error
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("it never came to hold") from missing


async def stays(condition: Callable[[], object], *, looks: int = 40) -> None:
    """See that it holds, and goes on to hold for a while."""
    for _ in range(looks):
        assert condition()
        await asyncio.sleep(0.01)
