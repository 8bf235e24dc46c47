"""What blocking systems did to others, replayed here, to the end that it has here."""

from __future__ import annotations

import json

import pytest

from enforcer.core.guard import Guard
from enforcer.core.key import Category, Role
from enforcer.core.order import Measure
from enforcer.core.policy import DecisionKind
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, InputError, RefusedError
from enforcer.v1 import order_pb2
from tests.people import Person
from tests.scenarios.country import DOCUMENT, Country

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
    both = Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
    order = await country.proposes("ip 203.0.113.7", measure=both)
    assert country.held == {"SHARED_RANGE"}
    assert not await country.is_blocked("school.example.org")
    assert await country.passes("203.0.113.7")
    with pytest.raises(ConflictError, match="HELD by SHARED_RANGE"):
        await country.approves(order)
    with pytest.raises(RefusedError, match="assessment"):
        await country.lifts(order, Guard.SHARED_RANGE)
    facts = await country.facts(order)
    [known] = json.loads(facts)["ranges"]["entries"]
    assert (known["line"], known["addresses"]) == ("shared 203.0.113.0/24 cdn", "256")
    with pytest.raises(RefusedError, match="facts of the assessment differ"):
        await country.attests_facts(order, facts.replace(b'"count": 1', b'"count": 0'))
    assessment = await country.assesses(order)
    await country.lifts(order, Guard.SHARED_RANGE, assessment=assessment)
    await country.approves(order)
    assert await country.is_blocked("scam.example.org")
    assert not await country.passes("203.0.113.7")
    assert await country.passes("203.0.113.8")
    assert await country.history(order) == [
        "OrderProposed by an.nguyen",
        "OrderHeld by control-1",
        "AssessmentRecorded by an.nguyen",
        "HoldLifted by chi.le",
        "OrderApproved by binh.tran",
    ]


async def test_austria_a_court_names_eleven_addresses_of_a_network_of_caches(country: Country):
    """Austria 2022: eleven addresses for fourteen sites; thousands were down for two days."""
    caches = [f"ip 203.0.113.{number}" for number in range(10, 21)]
    order = await country.proposes(*caches, decision_kind=DecisionKind.COURT_FINAL)
    assert country.held == {"SHARED_RANGE"}
    assert country.report.count(b" SHARED_RANGE ip ") == 11
    with pytest.raises(ConflictError, match="HELD by SHARED_RANGE"):
        await country.approves(order)
    reason = await country.returns(order)
    assert await country.status(order) == "REJECTED"
    assert await country.document(reason) == DOCUMENT
    assert await country.passes("203.0.113.10")
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


async def test_spain_a_delegate_adds_to_a_courts_list_week_by_week(country: Country):
    """Spain 2025: a private delegate extends a court's list of addresses every week."""
    await country.adopts(targets_max=2)
    delegate = Person("league", Role.PROPOSER, "cert-vn", (Category.COURT_DECISION,))
    await country.registers(delegate)
    court = {
        "category": Category.COURT_DECISION,
        "decision_kind": DecisionKind.COURT_INTERIM,
        "by": delegate,
    }
    first = await country.orders("ip 192.0.2.1", **court)
    added = await country.proposes("ip 192.0.2.2", **court)
    wider = {"order_id": first.order_id, "version": 2, "supersedes": first}
    await country.proposes("ip 192.0.2.1", "net 192.0.2.128/25", **court, **wider)
    assert country.in_force == [first.order_id]
    assert not await country.passes("192.0.2.1")
    assert await country.passes("192.0.2.2")
    assert await country.passes("192.0.2.129")
    with pytest.raises(RefusedError, match="targets and the policy allows 2"):
        await country.proposes(*(f"ip 192.0.2.{number}" for number in (3, 4, 5)), **court)
    late = dict.fromkeys(("expires_at_ms", "review_due_at_ms"), country.days_on(91))
    with pytest.raises(RefusedError, match="the cap for"):
        await country.proposes("ip 192.0.2.6", **late, **court)
    with pytest.raises(RefusedError, match="PHISHING"):
        await country.proposes("ip 192.0.2.7", by=delegate)
    await country.proposes("ip 203.0.113.9", **court)
    assert country.held == {"SHARED_RANGE"}  # a court's delegate waits for an assessment as well
    await country.approves(added)
    assert not await country.passes("192.0.2.2")
    country.pass_days(31)
    assert await country.passes("192.0.2.2")
    assert await country.history(added) == ["OrderProposed by league", "OrderApproved by binh.tran"]


async def test_britain_a_blocked_site_points_at_another_site(country: Country):
    """UK 2013: a blocked site's A record pointed at another site, and that got blocked."""
    provider = await country.provider()
    order = await country.orders("exact pirate.example.org")
    provider.addresses |= {
        "pirate.example.org": "198.51.100.9",
        "radio.example.org": "198.51.100.9",
    }
    assert await country.is_blocked("pirate.example.org")
    assert not await country.is_blocked("radio.example.org")
    assert await country.passes("198.51.100.9")
    assert provider.asked == ["radio.example.org"]  # nobody ever looked where the other points
    assert await country.history(order) == [
        "OrderProposed by an.nguyen",
        "OrderApproved by binh.tran",
    ]


async def test_russia_a_blocked_name_that_expired_is_bought_and_points_at_a_bank(country: Country):
    """Russia 2017: expired blocked names were bought and pointed at banks, which got blocked."""
    provider = await country.provider()
    order = await country.orders("exact casino.example.org")
    provider.addresses |= {"casino.example.org": "192.0.2.99", "www.bank.example": "192.0.2.99"}
    assert await country.is_blocked("casino.example.org")
    assert not await country.is_blocked("www.bank.example")
    shown = await country.reads(order)
    assert shown.review_due_at_ms <= shown.expires_at_ms <= country.days_on(30)
    country.pass_days(30)
    assert await country.status(order) == "EXPIRED"
    assert not await country.is_blocked("casino.example.org")
    with pytest.raises(ConflictError):
        await country.approves(order, by=country.land.second_approver)
    assert await country.history(order) == [
        "OrderProposed by an.nguyen",
        "OrderApproved by binh.tran",
    ]


async def test_russia_the_address_of_the_block_page_enters_the_list(country: Country):
    """Russia 2018: the addresses of operators' own pages about blocks were put on the list."""
    size = country.size
    for line in ("ip 192.0.2.80", "net 192.0.2.64/26"):
        with pytest.raises(RefusedError, match="PROTECTED_CORE") as caught:
            await country.proposes("ip 198.18.0.1", line)
        assert "ip 192.0.2.80" in caught.value.message
    with pytest.raises(RefusedError, match="PROTECTED_CORE"):
        await country.proposes("exact vn-2027-000001.register.example.org")
    assert (country.size, country.in_force) == (size, [])


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


async def test_germany_a_name_stays_blocked_after_the_site_has_gone(country: Country):
    """Germany (CUII): names of sites that were gone stayed blocked, by a list that was secret."""
    due_ms = country.days_on(10)
    order = await country.orders("exact gone.example.org", review_due_at_ms=due_ms)
    assert await country.is_blocked("gone.example.org")
    shown = await country.reads(order)
    assert (shown.status, shown.review_due_at_ms) == (order_pb2.ORDER_STATUS_IN_FORCE, due_ms)
    assert shown.expires_at_ms > due_ms
    country.pass_days(11)
    assert await country.status(order) == "LAPSED"
    assert not await country.is_blocked("gone.example.org")
    assert len(await country.history(order)) == 2  # nobody had to do anything


async def test_germany_a_list_may_be_secret_for_days_and_its_orders_never(country: Country):
    """Germany (CUII): which names were blocked was kept secret, and so was that they were."""
    due_ms = country.days_on(10)
    secret, _ = await country.hides("exact secret.example.org", publish_at_ms=due_ms)
    told, made = await country.hides("exact told.example.org", publish_at_ms=due_ms)
    for name in ("secret.example.org", "told.example.org"):
        assert await country.is_blocked(name)
    await country.registers("node-2")  # whoever comes later is given the lists as well
    assert await country.is_blocked("secret.example.org", at="node-2")

    shown = await country.reads(secret)
    assert shown.status == order_pb2.ORDER_STATUS_IN_FORCE
    assert "secret.example.org" not in str(shown)
    assert len(await country.history(secret)) == 2

    await country.publishes(told, made)
    country.pass_days(11)
    assert (await country.status(secret), await country.status(told)) == ("LAPSED", "IN_FORCE")
    assert not await country.is_blocked("secret.example.org")
    assert await country.is_blocked("told.example.org")


async def test_level_3_a_wildcard_slips_into_a_block_of_one_address(country: Country):
    """Level 3, 2020: a wildcard in an attempt to block one address; a five-hour outage."""
    size = country.size
    for line, column in (
        ("subtree *.example.org", 9),
        ("exact *", 7),
        ("ip 198.51.100.*", 4),
        ("net 198.0.0.0/8", 5),
        ("net 0.0.0.0/0", 5),
    ):
        with pytest.raises(InputError) as caught:
            await country.proposes(line)
        assert (caught.value.data["line"], caught.value.data["column"]) == (1, column), line
    with pytest.raises(RefusedError, match="PROTECTED_CORE"):
        await country.proposes("net 192.0.0.0/16")  # the own resolver's address is in it
    assert (country.size, country.in_force) == (size, [])
    provider = await country.provider()
    provider.host.own = ("192.0.2.192/26",)  # where the provider's own control traffic goes
    await country.orders("net 192.0.2.128/25")
    assert not await country.passes("192.0.2.129")
    await provider.eventually(lambda: provider.passes("192.0.2.193"))
    assert not await country.passes("192.0.2.191")


async def test_britain_one_image_of_an_encyclopedia(country: Country):
    """UK 2008: for one image a page of an encyclopedia was blocked, and writers with it."""
    size = country.size
    kind = {"category": Category.CHILD_ABUSE_MATERIAL}
    with pytest.raises(InputError, match="URL"):
        await country.proposes("exact wiki.code.example/image", **kind)
    assert country.size == size
    order = await country.proposes("exact wiki.code.example", **kind)
    assert country.held == {"PROTECTED_NAME"}
    with pytest.raises(RefusedError, match="court"):
        await country.lifts(order, Guard.PROTECTED_NAME, overrides=("subtree code.example",))
    await country.returns(order)
    assert not await country.is_blocked("wiki.code.example")
    assert await country.history(order) == [
        "OrderProposed by an.nguyen",
        "OrderHeld by control-1",
        "OrderRejected by binh.tran",
    ]
