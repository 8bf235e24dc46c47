"""Responses: the first name or address that is blocked decides, and nothing vouches for another."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_address

from enforcer.core.name import Name
from enforcer.core.response import ResponseVerdict, decide_response
from enforcer.core.verdict import Action, Cause, Rules, Verdict
from tests.tables import order_row, target_list

A, DS = 1, 43
NOW_MS = 1500
NAMES = target_list("exact a.example.org", "subtree example.net", "ip 192.0.2.7")
RULES = Rules([(order_row(1, NAMES), NAMES)], core=target_list("subtree safe.example.net"))
PASSED = ResponseVerdict(Verdict(Action.PASS, Cause.NO_MATCH))
DNS64 = [IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:64::/48")]


def judge(
    links: str = "", addresses: str = "", qtype: int = A, t_ms: int = NOW_MS
) -> ResponseVerdict:
    return decide_response(
        RULES,
        [Name.from_text(text) for text in links.split()],
        [ip_address(text) for text in addresses.split()],
        qtype,
        t_ms,
        dns64=DNS64,
    )


def test_a_response_that_leads_to_nothing_blocked_passes():
    assert judge() == PASSED
    assert judge("b.example.org c.example.org", "192.0.2.8 2001:db8::7") == PASSED


def test_the_first_blocked_link_decides():
    found = judge("b.example.org a.example.org x.example.net", "192.0.2.7")
    assert (found.link, found.address) == (1, None)
    assert found.verdict.zone == Name.from_text("a.example.org")


def test_links_come_before_addresses_and_addresses_in_their_order():
    assert judge("x.example.net", "192.0.2.7").link == 0
    found = judge("b.example.org", "192.0.2.8 192.0.2.7")
    assert (found.link, found.address) == (None, 1)


def test_links_are_decided_for_the_type_asked_for_and_at_the_time_given():
    assert judge("a.example.org", qtype=DS) == PASSED
    assert judge("a.example.org", t_ms=2000) == PASSED


def test_a_protected_link_vouches_for_nothing_after_it():
    assert judge("www.safe.example.net") == PASSED
    assert judge("www.safe.example.net www.example.net").link == 1
    assert judge("www.safe.example.net", "192.0.2.7").address == 0


def test_an_address_behind_a_dns64_prefix_is_decided_as_the_one_it_carries():
    assert judge(addresses="64:ff9b::192.0.2.7").address == 0
    assert judge(addresses="2001:db8:64:c000:2:700::").address == 0
    assert judge(addresses="64:ff9b::192.0.2.8 64:ff9b:1::192.0.2.7") == PASSED
