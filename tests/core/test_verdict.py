"""The table of precedence, row by row; native code is held against this function elsewhere."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from enforcer.core.name import ROOT, Name
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.core.target import Target, TargetKind
from enforcer.core.verdict import (
    Action,
    Cause,
    Denial,
    Rules,
    Verdict,
    decide,
    decide_address,
)
from tests.tables import order_row, target_list

A, NS, SOA, DS, DNSKEY = 1, 2, 6, 43, 48
NOW_MS = 1500


def rules(*lists: bytes, **kept: bytes) -> Rules:
    """Return rules of one order a list, with the entry indices 1, 2, …."""
    return Rules(
        [(order_row(index, text), text) for index, text in enumerate(lists, start=1)], **kept
    )


def judge(given: Rules, qname: str, qtype: int = A, t_ms: int = NOW_MS) -> Verdict:
    return decide(given, Name.from_text(qname), qtype, t_ms)


def order_of(verdict: Verdict) -> int | None:
    return None if verdict.order is None else verdict.order.index


EXACT = target_list("exact www.example.org")
SUBTREE = target_list("subtree example.org")


def test_nothing_matches_and_the_query_passes():
    verdict = judge(rules(SUBTREE), "example.net")
    assert verdict == Verdict(Action.PASS, Cause.NO_MATCH)
    assert judge(rules(), ".") == Verdict(Action.PASS, Cause.NO_MATCH)


def test_exact_blocks_the_name_alone():
    verdict = judge(rules(EXACT), "www.example.org")
    assert (verdict.action, verdict.cause, verdict.kind) == (
        Action.BLOCK,
        Cause.ORDER,
        TargetKind.EXACT,
    )
    assert verdict.zone == Name.from_text("www.example.org")
    assert judge(rules(EXACT), "a.www.example.org").action is Action.PASS
    assert judge(rules(EXACT), "example.org").action is Action.PASS


def test_subtree_blocks_the_name_and_all_below_it():
    for qname in ("example.org", "www.example.org", "a.b.c.example.org"):
        verdict = judge(rules(SUBTREE), qname)
        assert (verdict.action, verdict.zone) == (Action.BLOCK, Name.from_text("example.org"))
    assert judge(rules(SUBTREE), "org").action is Action.PASS
    assert judge(rules(SUBTREE), "badexample.org").action is Action.PASS


def test_exact_answers_nodata_so_that_children_are_not_denied():
    assert judge(rules(EXACT), "www.example.org").denial is Denial.NODATA


def test_subtree_answers_nxdomain_where_everything_below_is_blocked():
    assert judge(rules(SUBTREE), "www.example.org").denial is Denial.NXDOMAIN


@pytest.mark.parametrize("layer", ["core", "protected"])
@pytest.mark.parametrize("kind", ["exact", "subtree"])
def test_subtree_answers_nodata_where_a_pass_rule_stands_inside(layer: str, kind: str):
    given = rules(SUBTREE, **{layer: target_list(f"{kind} a.b.example.org")})
    assert judge(given, "www.example.org").denial is Denial.NODATA
    assert judge(given, "a.b.example.org").action is Action.PASS


@pytest.mark.parametrize("qtype", [NS, SOA, DS, DNSKEY])
def test_exact_passes_what_children_need_to_validate(qtype: int):
    assert judge(rules(EXACT), "www.example.org", qtype).action is Action.PASS
    assert judge(rules(SUBTREE), "www.example.org", qtype).action is Action.BLOCK


def test_subtree_leaves_to_the_parent_zone_whether_the_target_is_signed():
    given = rules(SUBTREE, target_list("subtree www.example.org"))
    assert judge(rules(SUBTREE), "example.org", DS).action is Action.PASS
    for qtype in (A, NS, SOA, DNSKEY):
        assert judge(rules(SUBTREE), "example.org", qtype).denial is Denial.NXDOMAIN
    assert order_of(judge(given, "www.example.org", DS)) == 1  # that of the target above


@pytest.mark.parametrize("qtype", [NS, SOA, DS, DNSKEY])
def test_subtree_with_a_pass_rule_inside_passes_what_that_needs_to_validate(qtype: int):
    given = rules(SUBTREE, protected=b"exact bank.example.org\n")
    assert judge(given, "example.org").action is Action.BLOCK
    assert judge(given, "example.org", qtype).action is Action.PASS


def test_exact_that_passes_a_type_leaves_it_to_the_subtree_above():
    verdict = judge(rules(EXACT, SUBTREE), "www.example.org", DS)
    assert (verdict.kind, order_of(verdict)) == (TargetKind.SUBTREE, 2)


def test_the_longest_target_wins_and_exact_comes_before_subtree():
    given = rules(
        SUBTREE, target_list("subtree www.example.org"), target_list("exact www.example.org")
    )
    assert order_of(judge(given, "www.example.org")) == 3
    assert order_of(judge(given, "a.www.example.org")) == 2
    assert order_of(judge(given, "mail.example.org")) == 1


def test_of_several_orders_at_one_target_the_earliest_is_named():
    assert order_of(judge(rules(SUBTREE, SUBTREE), "example.org")) == 1
    reverse = Rules([(order_row(2, SUBTREE), SUBTREE), (order_row(1, SUBTREE), SUBTREE)])
    assert order_of(judge(reverse, "example.org")) == 1


def test_when_the_earliest_ends_the_next_takes_over():
    first = order_row(1, SUBTREE, until_ms=1600)
    second = order_row(2, SUBTREE, from_ms=1200, until_ms=1700)
    given = Rules([(first, SUBTREE), (second, SUBTREE)])
    taken = [order_of(judge(given, "example.org", t_ms=t)) for t in (999, 1000, 1599, 1600, 1700)]
    assert taken == [None, 1, 1, 2, None]


def test_a_longer_target_that_has_ended_leaves_it_to_the_shorter():
    ended = order_row(1, EXACT, until_ms=1200)
    given = Rules([(ended, EXACT), (order_row(2, SUBTREE), SUBTREE)])
    assert order_of(judge(given, "www.example.org")) == 2


@pytest.mark.parametrize("measure", [DnsMeasure.UNSPECIFIED, DnsMeasure.NONE])
def test_an_order_without_a_dns_measure_blocks_no_name(measure: DnsMeasure):
    given = Rules([(order_row(1, SUBTREE, dns_measure=measure), SUBTREE)])
    assert judge(given, "example.org").action is Action.PASS


def test_the_protected_core_passes_before_anything_else():
    exact = rules(EXACT, SUBTREE, core=target_list("exact www.example.org"))
    verdict = judge(exact, "www.example.org")
    assert (verdict.action, verdict.cause) == (Action.PASS, Cause.PROTECTED_CORE)
    assert judge(exact, "a.www.example.org").action is Action.BLOCK
    subtree = rules(EXACT, core=target_list("subtree example.org"))
    assert judge(subtree, "www.example.org").zone == Name.from_text("example.org")
    assert judge(subtree, "www.example.org").cause is Cause.PROTECTED_CORE


def test_a_core_entry_above_wins_over_a_longer_order():
    given = rules(target_list("exact a.b.example.org"), core=SUBTREE)
    assert judge(given, "a.b.example.org").cause is Cause.PROTECTED_CORE


def test_a_protected_name_is_a_pass_rule_at_its_own_length():
    given = rules(SUBTREE, target_list("exact a.www.example.org"), protected=EXACT)
    assert judge(given, "www.example.org").cause is Cause.PROTECTED_LIST
    assert judge(given, "mail.example.org").action is Action.BLOCK
    below = rules(target_list("exact a.www.example.org"), protected=SUBTREE)
    assert order_of(judge(below, "a.www.example.org")) == 1
    assert judge(below, "b.www.example.org").cause is Cause.PROTECTED_LIST


def test_an_order_at_a_protected_target_needs_a_recorded_override():
    orders = [(order_row(1, SUBTREE), SUBTREE), (order_row(2, SUBTREE), SUBTREE)]
    without = Rules(orders, protected=SUBTREE)
    assert judge(without, "example.org").cause is Cause.PROTECTED_LIST
    target = Target(TargetKind.SUBTREE, "example.org")
    overriding = Rules(orders, protected=SUBTREE, overrides={(2, target)})
    assert order_of(judge(overriding, "example.org")) == 2
    assert judge(overriding, "example.org", t_ms=2000).cause is Cause.PROTECTED_LIST


def test_no_target_stands_at_the_root_so_it_always_passes():
    assert decide(rules(EXACT, SUBTREE), ROOT, A, NOW_MS).action is Action.PASS


def judge_address(given: Rules, address: str, t_ms: int = NOW_MS) -> Verdict:
    return decide_address(given, ip_address(address), t_ms)


ADDRESS = target_list("ip 192.0.2.7")
NETWORK = target_list("net 192.0.2.0/24", "net 2001:db8::/32")


def test_an_address_is_blocked_by_its_own_target_and_by_prefixes_around_it():
    verdict = judge_address(rules(ADDRESS), "192.0.2.7")
    assert (verdict.action, verdict.kind, verdict.denial) == (
        Action.BLOCK,
        TargetKind.IP,
        Denial.NODATA,
    )
    assert (verdict.zone, verdict.network) == (None, ip_network("192.0.2.7"))
    assert judge_address(rules(ADDRESS), "192.0.2.8") == Verdict(Action.PASS, Cause.NO_MATCH)
    inside = judge_address(rules(NETWORK), "2001:db8:0:1::5")
    assert (inside.kind, inside.network) == (TargetKind.NET, ip_network("2001:db8::/32"))
    assert judge_address(rules(NETWORK), "192.0.3.0").action is Action.PASS


def test_the_longest_prefix_wins_and_of_equal_ones_the_earliest_order_in_force():
    first, second = order_row(2, NETWORK, until_ms=1600), order_row(3, NETWORK)
    given = Rules([(order_row(1, ADDRESS), ADDRESS), (second, NETWORK), (first, NETWORK)])
    assert order_of(judge_address(given, "192.0.2.7")) == 1
    assert order_of(judge_address(given, "192.0.2.6")) == 2
    assert order_of(judge_address(given, "192.0.2.6", t_ms=1600)) == 3
    assert judge_address(given, "192.0.2.6", t_ms=2000).action is Action.PASS


def test_protected_addresses_pass_by_the_same_rows_as_names():
    given = rules(ADDRESS, core=target_list("net 192.0.2.0/25"))
    assert judge_address(given, "192.0.2.7").cause is Cause.PROTECTED_CORE
    given = rules(NETWORK, protected=ADDRESS)
    assert judge_address(given, "192.0.2.7").cause is Cause.PROTECTED_LIST
    assert judge_address(given, "192.0.2.6").action is Action.BLOCK
    orders = [(order_row(1, ADDRESS), ADDRESS), (order_row(2, ADDRESS), ADDRESS)]
    overriding = Rules(
        orders, protected=ADDRESS, overrides={(2, Target(TargetKind.IP, "192.0.2.7"))}
    )
    assert order_of(judge_address(overriding, "192.0.2.7")) == 2
    assert judge_address(overriding, "192.0.2.7", t_ms=2000).cause is Cause.PROTECTED_LIST


@pytest.mark.parametrize(
    "without", [{"dns_measure": DnsMeasure.NONE}, {"ip_measure": IpMeasure.NONE}]
)
def test_an_address_in_an_answer_is_blocked_by_an_order_with_both_measures_alone(without):
    given = Rules([(order_row(1, ADDRESS, **without), ADDRESS)])
    assert judge_address(given, "192.0.2.7").action is Action.PASS


def test_an_ipv4_mapped_address_is_the_ipv4_address():
    assert order_of(judge_address(rules(ADDRESS), "::ffff:192.0.2.7")) == 1
    assert judge_address(rules(ADDRESS), "::192.0.2.7").action is Action.PASS


def test_protected_addresses_do_not_make_a_subtree_deny_less():
    given = rules(SUBTREE, protected=ADDRESS, core=NETWORK)
    assert judge(given, "www.example.org").denial is Denial.NXDOMAIN
