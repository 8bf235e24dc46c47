"""Names: text and wire are two spellings of one thing, within RFC 1035's limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.name import LABELS_MAX, ROOT, WIRE_OCTETS_MAX, Name
from enforcer.errors import InputError


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Any valid wire name, of octets of any value."""
    wire = b""
    for label in draw(st.lists(st.binary(min_size=1, max_size=63), max_size=130)):
        if len(wire) + 1 + len(label) >= WIRE_OCTETS_MAX:
            break
        wire += bytes([len(label)]) + label
    return wire + b"\0"


@given(wires())
def test_text_and_wire_round_trip_for_any_octets(wire: bytes):
    name = Name.from_wire(wire)
    assert Name.from_text(name.text) == name
    assert name.text.isascii()
    assert name.text.isprintable()
    assert Name.from_wire(name.wire) == name


@given(wires())
def test_names_are_equal_whatever_the_case(wire: bytes):
    assert Name.from_wire(wire.upper()) == Name.from_wire(wire) == Name.from_wire(wire.lower())


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        (".", b"\0"),
        ("org", b"\3org\0"),
        ("Example.ORG", b"\7example\3org\0"),
        ("example.org.", b"\7example\3org\0"),
        (r"a\.b.org", b"\3a.b\3org\0"),
        (r"\000\255.org", b"\2\0\xff\3org\0"),
        (r"\065.org", b"\1a\3org\0"),
        (r"\\.org", b"\1\\\3org\0"),
        ("*.org", b"\1*\3org\0"),
        ("1/2.org", b"\x031/2\3org\0"),
    ],
)
def test_presentation_form_is_read_as_rfc_1035_says(text: str, wire: bytes):
    assert Name.from_text(text).wire == wire


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"\0", "."),
        (b"\3a.b\3org\0", r"a\.b.org"),
        (b"\1 \3org\0", r"\032.org"),
        (b"\1\\\3org\0", r"\\.org"),
        (b'\2"(\3org\0', r"\"\(.org"),
        (b"\2\xc3\xa9\3org\0", r"\195\169.org"),
    ],
)
def test_octets_outside_of_host_names_are_escaped(wire: bytes, text: str):
    assert Name.from_wire(wire).text == text


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("..", 1),
        (".org", 1),
        ("a..org", 3),
        ("a b.org", 2),
        ("é.org", 1),
        ("a.\x7f", 3),
        (r"a.\256", 3),
        (r"a.\25", 3),
        ("a.b\\", 4),
        (r"a.\1b", 3),
        ("a\n.org", 2),
        ("x" * 64 + ".org", 65),
        ("a." * 127 + "a", 1),
    ],
)
def test_malformed_text_is_refused_with_its_column(text: str, column: int):
    with pytest.raises(InputError) as caught:
        Name.from_text(text)
    assert caught.value.data["column"] == column


@pytest.mark.parametrize(
    ("wire", "offset"),
    [
        (b"", 0),
        (b"\1a", 2),
        (b"\3ab", 4),
        (b"\0\0", 1),
        (b"\1a\0\1", 3),
        (b"\x40" + b"a" * 64 + b"\0", 0),
        (b"\1a\xc0\0", 2),
        (b"\1a" * 127 + b"\1\0", 255),
    ],
)
def test_malformed_wire_is_refused_with_its_offset(wire: bytes, offset: int):
    with pytest.raises(InputError) as caught:
        Name.from_wire(wire)
    assert caught.value.data["offset"] == offset


def test_the_limits_themselves_are_allowed():
    longest = Name.from_text(".".join(["x" * 63] * 3 + ["y" * 61]))
    assert len(longest.wire) == WIRE_OCTETS_MAX
    deepest = Name.from_text("a." * 126 + "a")
    assert len(deepest.labels) == LABELS_MAX
    assert len(deepest.wire) == WIRE_OCTETS_MAX


def test_ancestors_end_with_the_root():
    name = Name.from_text("a.b.org")
    assert [str(ancestor) for ancestor in name.ancestors()] == ["a.b.org", "b.org", "org", "."]
    assert ROOT.parent is ROOT
    assert list(ROOT.ancestors()) == [ROOT]


def test_below_means_at_a_border_between_labels():
    zone = Name.from_text("example.org")
    assert Name.from_text("www.example.org").is_below(zone)
    assert zone.is_at_or_below(zone)
    assert not zone.is_below(zone)
    assert not Name.from_text("badexample.org").is_at_or_below(zone)
    assert not Name.from_text("org").is_at_or_below(zone)
    assert zone.is_below(ROOT)
    # The octets of the zone at the end, but inside of a label.
    assert not Name.from_wire(b"\x0fxxx\7example\3org\0").is_at_or_below(zone)


@given(wires(), wires())
def test_below_agrees_with_the_list_of_ancestors(one: bytes, other: bytes):
    name, zone = Name.from_wire(one), Name.from_wire(other)
    assert name.is_at_or_below(zone) == (zone in list(name.ancestors()))
    assert all(name.is_at_or_below(ancestor) for ancestor in name.ancestors())
