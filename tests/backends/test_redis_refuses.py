"""A Redis that refuses a node is away to it, not a liar: it is looked at again within a second."""

from __future__ import annotations

import pytest

from enforcer.errors import UnavailableError
from enforcer.services.pace import DEFAULT_PACE
from enforcer.services.paths import REDIS, SYNC, FeedPath, FeedPaths, PathState
from tests.backends.feed_world import Book


async def no_password(redis):
    await redis.redis.execute_command("ACL", "SETUSER", "node", "resetpass", ">another")
    await redis.redis.execute_command("CLIENT", "KILL", "USER", "node")


async def no_rights(redis):
    await redis.redis.execute_command("ACL", "SETUSER", "node", "-@all")


async def no_user(redis):
    await redis.redis.execute_command("ACL", "DELUSER", "node")


@pytest.mark.parametrize("accident", [no_password, no_rights, no_user])
async def test_a_redis_that_refuses_is_followed_again_as_soon_as_it_does_not(
    redis, tmp_path, accident
):
    publisher, source = redis.publisher(), redis.source()
    book = Book(tmp_path / "ledger", publisher)
    await book.add(5)
    path = FeedPath(REDIS, source)
    feeds = FeedPaths((path, FeedPath(SYNC, source)), lambda: 0, seconds=lambda: 100.0)
    assert len((await source.next(0, 1_000)).leaves) == 5
    for _ in range(5):  # however often
        await accident(redis)
        with pytest.raises(UnavailableError) as refused:
            await source.next(5, 1_000)
        feeds.fails(path, PathState.AWAY, refused.value.message)
        assert path.retry_at_seconds - 100.0 <= 1.2 * DEFAULT_PACE.path_look_seconds
        path.retry_at_seconds = 0.0
        await redis.admit()
        await redis.redis.execute_command("ACL", "SETUSER", "node", "resetpass", ">secret")
        assert await source.head() == book.files.checkpoint_note
    await book.add()
    assert (await source.next(5, 1_000)).leaves == (book.leaves[5],)
    await publisher.close()
    await source.close()
