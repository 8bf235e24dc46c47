"""What a person reads before signing: words, and no codes that only a program has."""

from dataclasses import replace

import pytest

from enforcer.cli.output import counted, when
from enforcer.cli.show import lines, order_lines, sentence
from enforcer.core.entry import parse, parse_payload
from enforcer.core.guard import Guard
from enforcer.core.order import Measure
from enforcer.core.policy import DAY_MS
from enforcer.core.table import DnsMeasure, IpMeasure
from tests.people import Land

TWO = b"exact bad.example.org\nexact worse.example.org\n"


@pytest.fixture
def land():
    return Land.founded()


def last(land):
    return parse_payload(parse(land.leaves[-1]).envelope)


def test_things_are_counted_as_people_count():
    assert [counted(count, "node") for count in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]


def test_a_proposal_says_how_much_it_asks_for(land):
    assert "that 1 target be blocked" in sentence(land.order())
    assert "that 2 targets be blocked" in sentence(land.order(TWO))


def test_an_order_says_what_becomes_of_names_and_of_addresses(land):
    plain = order_lines(land.order())["measure"]
    assert plain.endswith("(NEGATIVE); addresses are left alone (NONE)")
    dropped = Measure(DnsMeasure.NONE, IpMeasure.DROP)
    shown = order_lines(land.order(measure=dropped))["measure"]
    assert shown.startswith("names are left alone (NONE); packets")


def test_a_review_before_the_end_says_what_comes_without_it(land):
    order = land.order()
    assert order_lines(order)["review by"] == when(order.review_due_at_ms)
    sooner = replace(order, review_due_at_ms=order.expires_at_ms - DAY_MS)
    shown = order_lines(sooner)
    assert shown["until"] == when(order.expires_at_ms)
    assert shown["review by"].endswith("; it ends then if nobody does")


def test_a_hash_is_called_one(land):
    shown = order_lines(land.order())
    assert shown["reasons"] == f"SHA-256 {land.order().statement_of_reasons_sha256}"
    assert shown["decision text"] is None


def test_a_hold_says_who_or_what_put_it(land):
    ref = land.propose(TWO)
    land.hold(ref, Guard.PERSON, by=land.oversight)
    assert sentence(last(land)) == "Puts the order on hold by hand: it blocks nothing."
    land.hold(land.propose(TWO), Guard.GROWTH)
    assert "on hold for GROWTH" in sentence(last(land))


def test_who_was_told_is_told_in_words(land):
    ref = land.propose(TWO)
    land.notify(ref)
    assert lines(last(land))["told"] in sentence(last(land))
    assert lines(last(land))["told"].islower()
