"""What decides a name: the same as the oracle over the whole lists, and why."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.name import Name
from enforcer.core.policy import Pins
from enforcer.core.state import in_force
from enforcer.core.verdict import Action, Cause, Denial, Rules, decide
from enforcer.errors import NotFoundError
from enforcer.services.explain import explain
from enforcer.services.explain_lines import find_line
from tests.people import Land

A = 1
NS = 2

LABELS = st.sampled_from(["a", "b", "c", "a-b", "ab"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "org"]))
LISTS = st.sets(st.tuples(st.sampled_from(["exact", "subtree"]), NAMES), min_size=1, max_size=12)


def text_of(targets):
    return b"".join(sorted(f"{kind} {name}\n".encode() for kind, name in targets))


def land_with(lists, core=b"", protected=b""):
    """Return a land with an order in force for each list, and a reader of all of them."""
    pins = [sha256(text).hexdigest() if text else None for text in (core, protected)]
    land = Land.founded(pins=Pins(*pins, None, None))
    for text in lists:
        land.in_force_order(text)
    texts = {sha256(text).hexdigest(): text for text in (*lists, core, protected)}

    def read(digest):
        if digest not in texts:
            raise NotFoundError("it is not here", advice="Fetch it.")
        return texts[digest]

    return land, read, texts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(LISTS, min_size=1, max_size=3),
    st.one_of(st.just(set()), LISTS),
    st.one_of(st.just(set()), LISTS),
    st.lists(NAMES, min_size=1, max_size=20),
    st.sampled_from([A, NS]),
)
def test_it_agrees_with_the_oracle_over_whole_lists(lists, core, protected, names, qtype):
    texts = [text_of(each) for each in lists]
    core, protected = text_of(core), text_of(protected)
    land, read, held = land_with(texts, core, protected)
    rows = in_force(land.state, land.now_ms)
    orders = [(row, held[row.target_list_sha256]) for row in rows]
    oracle = Rules(orders, core=core, protected=protected)
    for name in map(Name.from_text, names):
        said = explain(land.state, read, name, qtype, land.now_ms)
        assert said.verdict == decide(oracle, name, qtype, land.now_ms)
        if said.verdict.cause is Cause.ORDER:
            lines = held[said.line.list_sha256].split(b"\n")
            assert lines[said.line.number - 1].decode() == said.line.text


@given(LISTS, NAMES)
def test_bisection_finds_exactly_the_lines_that_are_there(targets, name):
    text = text_of(targets)
    for line in text.split(b"\n")[:-1]:
        at = find_line(text, line)
        assert text[at : at + len(line) + 1] == line + b"\n"
    absent = f"exact {name}".encode()
    assert (find_line(text, absent) is None) == (absent + b"\n" not in text)
    assert find_line(b"", absent) is None


def test_it_names_the_order_the_line_and_the_row():
    land, read, _ = land_with([b"exact a.org\nsubtree bad.org\n"])
    said = explain(land.state, read, Name.from_text("www.bad.org"), A, land.now_ms)
    assert said.verdict.action is Action.BLOCK
    assert said.verdict.denial is Denial.NXDOMAIN
    assert (said.line.text, said.line.number, said.row) == ("subtree bad.org", 2, 2)
    assert said.order.index == 7
    assert said.also == ()


def test_a_second_order_at_the_same_name_takes_over_later():
    land, read, _ = land_with([b"exact a.org\n", b"exact a.org\nexact c.org\n"])
    said = explain(land.state, read, Name.from_text("a.org"), A, land.now_ms)
    assert (said.order.index, said.row) == (7, 3)
    assert [order.index for order in said.also] == [9]


def test_an_order_that_matches_at_a_parent_is_mentioned():
    land, read, _ = land_with([b"subtree org.org\n", b"exact a.org.org\n"])
    said = explain(land.state, read, Name.from_text("a.org.org"), A, land.now_ms)
    assert (said.order.index, said.row) == (9, 2)
    assert [order.index for order in said.also] == [7]


def test_a_protected_name_inside_makes_the_denial_nodata():
    land, read, _ = land_with([b"subtree org.org\n"], protected=b"exact www.org.org\n")
    said = explain(land.state, read, Name.from_text("x.org.org"), A, land.now_ms)
    assert said.verdict.denial is Denial.NODATA
    passed = explain(land.state, read, Name.from_text("www.org.org"), A, land.now_ms)
    assert (passed.verdict.cause, passed.row) == (Cause.PROTECTED_LIST, 2)
    assert passed.line.text == "exact www.org.org"


def test_a_name_that_ends_alike_is_not_below():
    land, read, _ = land_with([b"subtree bad.org\n"], core=b"subtree notbad.org\n")
    said = explain(land.state, read, Name.from_text("bad.org"), A, land.now_ms)
    assert said.verdict.denial is Denial.NXDOMAIN


def test_an_order_whose_list_is_missing_is_named_and_not_guessed():
    land, _, _ = land_with([b"exact a.org\n"])

    def nothing(digest):
        raise NotFoundError("it is not here", advice="Fetch it.")

    said = explain(land.state, nothing, Name.from_text("a.org"), A, land.now_ms)
    assert said.verdict.action is Action.PASS
    assert [order.index for order in said.missing] == [7]


def test_a_missing_protected_list_is_an_error_not_an_answer():
    land, _, _ = land_with([b"exact a.org\n"], core=b"exact b.org\n")

    def nothing(digest):
        raise NotFoundError("it is not here", advice="Fetch it.")

    with pytest.raises(NotFoundError):
        explain(land.state, nothing, Name.from_text("a.org"), A, land.now_ms)
