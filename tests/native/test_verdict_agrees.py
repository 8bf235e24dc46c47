"""Law 9: the compiled table decides as the one Python function does, on every input."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer.core.name import ROOT, Name
from enforcer.core.target import Target, TargetKind
from enforcer.core.verdict import Cause, decide
from tests.native.worlds import (
    QTYPES,
    World,
    around,
    assert_addresses_agree,
    assert_names_agree,
    near,
    placed,
    wire_or_none,
    worlds,
)
from tests.tables import order_row, target_list


def assert_agree(world: World, qnames: list[Name]) -> None:
    assert_names_agree(world.rules(), world.table(), qnames, QTYPES)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.binary(min_size=1, max_size=63), st.data())
def test_table_and_function_agree_on_random_worlds(
    world: World, octets: bytes, data: st.DataObject
):
    assert_agree_on_some(world, octets, data)


@pytest.mark.long
@settings(max_examples=1500, deadline=None)
@given(worlds(), st.binary(min_size=1, max_size=63), st.data())
def test_table_and_function_agree_on_thousands_of_worlds(
    world: World, octets: bytes, data: st.DataObject
):
    assert_agree_on_some(world, octets, data)


def assert_agree_on_some(world: World, octets: bytes, data: st.DataObject) -> None:
    names, networks = placed([*(text for _, text in world.orders), world.core, world.protected])
    chosen = data.draw(st.lists(st.sampled_from(names), max_size=4)) if names else []
    qnames = [name for text in chosen for name in near(Name.from_text(text), octets)]
    qtypes = data.draw(st.lists(st.sampled_from(QTYPES), min_size=1, max_size=3))
    rules, table = world.rules(), world.table()
    assert_names_agree(rules, table, [ROOT, *qnames], qtypes)
    few = data.draw(st.lists(st.sampled_from(networks), max_size=3)) if networks else []
    assert_addresses_agree(rules, table, [one for network in few for one in around(network)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=63), max_size=127))
@example([b"A"] * 127)
@example([b"EXAMPLE", b"Org"])
@example([b"ex\0mple", b"org"])
@example([b"www", b"example\0org"])
@example([b"x" * 63, b"x" * 63, b"x" * 63, b"y" * 61])
def test_any_octets_in_a_name_are_decided_alike(parts: list[bytes]):
    qname = wire_or_none(parts)
    if qname is not None:
        rules, table = EXAMPLE.rules(), EXAMPLE_TABLE
        assert table.decide(qname.wire, 1, 1500) == decide(rules, qname, 1, 1500)


LONG = ["a." * 126 + "a", ".".join(["x" * 63] * 3 + ["y" * 61])]
LIST = target_list("subtree example.org", "exact www.example.com", *(f"subtree {n}" for n in LONG))
EXAMPLE = World([(order_row(5, LIST), LIST)])
EXAMPLE_TABLE = EXAMPLE.table()


def test_case_in_the_query_means_nothing():
    lower = EXAMPLE_TABLE.decide(Name.from_text("www.example.org").wire, 1, 1500)
    upper = EXAMPLE_TABLE.decide(b"\3wWw\7EXAMPLE\3Org\0", 1, 1500)
    assert upper == lower
    assert lower.cause is Cause.ORDER


def test_only_ascii_letters_have_a_case():
    text = target_list(*(f"exact {octet}.example.org" for octet in "az09-_"))
    world = World([(order_row(5, text), text)])
    rules, table = world.rules(), world.table()
    blocked = bytearray()
    for octet in range(256):
        wire = bytes([1, octet]) + b"\7example\3org\0"
        decided = table.decide(wire, 1, 1500)
        assert decided == decide(rules, Name.from_wire(wire), 1, 1500)
        if decided.cause is Cause.ORDER:
            blocked.append(octet)
    assert blocked == b"-09AZ_az"


def test_an_escaped_dot_is_no_border_between_labels():
    assert EXAMPLE_TABLE.decide(Name.from_text(r"www.example\.org").wire, 1, 1500).zone is None
    assert EXAMPLE_TABLE.decide(Name.from_text(r"www\.example.org").wire, 1, 1500).zone is None


def test_exact_and_subtree_at_one_name_both_decide():
    text = target_list("exact example.org", "subtree example.org")
    assert_agree(World([(order_row(5, text), text)]), near(Name.from_text("example.org"), b"www"))


def test_several_orders_take_over_from_one_another():
    text = target_list("exact a.example.org", "subtree example.org")
    rows = [
        order_row(9, text, from_ms=0, until_ms=1000),
        order_row(3, text, from_ms=1000, until_ms=1001),
        order_row(4, text, from_ms=1000, until_ms=3000),
    ]
    assert_agree(World([(row, text) for row in rows]), near(Name.from_text("a.example.org"), b"b"))


@pytest.mark.parametrize("pass_rule", ["exact", "subtree"])
@pytest.mark.parametrize("layer", ["core", "protected"])
def test_pass_rules_above_at_and_below_an_order_agree(layer: str, pass_rule: str):
    text = target_list("subtree b.example.org", "exact b.example.org")
    for place in ("example.org", "b.example.org", "a.b.example.org", "c.example.org"):
        rules = target_list(f"{pass_rule} {place}")
        kept = {"core": rules} if layer == "core" else {"protected": rules}
        world = World([(order_row(5, text), text)], **kept)
        assert_agree(world, near(Name.from_text("a.b.example.org"), b"x"))


def test_an_override_holds_for_its_order_and_target_alone():
    text = target_list("exact example.org", "subtree example.org")
    rows = [order_row(index, text) for index in (2, 5, 7)]
    overrides = frozenset({(5, Target(TargetKind.SUBTREE, "example.org"))})
    world = World([(row, text) for row in rows], protected=text, overrides=overrides)
    assert_agree(world, near(Name.from_text("example.org"), b"www"))
    decided = world.table().decide(Name.from_text("www.example.org").wire, 1, 1500)
    assert decided.order == rows[1]
    assert world.table().decide(Name.from_text("example.org").wire, 1, 1500).order is None


def test_deep_queries_below_shallow_targets_agree():
    qname = Name.from_text("a." * 120 + "example.org")
    assert_agree(EXAMPLE, [qname, Name.from_text("a." * 125 + "org")])


def test_an_empty_table_passes_everything():
    assert_agree(World([]), [ROOT, Name.from_text("example.org")])


def test_every_prefix_length_is_told_from_its_neighbours():
    lines = [f"net 192.0.0.0/{length}" for length in range(16, 32)] + ["ip 192.0.0.0"]
    lines += [f"net 2001:db8::/{length}" for length in range(32, 128)] + ["ip 2001:db8::"]
    listed = [ip_network(line.split()[1]) for line in lines]
    for number, line in enumerate(lines):
        world = World([(order_row(5, text), text) for text in [target_list(line)]])
        nearby = listed[max(number - 1, 0) : number + 2]
        asked = [one for network in nearby for one in around(network)]
        assert_addresses_agree(world.rules(), world.table(), asked, times_ms=[1500])


def test_all_prefix_lengths_at_once_agree():
    lists = [target_list(f"net 192.0.0.0/{n}", f"net 2001:db8::/{n + 16}") for n in range(16, 32)]
    lists += [target_list(f"net 2001:db8::/{n}") for n in range(32, 128)]
    rows = [order_row(n, text, until_ms=1000 + n) for n, text in enumerate(lists)]
    world = World(list(zip(rows, lists, strict=True)))
    rules, table = world.rules(), world.table()
    for text in ("192.0.0.1", "2001:db8::1", "2001:db8:8000::", "::ffff:192.0.0.0"):
        for t_ms in range(1000, 1130, 3):
            assert_addresses_agree(rules, table, [ip_address(text)], times_ms=[t_ms])


@pytest.mark.parametrize("layer", ["core", "protected"])
@pytest.mark.parametrize("line", ["net 192.0.0.0/16", "net 192.0.2.0/24", "ip 192.0.2.7"])
def test_protected_prefixes_around_at_and_inside_an_order_agree(layer: str, line: str):
    text = target_list("net 192.0.2.0/24", "ip 192.0.2.9")
    kept = {layer: target_list(line)}
    world = World([(order_row(5, text), text)], **kept)
    asked = [ip_address(f"192.0.{third}.{last}") for third in (1, 2, 3) for last in (0, 7, 8, 9)]
    assert_addresses_agree(world.rules(), world.table(), asked)


def test_no_name_of_any_octets_is_taken_for_an_address():
    text = target_list("ip 192.0.2.7", "net 192.0.2.0/24")
    world = World([(order_row(5, text), text)])
    octets = bytes([32, 192, 0, 2, 7])
    wire = bytes([len(octets)]) + octets + b"\0"
    assert world.table().decide(wire, 1, 1500).cause is Cause.NO_MATCH
