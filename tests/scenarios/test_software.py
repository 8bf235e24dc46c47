"""What software of the same kind did to others, where an order's way is what it is about."""

from __future__ import annotations

from enforcer.backends.keys import PrivateKey
from tests.scenarios.country import Country


async def test_blocky_whoever_may_write_to_redis_rules_the_fleet(country: Country):
    """Blocky: anyone who may PUBLISH can switch blocking off; here nothing unsigned counts."""
    mallory = PrivateKey.generate()
    blocked = await country.orders("exact bad.example.org")
    proposed = await country.proposes("exact news.example.org")
    assert await country.is_blocked("bad.example.org")
    provider = await country.provider()
    for act in (country.land.stopping(blocked), country.land.approval(proposed)):
        country.forges(act, mallory)
        await provider.eventually(lambda: provider.status["feed"]["state"] == "REFUSING")
        assert await country.is_blocked("bad.example.org")
        assert not await country.is_blocked("news.example.org")
    country.pushes(country.land.stopping(blocked), mallory)
    await country.approves(proposed)  # lawfully: what was forged is replaced
    assert await country.is_blocked("news.example.org")
    assert await country.is_blocked("bad.example.org")
    await provider.eventually(lambda: provider.status["feed"]["state"] == "OK")
    assert await country.history(proposed) == [
        "OrderProposed by an.nguyen",
        "OrderApproved by binh.tran",
    ]


async def test_a_blocklist_in_redis_alone_is_wiped(country: Country):
    """A list that was in Redis alone was gone after a reset, and everything open."""
    await country.orders("exact bad.example.org")
    assert await country.is_blocked("bad.example.org")
    country.wipes_the_feed()
    assert await country.is_blocked("bad.example.org")
    await country.orders("exact worse.example.org")
    assert await country.is_blocked("worse.example.org")
    assert max(country.served.feed.log) == country.size - 1
    assert len(country.in_force) == 2


async def test_powerdns_a_new_block_does_not_meet_names_in_the_cache(country: Country):
    """PowerDNS: what stood in the cache passed on after it was blocked, until it ran out."""
    provider = await country.provider()
    assert not await country.is_blocked("bad.example.org")
    order = await country.orders("exact bad.example.org")
    assert await country.is_blocked("bad.example.org")
    await country.stops(order)
    assert not await country.is_blocked("bad.example.org")
    assert provider.asked == ["bad.example.org"]  # the cache held the truth all the while
