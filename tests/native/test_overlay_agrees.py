"""Law 9 for changes: a base with an overlay decides as the function does on what counts now."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer._native.probe import Table
from enforcer.core.name import ROOT, Name
from enforcer.core.table import DnsMeasure, OrderRow
from enforcer.core.target import Target, iterate
from enforcer.core.verdict import Denial, Rules
from tests.native.worlds import (
    QTYPES,
    World,
    around,
    assert_addresses_agree,
    assert_names_agree,
    lists,
    near,
    placed,
    worlds,
)
from tests.tables import compile_overlay_bytes, order_row, target_list

Orders = list[tuple[OrderRow, bytes]]
Overrides = frozenset[tuple[int, Target]]


def overlay_on(base: World, base_sha256: str, now: Orders, overrides: Overrides) -> bytes:
    """Compile what has changed from `base` to `now`, as a node does."""
    stands = {(row.index, row.target_list_sha256, row.dns_measure) for row, _ in base.orders}
    return compile_overlay_bytes(
        base_sha256,
        [row for row, _ in now],
        [
            (row, text)
            for row, text in now
            if (row.index, row.target_list_sha256, row.dns_measure) not in stands
        ],
        core=base.core,
        protected=base.protected,
        overrides=overrides,
    )


@st.composite
def changed(draw: st.DrawFn, before: Orders) -> Orders:
    """Draw what the orders are after some ended, moved in time, changed or came new."""
    now: Orders = []
    for row, text in before:
        match draw(st.sampled_from(["keep", "keep", "keep", "end", "time", "list", "measure"])):
            case "keep":
                now.append((row, text))
            case "time":
                from_ms = draw(st.sampled_from([0, 1000, 2000]))
                now.append((replace(row, from_ms=from_ms, until_ms=from_ms + 1000), text))
            case "list":
                other = draw(lists)
                digest = order_row(row.index, other).target_list_sha256
                now.append((replace(row, target_list_sha256=digest), other))
            case "measure":
                measure = draw(st.sampled_from(list(DnsMeasure)[1:]))
                now.append((replace(row, dns_measure=measure), text))
    taken = {row.index for row, _ in before}
    for index in draw(st.lists(st.integers(0, 99), unique=True, max_size=2)):
        if index not in taken:
            # Often the very names of another order, so that both tables hold them.
            texts = [text for _, text in before]
            text = draw(st.one_of(lists, st.sampled_from(texts)) if texts else lists)
            now.append((order_row(index, text), text))
    return now


def assert_agree_through(data: st.DataObject, base: World, octets: bytes) -> None:
    """Hold a base and the overlays that follow one another on it against the function."""
    table = base.table()
    now, overrides = base.orders, base.overrides
    protected = list(iterate(base.protected))
    for _ in range(data.draw(st.integers(1, 3))):
        before = {row.index for row, _ in [*base.orders, *now]}
        now = data.draw(changed(now))
        overrides |= {
            (row.index, target)
            for row, _ in now
            for target in protected
            if row.index not in before and data.draw(st.booleans())
        }
        laid = table.with_overlay(overlay_on(base, table.header.body_sha256, now, overrides))
        rules = Rules(now, core=base.core, protected=base.protected, overrides=overrides)
        assert laid.orders() == sorted((row for row, _ in now), key=lambda row: row.index)
        assert laid.next_change_ms(1000) == next_change_ms(now, 1000)
        names, networks = placed([*(text for _, text in base.orders + now), base.protected])
        chosen = data.draw(st.lists(st.sampled_from(names), max_size=3)) if names else []
        qnames = [name for text in chosen for name in near(Name.from_text(text), octets)]
        qtypes = data.draw(st.lists(st.sampled_from(QTYPES), min_size=1, max_size=2))
        assert_names_agree(rules, laid, [ROOT, *qnames], qtypes)
        few = data.draw(st.lists(st.sampled_from(networks), max_size=3)) if networks else []
        assert_addresses_agree(rules, laid, [one for network in few for one in around(network)])


def next_change_ms(orders: Orders, t_ms: int) -> int | None:
    changes = {change for row, _ in orders for change in (row.from_ms, row.until_ms)}
    return min((change for change in changes if change > t_ms), default=None)


@settings(max_examples=40, deadline=None)
@given(st.data(), worlds(), st.binary(min_size=1, max_size=63))
def test_overlays_and_function_agree_on_random_changes(
    data: st.DataObject, base: World, octets: bytes
):
    assert_agree_through(data, base, octets)


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(st.data(), worlds(), st.binary(min_size=1, max_size=63))
def test_overlays_and_function_agree_on_thousands_of_changes(
    data: st.DataObject, base: World, octets: bytes
):
    assert_agree_through(data, base, octets)


OLD = target_list("exact a.example.org", "subtree example.net", "ip 192.0.2.7")
NEW = target_list("exact b.example.org", "subtree example.net", "net 192.0.2.0/24")
BASE = World([(order_row(3, OLD), OLD), (order_row(5, OLD), OLD)])
BASE_TABLE = BASE.table()


def laid_on_base(now: Orders, **kept: bytes) -> Table:
    """Return BASE with an overlay of the orders `now`."""
    world = replace(BASE, **kept)
    table = world.table()
    return table.with_overlay(overlay_on(world, table.header.body_sha256, now, frozenset()))


def order_of(table: Table, qname: str, t_ms: int = 1500) -> int | None:
    order = table.decide(Name.from_text(qname).wire, 1, t_ms).order
    return None if order is None else order.index


def order_of_address(table: Table, address: str) -> int | None:
    order = table.decide_address(ip_address(address), 1500).order
    return None if order is None else order.index


def test_an_empty_overlay_ends_every_order_of_the_base():
    assert order_of(BASE_TABLE, "a.example.org") == 3
    assert order_of_address(BASE_TABLE, "192.0.2.7") == 3
    laid = laid_on_base([])
    assert laid.orders() == []
    assert order_of(laid, "a.example.org") is order_of_address(laid, "192.0.2.7") is None


def test_what_ended_leaves_the_target_to_the_next_order_of_the_base():
    laid = laid_on_base(BASE.orders[1:])
    assert order_of(laid, "www.example.net") == 5
    assert order_of_address(laid, "192.0.2.7") == 5


def test_new_times_hold_for_the_names_in_the_base():
    row = replace(BASE.orders[0][0], from_ms=1400, until_ms=1450)
    laid = laid_on_base([(row, OLD), BASE.orders[1]])
    assert [order_of(laid, "a.example.org", t_ms) for t_ms in (1399, 1400, 1450)] == [5, 3, 5]


def test_an_earlier_order_that_comes_later_is_named_before_the_base():
    laid = laid_on_base([*BASE.orders, (order_row(1, NEW), NEW), (order_row(9, NEW), NEW)])
    assert order_of(laid, "example.net") == 1
    assert order_of(laid, "a.example.org") == 3
    assert order_of(laid, "b.example.org") == 1
    assert order_of_address(laid, "192.0.2.7") == 3
    assert order_of_address(laid, "192.0.2.8") == 1
    later = laid_on_base([*BASE.orders, (order_row(9, NEW), NEW)])
    assert order_of(later, "example.net") == 3
    between = [(order_row(0, b""), b""), *BASE.orders[1:], (order_row(4, NEW), NEW)]
    assert order_of(laid_on_base(between), "example.net") == 4


def test_an_order_of_another_list_or_measure_is_not_the_one_of_the_base():
    ((row, _), other) = BASE.orders
    changed_list = replace(row, target_list_sha256=order_row(3, NEW).target_list_sha256)
    for moved in (changed_list, replace(row, dns_measure=DnsMeasure.NONE)):
        laid = laid_on_base([(moved, b""), other])
        assert order_of(laid, "a.example.org") == 5


def test_a_protection_of_the_base_holds_against_what_is_new():
    kept = {"protected": target_list("exact bank.example.net", "net 192.0.2.0/24")}
    laid = laid_on_base([*BASE.orders, (order_row(9, NEW), NEW)], **kept)
    assert order_of(laid, "bank.example.net") is None
    assert order_of_address(laid, "192.0.2.8") is None
    assert order_of_address(laid, "192.0.2.7") == 3
    denial = laid.decide(Name.from_text("x.example.net").wire, 1, 1500).denial
    assert denial is Denial.NODATA


def test_a_protection_inside_a_target_that_only_the_overlay_has_is_known_there():
    new = target_list("subtree example.com")
    kept = {"protected": target_list("exact bank.example.com")}
    laid = laid_on_base([*BASE.orders, (order_row(9, new), new)], **kept)
    assert order_of(laid, "bank.example.com") is None
    assert laid.decide(Name.from_text("x.example.com").wire, 1, 1500).denial is Denial.NODATA
    assert laid.decide(Name.from_text("x.example.net").wire, 1, 1500).denial is Denial.NXDOMAIN


def test_overlays_replace_one_another_and_the_base_stays_itself():
    first = laid_on_base([(order_row(9, NEW), NEW)])
    assert order_of(first, "b.example.org") == 9
    second = first.with_overlay(
        overlay_on(BASE, first.header.body_sha256, BASE.orders, frozenset())
    )
    assert order_of(second, "b.example.org") is None
    assert (order_of(first, "a.example.org"), order_of(second, "a.example.org")) == (None, 3)
    assert first.header == BASE_TABLE.header
    assert first.overlay_header is not None
    assert first.overlay_header.base_sha256 == BASE_TABLE.header.body_sha256


def test_the_next_change_is_the_first_begin_or_end_after_the_time_given():
    rows = [order_row(1, from_ms=1000, until_ms=1300), order_row(2, from_ms=1200, until_ms=2**62)]
    table = World([(row, b"") for row in rows]).table()
    times_ms = [0, 999, 1000, 1199, 1200, 1299, 1300, 2**62]
    changes = [table.next_change_ms(t_ms) for t_ms in times_ms]
    assert changes == [1000, 1000, 1200, 1200, 1300, 1300, 2**62, None]
    assert (
        table.with_overlay(
            compile_overlay_bytes(table.header.body_sha256, rows[:1])
        ).next_change_ms(1300)
        is None
    )
