"""A ledger that is not at its place: when another one begins, and when nothing does."""

from __future__ import annotations

import pytest
import redis

from enforcer.app.installation import install
from enforcer.app.installation_files import Plan
from enforcer.app.lost_ledger import check_not_lost, unused_mark
from enforcer.backends.feed_format import FeedKeys
from enforcer.backends.keys import PrivateKey
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.config import Address
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.cosignature import CosignerKey
from enforcer.errors import ConflictError, RefusedError, UnavailableError
from tests.control import ORIGIN, Installation, sealing, trust_of

NOBODY = "redis://127.0.0.1:1"
NOTE = sealing(Checkpoint(ORIGIN, 7, b"r" * 32))
WITNESS = CosignerKey("witness.example.org/w", PrivateKey.generate().public_key)


class Shows:
    """A witness that shows one note, or nothing."""

    def __init__(self, note=None):
        self.note = note

    async def latest(self, origin):
        assert origin == ORIGIN
        if self.note is None:
            raise RefusedError("it has nothing of this log", advice="Add the log.", status=404)
        return self.note


class Site:
    """A control plane's configuration, whose ledger is not where it says."""

    def __init__(self, directory):
        self.installation = Installation(directory)
        self.config = self.installation.config
        self.mark = unused_mark(self.config.log_key_file)

    async def check(self, url=NOBODY, witness=None):
        feed = RedisFeedPublisher(url, ORIGIN)
        witnesses = {} if witness is None else {WITNESS: witness}
        try:
            await check_not_lost(self.config, trust_of(self.installation.land), feed, witnesses)
        finally:
            await feed.close()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


async def test_under_a_new_log_key_a_ledger_begins_though_nobody_can_be_asked(site):
    await site.check()
    await site.check(witness=Shows())


async def test_without_redis_nothing_begins_under_a_log_key_that_may_have_signed(site):
    site.mark.unlink()
    for witness in (None, Shows(), Shows(b"garbage")):
        with pytest.raises(UnavailableError, match="its Redis is away") as caught:
            await site.check(witness=witness)
        assert str(site.config.ledger_dir) in caught.value.message
        assert "Mount its disk" in caught.value.advice
        assert f"touch {site.mark}" in caught.value.advice
    site.mark.touch()
    await site.check()


async def test_an_empty_redis_lets_a_ledger_begin(site, redis_server):
    site.mark.unlink()
    await site.check(redis_server.url)


@pytest.mark.parametrize("key", ["head", "cosigned", "log"])
async def test_what_the_log_did_not_sign_is_nobodys_word(site, redis_server, key):
    with redis.Redis.from_url(redis_server.url) as thief:
        thief.set(getattr(FeedKeys(ORIGIN), key), b"garbage")
    await site.check(redis_server.url)  # it keeps no first start from happening
    site.mark.unlink()
    with pytest.raises(UnavailableError, match="what the log did not sign"):
        await site.check(redis_server.url)


async def test_a_head_that_was_overwritten_hides_no_cosigned_checkpoint(site, redis_server):
    with redis.Redis.from_url(redis_server.url) as thief:
        thief.set(FeedKeys(ORIGIN).head, b"garbage")
        thief.set(FeedKeys(ORIGIN).cosigned, NOTE)
    with pytest.raises(ConflictError, match="signed one of 7 entries, which its feed has"):
        await site.check(redis_server.url)


async def test_a_witness_that_shows_what_the_log_signed_is_believed(site, redis_server):
    for url in (NOBODY, redis_server.url):
        with pytest.raises(ConflictError, match=r"7 entries, which its witness witness\.example"):
            await site.check(url, Shows(NOTE))


async def test_a_new_installation_says_of_its_log_key_that_it_has_signed_nothing(tmp_path):
    roots = tuple(PrivateKey.generate().public_key.hex() for _ in range(2))
    plan = Plan(
        origin=ORIGIN,
        root_keys=roots,
        control_address=Address("127.0.0.1:7443"),
        redis_url=NOBODY,
        dns_listen=(Address("127.0.0.1:53"),),
        dns_upstream=Address("127.0.0.1:54"),
    )
    assert unused_mark(install(tmp_path / "new", plan).control / "log.key").exists()
