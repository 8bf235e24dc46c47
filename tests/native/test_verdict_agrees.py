"""Law 9: the compiled table decides as the one Python function does, on every input."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer._native.probe import Table
from enforcer.core.name import ROOT, Name
from enforcer.core.table import DnsMeasure, OrderRow
from enforcer.core.target import Target, TargetKind
from enforcer.core.verdict import Cause, Rules, decide
from tests.tables import compile_bytes, order_row, target_list

QTYPES = [1, 2, 6, 15, 28, 43, 48, 65, 255, 0, 65535]
TIMES_MS = [0, 999, 1000, 1001, 1999, 2000, 2001, 3000, 2**62]


@dataclass(frozen=True)
class World:
    """Everything that can decide, as both implementations take it."""

    orders: list[tuple[OrderRow, bytes]]
    core: bytes = b""
    protected: bytes = b""
    overrides: frozenset[tuple[int, Target]] = frozenset()

    def rules(self) -> Rules:
        return Rules(
            self.orders, core=self.core, protected=self.protected, overrides=self.overrides
        )

    def table(self) -> Table:
        return Table(
            compile_bytes(
                self.orders, core=self.core, protected=self.protected, overrides=self.overrides
            )
        )


def assert_agree(world: World, qnames: list[Name]) -> None:
    rules, table = world.rules(), world.table()
    for qname in qnames:
        for qtype in QTYPES:
            for t_ms in TIMES_MS:
                expected = decide(rules, qname, qtype, t_ms)
                assert table.decide(qname.wire, qtype, t_ms) == expected, (qname, qtype, t_ms)


# Few labels, so that names share suffixes and meet; long ones, so that limits are met too.
labels = st.sampled_from(["a", "b", "c1", "_x", "x" * 63, "y" * 62, "0"])
tops = st.sampled_from(["org", "com", "z" * 63])
short_names = st.builds(
    lambda inner, top: ".".join([*inner, top]), st.lists(labels, min_size=1, max_size=3), tops
).filter(lambda text: len(text) <= 253)
long_names = st.sampled_from(
    [
        "a." * 126 + "a",  # 127 labels
        "a." * 125 + "a",
        ".".join(["x" * 63] * 3 + ["y" * 61]),  # 255 octets
        ".".join(["x" * 63] * 3 + ["y" * 59, "a"]),
    ]
)
names = st.one_of(short_names, short_names, short_names, long_names)
targets = st.builds(Target, st.sampled_from([TargetKind.EXACT, TargetKind.SUBTREE]), names)
lists = st.lists(targets, max_size=6).map(
    lambda chosen: target_list(*(target.line.decode().rstrip("\n") for target in chosen))
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    indices = draw(st.lists(st.integers(0, 99), unique=True, max_size=4))
    orders = []
    for index in indices:
        text = draw(lists)
        from_ms = draw(st.sampled_from([0, 1000, 2000]))
        row = order_row(
            index,
            text,
            from_ms=from_ms,
            until_ms=from_ms + draw(st.sampled_from([0, 1, 1000])),
            dns_measure=draw(st.sampled_from(list(DnsMeasure)[1:])),
        )
        orders.append((row, text))
    protected_targets = draw(st.lists(targets, max_size=3))
    protected = target_list(*(target.line.decode().rstrip("\n") for target in protected_targets))
    overrides = frozenset(
        (index, target) for index in indices for target in protected_targets if draw(st.booleans())
    )
    core = draw(st.just(b"") | lists)
    return World(orders, core, protected, overrides)


def wire_or_none(labels: list[bytes]) -> Name | None:
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return Name.from_wire(wire) if len(wire) <= 255 and len(labels) <= 127 else None


def near(name: Name, octets: bytes) -> list[Name]:
    """Return the name, its parents, a child, a sibling and near misses, where they fit."""
    parts = list(name.labels)
    relatives = [
        [octets, *parts],
        [b"a", *parts],
        [octets, *parts[1:]],
        [b"\0", *parts],
        [*parts, b"a"],
        [parts[0] + octets[:1], *parts[1:]] if len(parts[0]) < 63 else parts,
    ]
    found = [wire_or_none(relative) for relative in relatives]
    return [*name.ancestors(), *(relative for relative in found if relative is not None)]


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
    texts = [text for _, text in world.orders] + [world.core, world.protected]
    placed = sorted({line.partition(b" ")[2] for text in texts for line in text.split(b"\n")[:-1]})
    chosen = data.draw(st.lists(st.sampled_from(placed), max_size=4)) if placed else []
    qnames = [name for value in chosen for name in near(Name.from_text(value.decode()), octets)]
    rules, table = world.rules(), world.table()
    qtypes = data.draw(st.lists(st.sampled_from(QTYPES), min_size=1, max_size=3))
    for qname in [ROOT, *qnames]:
        for qtype in qtypes:
            for t_ms in TIMES_MS:
                expected = decide(rules, qname, qtype, t_ms)
                assert table.decide(qname.wire, qtype, t_ms) == expected, (qname, qtype, t_ms)


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
