"""The loop of whatever catches up in the background: at once, when woken, and after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never


async def keep_up(
    wake: asyncio.Event, catch_up: Callable[[], Awaitable[bool]], retry_seconds: float
) -> Never:
    """Call `catch_up` now, each time that `wake` is set, and again after it returned False.

    What sets `wake` while it works is caught up with next; it never returns.
    """
    while True:
        wake.clear()
        is_done = await catch_up()
        try:
            async with asyncio.timeout(None if is_done else retry_seconds):
                await wake.wait()
        except TimeoutError:
            continue
