"""What decides packets: IP orders by their longest prefix, whatever the order says of DNS."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.name import Name
from enforcer.core.network import Address, Network, plain_address
from enforcer.core.table import DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import NAME_KINDS, Target, TargetKind, iterate
from enforcer.core.verdict import (
    CUTTING,
    Action,
    Cause,
    Denial,
    Rules,
    Verdict,
    decide,
    decide_address,
    decide_flow,
)
from tests.native.worlds import World, around, placed, worlds
from tests.tables import order_row, target_list

ADDRESS = target_list("ip 192.0.2.7")
NETWORK = target_list("net 192.0.2.0/24", "net 2001:db8::/32")
NOW_MS = 1500


def judge(given: Rules, address: str, t_ms: int = NOW_MS) -> Verdict:
    return decide_flow(given, ip_address(address), t_ms)


def one_order(text: bytes, **changes: object) -> Rules:
    return Rules([(order_row(1, text, **changes), text)])


@pytest.mark.parametrize("measure", [IpMeasure.REJECT, IpMeasure.DROP])
def test_an_order_with_an_ip_measure_alone_blocks_packets_and_no_answers(measure: IpMeasure):
    rules = one_order(ADDRESS, dns_measure=DnsMeasure.NONE, ip_measure=measure)
    verdict = judge(rules, "192.0.2.7")
    assert (verdict.action, verdict.kind, verdict.denial) == (
        Action.BLOCK,
        TargetKind.IP,
        Denial.NOT_BLOCKED,
    )
    assert verdict.order is not None
    assert (verdict.order.ip_measure, verdict.network) == (measure, ip_network("192.0.2.7"))
    assert judge(rules, "192.0.2.8") == Verdict(Action.PASS, Cause.NO_MATCH)
    assert decide_address(rules, ip_address("192.0.2.7"), NOW_MS).action is Action.PASS


@pytest.mark.parametrize("measure", [IpMeasure.UNSPECIFIED, IpMeasure.NONE])
def test_a_dns_order_never_becomes_an_ip_order(measure: IpMeasure):
    assert judge(one_order(ADDRESS, ip_measure=measure), "192.0.2.7").action is Action.PASS


def test_an_ip_order_never_becomes_a_dns_order():
    text = target_list("exact www.example.org", "ip 192.0.2.7")
    rules = one_order(text, dns_measure=DnsMeasure.NONE)
    assert judge(rules, "192.0.2.7").action is Action.BLOCK
    assert decide(rules, Name.from_text("www.example.org"), 1, NOW_MS).action is Action.PASS


def test_when_the_longer_prefix_has_ended_the_shorter_one_counts():
    longer, shorter = order_row(1, ADDRESS, until_ms=1600), order_row(2, NETWORK)
    rules = Rules([(longer, ADDRESS), (shorter, NETWORK)])
    assert [judge(rules, "192.0.2.7", t_ms).order for t_ms in (1599, 1600, 2000)] == [
        longer,
        shorter,
        None,
    ]


def test_of_several_orders_at_one_prefix_the_earliest_in_force_is_named():
    rows = [order_row(3, ADDRESS), order_row(2, ADDRESS, until_ms=1600)]
    rules = Rules([(row, ADDRESS) for row in rows])
    assert judge(rules, "192.0.2.7").order == rows[1]
    assert judge(rules, "192.0.2.7", 1600).order == rows[0]


def test_the_protected_core_passes_whatever_stands_inside_it():
    rules = Rules([(order_row(1, ADDRESS), ADDRESS)], core=target_list("net 192.0.2.0/24"))
    assert judge(rules, "192.0.2.7").cause is Cause.PROTECTED_CORE


def test_a_protected_prefix_passes_at_its_own_length_unless_it_is_overridden():
    orders = [(order_row(1, NETWORK), NETWORK), (order_row(2, ADDRESS), ADDRESS)]
    protected = target_list("net 192.0.2.0/24")
    rules = Rules(orders, protected=protected)
    assert judge(rules, "192.0.2.8").cause is Cause.PROTECTED_LIST
    assert judge(rules, "192.0.2.7").order == orders[1][0]
    overrides = {(1, Target(TargetKind.NET, "192.0.2.0/24"))}
    overridden = Rules(orders, protected=protected, overrides=overrides)
    assert judge(overridden, "192.0.2.8").order == orders[0][0]


def test_the_operators_own_prefixes_pass_whatever_their_length():
    orders = [(order_row(1, NETWORK), NETWORK), (order_row(2, ADDRESS), ADDRESS)]
    for own in ("192.0.2.7/32", "192.0.2.0/24", "192.0.0.0/8", "0.0.0.0/0"):
        network = ip_network(own, strict=False)
        verdict = judge(Rules(orders, local=[network]), "192.0.2.7")
        assert (verdict.cause, verdict.network) == (Cause.PROTECTED_LOCAL, network)
    rules = Rules(orders, local=[ip_network("::/0"), ip_network("192.0.2.7")])
    assert judge(rules, "192.0.2.6").action is Action.BLOCK


def test_an_ipv4_mapped_address_is_the_ipv4_address():
    assert judge(one_order(ADDRESS), "::ffff:192.0.2.7").action is Action.BLOCK
    assert judge(one_order(target_list("net ::/64")), "::ffff:192.0.2.7").action is Action.PASS


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_the_function_agrees_with_a_count_of_all_that_contains_an_address(
    world: World, data: st.DataObject
):
    _, networks = placed([*(text for _, text in world.orders), world.core, world.protected])
    if not networks:
        return
    chosen = data.draw(st.sampled_from(networks))
    local = data.draw(st.lists(st.sampled_from([*networks, ip_network("0.0.0.0/0")]), max_size=2))
    rules = Rules(
        world.orders,
        core=world.core,
        protected=world.protected,
        local=local,
        overrides=world.overrides,
    )
    for address in around(chosen):
        for t_ms in (999, 1000, 1999, 2000):
            verdict = decide_flow(rules, address, t_ms)
            assert verdict.order == blocking(world, local, address, t_ms)
            answer = decide_address(rules, address, t_ms)
            if answer.order is not None:
                assert {answer.order.dns_measure, answer.order.ip_measure}.isdisjoint({0, 1})


def blocking(world: World, local: list[Network], address: Address, t_ms: int) -> OrderRow | None:
    """Return the order that blocks packets of `address`, by looking at every target."""
    plain = plain_address(address)
    passing = [*local, *networks_of(world.core)]
    if any(plain in network for network in passing):
        return None
    guarded = {network: Target(kind, value) for network, kind, value in read(world.protected)}
    best: tuple[int, bool, int] | None = None
    found: OrderRow | None = None
    for network in guarded:
        if plain in network:
            best = max(best or (-1, False, 0), (network.prefixlen, False, 0))
    for row, text in world.orders:
        if row.ip_measure not in CUTTING or not row.is_in_force(t_ms):
            continue
        for network in networks_of(text):
            may = network not in guarded or (row.index, guarded[network]) in world.overrides
            rank = (network.prefixlen, True, -row.index)
            if plain in network and may and (best is None or rank > best):
                best, found = rank, row
    return found if best is not None and best[1] else None


def read(text: bytes) -> list[tuple[Network, TargetKind, str]]:
    targets = [target for target in iterate(text) if target.kind not in NAME_KINDS]
    return [(ip_network(each.value), each.kind, each.value) for each in targets]


def networks_of(text: bytes) -> list[Network]:
    return [network for network, _, _ in read(text)]
