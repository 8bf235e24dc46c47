"""What decides packets of an address: the order, its line, and what else stands there."""

from ipaddress import ip_address

import pytest

from enforcer.core.order import Measure
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.core.verdict import Action, Cause
from enforcer.errors import NotFoundError
from enforcer.services.explain_address import explain_address
from tests.people import Land

REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)
NAMES = Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE)
OUTER = b"net 192.0.2.0/24\n"
INNER = b"ip 192.0.2.7\nnet 2001:db8:7::/48\n"


@pytest.fixture
def land():
    return Land.founded()


@pytest.fixture
def explain(land):
    lists = {}

    def order(text, measure=REJECT, *, is_here=True):
        ref = land.in_force_order(text, measure=measure)
        if is_here:
            lists[land.state.orders[ref.entry_index].payload.target_list_sha256] = text
        return ref

    def text_of(sha256):
        if sha256 not in lists:
            raise NotFoundError("it is not here", advice="Copy it.")
        return lists[sha256]

    def explain(address, t_ms=None):
        now_ms = land.now_ms if t_ms is None else t_ms
        return explain_address(land.state, text_of, ip_address(address), now_ms)

    explain.order = order
    return explain


def test_the_longest_prefix_decides_and_the_others_are_named(explain):
    outer, inner = explain.order(OUTER), explain.order(INNER)
    said = explain("192.0.2.7")
    assert (said.verdict.action, said.order.index) == (Action.BLOCK, inner.entry_index)
    assert (said.line.text, said.line.number) == ("ip 192.0.2.7", 1)
    assert [each.index for each in said.also] == [outer.entry_index]
    assert explain("192.0.2.8").line.text == "net 192.0.2.0/24"
    assert explain("2001:db8:7::9").order.index == inner.entry_index
    assert explain("198.51.100.1").verdict.cause is Cause.NO_MATCH


def test_an_order_decides_from_its_beginning_to_its_end(land, explain):
    ref = explain.order(INNER)
    until_ms = land.state.orders[ref.entry_index].until_ms
    assert explain("192.0.2.7", until_ms - 1).verdict.action is Action.BLOCK
    assert explain("192.0.2.7", until_ms).verdict.action is Action.PASS


def test_an_order_for_names_decides_no_packets(explain):
    explain.order(b"exact bad.example.org\n", NAMES)
    said = explain("192.0.2.7")
    assert (said.verdict.action, said.also, said.missing) == (Action.PASS, (), ())


def test_an_ipv4_address_inside_ipv6_is_the_ipv4_address(explain):
    explain.order(INNER)
    said = explain("::ffff:192.0.2.7")
    assert (said.verdict.action, said.address) == (Action.BLOCK, ip_address("192.0.2.7"))


def test_an_order_whose_list_is_not_here_is_named(explain):
    ref = explain.order(INNER, is_here=False)
    (missing,) = explain("192.0.2.7").missing
    assert missing.index == ref.entry_index
