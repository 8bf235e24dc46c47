"""What blocking systems did to others, replayed here, to the end that it has here."""

from __future__ import annotations

import pytest

from enforcer.core.guard import Guard
from enforcer.core.policy import DecisionKind
from enforcer.errors import ConflictError, InputError, RefusedError
from tests.scenarios.country import Country

SITES = tuple(f"exact site{number:03d}.example.org" for number in range(120))


async def test_denmark_one_officer_puts_thousands_of_names_into_the_folder(country: Country):
    """Denmark 2012: 8,000 legitimate names, blocked by one person within three hours."""
    land = country.land
    await country.adopts(growth_targets_max=100)
    order = await country.proposes(*SITES, "exact www.bank.example")
    assert country.held == {"GROWTH", "PROTECTED_NAME"}
    with pytest.raises(ConflictError, match="HELD"):
        await country.approves(order)
    small = await country.proposes("exact site000.example.org")
    with pytest.raises(RefusedError):
        await country.approves(small, by=land.proposer)
    assert country.in_force == []
    assert not await country.is_blocked("www.bank.example")
    assert not await country.is_blocked("site000.example.org")
    assert await country.history(order) == ["OrderProposed by an.nguyen", "OrderHeld by control-1"]
    assert await country.history(small) == ["OrderProposed by an.nguyen"]


async def test_australia_one_address_stands_for_a_quarter_of_a_million_sites(country: Country):
    """Australia 2013: an agency blocked one address, and all the sites that shared it."""
    provider = await country.provider()
    provider.addresses |= {"scam.example.org": "203.0.113.7", "school.example.org": "203.0.113.7"}
    with pytest.raises(RefusedError, match="addresses or prefixes, which cannot be ordered yet"):
        await country.proposes("ip 203.0.113.9")
    country.lists.takes_addresses = True
    order = await country.proposes("ip 203.0.113.7")
    assert country.held == {"SHARED_RANGE"}
    assert not await country.is_blocked("school.example.org")
    with pytest.raises(RefusedError, match="assessment"):
        await country.lifts(order, Guard.SHARED_RANGE)
    assessment = await country.assesses(order)
    await country.lifts(order, Guard.SHARED_RANGE, assessment=assessment)
    await country.approves(order)
    assert await country.is_blocked("scam.example.org")
    assert await country.history(order) == [
        "OrderProposed by an.nguyen",
        "OrderHeld by control-1",
        "AssessmentRecorded by an.nguyen",
        "HoldLifted by chi.le",
        "OrderApproved by binh.tran",
    ]


async def test_austria_a_court_names_eleven_addresses_of_a_network_of_caches(country: Country):
    """Austria 2022: eleven addresses for fourteen sites; thousands were down for two days."""
    country.lists.takes_addresses = True
    caches = [f"ip 203.0.113.{number}" for number in range(10, 21)]
    order = await country.proposes(*caches, decision_kind=DecisionKind.COURT_FINAL)
    assert country.held == {"SHARED_RANGE"}
    assert country.report.count(b" SHARED_RANGE ip ") == 11
    with pytest.raises(ConflictError, match="HELD by SHARED_RANGE"):
        await country.approves(order)
    await country.returns(order)
    assert country.status(order) == "REJECTED"
    assert not await country.is_blocked("shop.example.org")
    assert await country.history(order) == [
        "OrderProposed by an.nguyen",
        "OrderHeld by control-1",
        "OrderRejected by binh.tran",
    ]


async def test_italy_one_person_ends_a_wrong_block_at_every_provider(country: Country):
    """Italy 2024: a drive's names were blocked for hours, and released here and there."""
    await country.registers("node-2")
    await country.proposes("exact drive.code.example")
    assert country.held == {"PROTECTED_NAME"}
    order = await country.orders("exact streams.example.org")
    for provider in ("node-1", "node-2"):
        assert await country.is_blocked("streams.example.org", at=provider)
    await country.stops(order, by=country.land.proposer)
    for provider in ("node-1", "node-2"):
        assert not await country.is_blocked("streams.example.org", at=provider)
        said = await country.attests(provider)
        assert (said.ledger_size, said.omissions) == (country.size, ())
    assert (await country.history(order))[-1] == "OrderStopped by an.nguyen"


async def test_india_an_order_for_pages_is_not_made_one_for_whole_hosts(country: Country):
    """India 2014: orders for "URLs" were carried out as blocks of github.com and archive.org."""
    size = country.size
    for line in ("exact code.example/a/page", "exact https://code.example/a/page"):
        with pytest.raises(InputError, match="URL") as caught:
            await country.proposes("exact bad.example.org", line)
        assert caught.value.data["line"] == 2
    assert country.size == size
    await country.proposes("subtree code.example")
    assert country.held == {"PROTECTED_NAME"}
    assert not await country.is_blocked("code.example")
