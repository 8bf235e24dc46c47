"""What follows a block: appeals, notices, and the change of roots and of the log's key."""

from __future__ import annotations

import pytest

from enforcer.backends.keys import PrivateKey
from enforcer.core.life import OrderStatus
from enforcer.core.note import VerifierKey
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.remedy import AppealOutcome
from enforcer.core.state import in_force
from tests.people import ORIGIN, Land, seal


@pytest.fixture
def land() -> Land:
    land = Land.founded()
    land.register(land.control, land.officer)
    return land


def blocked(land: Land) -> list[int]:
    return [row.index for row in in_force(land.state, land.now_ms)]


# Appeals.


def test_a_granted_appeal_ends_all_versions_for_good(land):
    first = land.in_force_order()
    ref = land.propose(order_id=first.order_id, version=2, supersedes=first)
    assert land.approve(ref).is_effective
    appeal = land.appeal(ref).index
    assert blocked(land) == [ref.entry_index]
    assert land.decide(ref, appeal, AppealOutcome.GRANTED).is_effective
    assert blocked(land) == []
    assert land.order_record(ref).status is OrderStatus.STOPPED
    again = land.order(order_id=ref.order_id, version=3, supersedes=ref)
    assert "a stop is for good" in land.record(seal(again, land.proposer.key)).refusal.message


def test_a_dismissed_appeal_leaves_the_order(land):
    ref = land.in_force_order()
    appeal = land.appeal(ref).index
    assert land.decide(ref, appeal, AppealOutcome.DISMISSED).is_effective
    assert blocked(land) == [ref.entry_index]
    (record,) = land.order_record(ref).appeals
    assert (record.index, record.outcome) == (appeal, AppealOutcome.DISMISSED)


def test_oversight_alone_decides_an_appeal_and_once(land):
    ref = land.in_force_order()
    appeal = land.appeal(ref).index
    for person in (land.proposer, land.approver, land.control, land.officer):
        assert not land.decide(ref, appeal, AppealOutcome.GRANTED, person).is_effective
    assert land.decide(ref, appeal, AppealOutcome.DISMISSED).is_effective
    assert "DISMISSED" in land.decide(ref, appeal, AppealOutcome.GRANTED).refusal.message
    assert blocked(land) == [ref.entry_index]


def test_a_decision_names_an_appeal_of_its_own_order(land):
    ref, other = land.in_force_order(), land.in_force_order()
    appeal = land.appeal(other).index
    refusal = land.decide(ref, appeal, AppealOutcome.GRANTED).refusal
    assert refusal.data["field"] == "appeal_index"


def test_an_appeal_outlives_the_order(land):
    ref = land.in_force_order()
    land.stop(ref)
    appeal = land.appeal(ref)
    assert appeal.is_effective
    assert land.decide(ref, appeal.index, AppealOutcome.GRANTED).is_effective


def test_open_appeals_are_bounded(land):
    ref = land.in_force_order()
    appeals = [land.appeal(ref).index for _ in range(16)]
    assert "wait for a decision" in land.appeal(ref).refusal.message
    assert land.decide(ref, appeals[0], AppealOutcome.DISMISSED).is_effective
    assert land.appeal(ref).is_effective


# Notices.


def test_a_notice_is_recorded_and_changes_nothing(land):
    ref = land.in_force_order()
    before = land.order_record(ref)
    assert land.notify(ref).is_effective
    assert land.notify(ref, land.control).is_effective
    assert land.order_record(ref) == before


def test_a_notice_from_the_future_or_from_a_stranger_is_refused(land):
    ref = land.in_force_order()
    early = land.notify(ref, sent_at_ms=land.now_ms + DAY_MS)
    assert early.refusal.data["field"] == "sent_at_ms"
    assert not land.notify(ref, land.stranger).is_effective


# Roots.


def test_new_roots_take_over_with_both_thresholds(land):
    new = [PrivateKey.generate() for _ in range(3)]
    public = tuple(key.public_key for key in new)
    few = land.change_roots(public, 2, land.roots[0], *new)
    assert "1 root keys signed, and 2 must" in few.refusal.message
    unwilling = land.change_roots(public, 2, *land.roots[:2], new[0])
    assert "1 root keys signed" in unwilling.refusal.message
    assert land.change_roots(public, 2, *land.roots[:2], *new[:2]).is_effective
    assert not land.record(seal(land.policy(), *land.roots[:2])).is_effective
    assert land.record(seal(land.policy(), *new[1:])).is_effective


def test_a_root_may_stay_and_counts_on_both_sides(land):
    new = PrivateKey.generate()
    public = (*(key.public_key for key in land.roots[:2]), new.public_key)
    assert land.change_roots(public, 2, *land.roots[:2]).is_effective


def test_roots_that_are_not_sound_change_nothing(land):
    new = PrivateKey.generate().public_key
    key = land.approver.key
    for public, threshold in (
        ((new, new), 2),
        ((new, land.roots[0].public_key), 3),
        ((new, bytes(32)), 2),
        ((key.public_key, new), 2),
    ):
        effect = land.change_roots(public, threshold, *land.roots[:2])
        assert effect.refusal.data["field"] == "public_keys"


def test_a_stranger_among_the_signatures_spoils_the_change(land):
    new = [PrivateKey.generate() for _ in range(2)]
    public = tuple(key.public_key for key in new)
    effect = land.change_roots(public, 2, *land.roots[:2], *new, land.approver.key)
    assert "by no root key" in effect.refusal.message


# The log's key.


def test_the_roots_put_another_log_key_in_force(land):
    key = VerifierKey(ORIGIN, PrivateKey.generate().public_key).text
    assert not land.rotate_log_key(key, land.roots[0]).is_effective
    effect = land.rotate_log_key(key, *land.roots[:2])
    assert effect.is_effective
    assert (land.state.log_vkey, land.state.log_key_index) == (key, effect.index)
    assert "already" in land.rotate_log_key(key, *land.roots[:2]).refusal.message


def test_a_log_key_is_a_vkey_of_this_ledger(land):
    elsewhere = VerifierKey("example.net/other", PrivateKey.generate().public_key).text
    for text in ("nonsense", elsewhere):
        refusal = land.rotate_log_key(text, *land.roots[:2]).refusal
        assert refusal.data["field"] == "log_vkey"


# The policy.


def test_a_later_policy_gives_up_no_guard():
    hashes = [character * 64 for character in "abcd"]
    land = Land.founded(pins=Pins(*hashes))
    for at in range(4):
        fewer = [None if number == at else each for number, each in enumerate(hashes)]
        effect = land.record(seal(land.policy(pins=Pins(*fewer)), *land.roots[:2]))
        assert effect.refusal.data["field"].startswith("pins.")
    newer = Pins(*("e" * 64 for _ in hashes))
    assert land.record(seal(land.policy(pins=newer), *land.roots[:2])).is_effective
