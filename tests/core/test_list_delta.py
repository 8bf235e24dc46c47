"""Which list follows which, and how long a delta may be."""

from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.list_delta import DELTA_BYTES_MAX, bases, delta_bytes_max, may_have_delta
from enforcer.core.order import PublicationMode
from enforcer.core.policy import Pins
from tests.people import Land, hidden, seal

OLD, NEW, NEWER = (b"exact n%d.example.org\n" % n for n in range(3))


def digest(text):
    return sha256(text).hexdigest()


@pytest.fixture
def land():
    return Land.founded()


def supersede(land, ref, targets, **changes):
    record = land.order_record(ref)
    return land.propose(
        targets,
        order_id=ref.order_id,
        version=record.payload.version + 1,
        supersedes=ref,
        **changes,
    )


def found(land, *texts):
    return bases(land.state, {digest(text) for text in texts})


def test_a_version_follows_the_one_that_it_supersedes_from_its_proposal_on(land):
    first = land.in_force_order(OLD)
    second = supersede(land, first, NEW)
    assert found(land, OLD, NEW) == {digest(NEW): digest(OLD)}
    land.approve(second)
    third = supersede(land, second, NEWER)
    assert found(land, OLD, NEW, NEWER) == {digest(NEW): digest(OLD), digest(NEWER): digest(NEW)}
    assert found(land, NEWER) == {digest(NEWER): digest(NEW)}
    land.approve(third)
    assert found(land, OLD) == {}


def test_the_same_list_again_follows_nothing(land):
    supersede(land, land.in_force_order(OLD), OLD)
    assert found(land, OLD) == {}


def test_a_list_that_is_or_was_sealed_has_no_part_in_any_delta(land):
    first = land.propose_hidden(PublicationMode.DELAYED)
    land.approve(first)
    land.publish(first)
    record = land.order_record(first)
    second = supersede(land, first, OLD)
    assert found(land, OLD) == {}
    land.approve(second)
    publication = hidden(PublicationMode.DELAYED, land.now_ms + 1_000_000)
    third = land.propose(OLD)
    land.approve(third)
    assert record.is_public
    order = land.order(NEW, order_id=third.order_id, version=2, supersedes=third)
    sealed = replace(order, publication=publication)
    land.record(seal(sealed, land.proposer.key))
    assert found(land, OLD, NEW, *(b"",)) == {}


def test_a_policys_names_follow_those_of_the_policy_before(land):
    for pins in (
        Pins(digest(OLD), digest(NEW), "1" * 64, None),
        Pins(digest(NEWER), digest(NEW), "2" * 64, None),
    ):
        assert land.record(seal(land.policy(pins=pins), *land.roots[:2])).is_effective
    assert bases(land.state, set(pins.lists)) == {digest(NEWER): digest(OLD)}
    assert bases(land.state, set()) == {}


def test_a_delta_is_at_most_a_quarter_of_its_list_and_of_short_lists_there_is_none():
    assert delta_bytes_max(4_095) == 0
    assert delta_bytes_max(4_096) == 1_024
    assert delta_bytes_max(1 << 40) == DELTA_BYTES_MAX


def test_no_delta_is_made_from_a_list_that_is_too_short_for_one():
    for base in (0, 1_000, 3_071):
        assert not may_have_delta(base)
        for longer in range(4_096, 40_000):  # a delta has all that the list is longer by
            assert delta_bytes_max(longer) < longer - base + 1
    assert may_have_delta(3_072)
    assert delta_bytes_max(4_096) >= 4_096 - 3_072
