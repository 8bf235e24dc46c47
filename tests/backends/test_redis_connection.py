"""One Redis behind a URL: what its client gets wrong does not get past this border."""

import asyncio
from contextlib import suppress

import pytest

from enforcer.backends.redis_connection import RedisLink


async def test_a_cancellation_that_the_client_loses_is_not_lost():
    link = RedisLink("unix:///nowhere.sock")
    has_begun = asyncio.Event()

    async def wait() -> None:
        async with link.use("wait"):
            has_begun.set()
            with suppress(asyncio.CancelledError):  # as asyncio.wait_for does at a bad moment
                await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await link.close()


async def test_a_time_limit_around_a_call_that_loses_it_still_ends_as_one():
    link = RedisLink("unix:///nowhere.sock")

    async def wait() -> None:
        async with asyncio.timeout(0.01), link.use("wait"):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()
    await link.close()
