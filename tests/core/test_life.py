"""The table of transitions: what it lists happens, and what it does not list cannot."""

from __future__ import annotations

import itertools

import pytest

from enforcer.core.entry import KINDS, OrderAct
from enforcer.core.guard import Guard
from enforcer.core.judge_remedies import SO_ALREADY
from enforcer.core.key import Category, Role
from enforcer.core.life import ENDED, TRANSITIONS, OrderStatus
from enforcer.core.order import (
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderPublished,
    PublicationMode,
)
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.core.remedy import AppealOutcome
from enforcer.core.state import in_force
from enforcer.core.table import Binding
from enforcer.errors import ConflictError
from tests.people import FULL, Land, Person, hidden, seal

HOUR_MS = 3_600_000
DELAYED = PublicationMode.DELAYED
STATUSES = [status for status in OrderStatus if status]
ACTS = sorted(TRANSITIONS, key=lambda act: act.__name__)


def fresh(**policy: object) -> Land:
    land = Land.founded()
    land.register(land.officer, land.other_officer, land.control)
    if policy:
        assert land.record(seal(land.policy(**policy), *land.roots[:2])).is_effective
    return land


def order_that_is(land: Land, status: OrderStatus, **changes: object):
    """Bring an order to a status by lawful acts alone."""
    delayed = changes.get("publication", FULL).publish_at_ms
    ref = land.propose_hidden(DELAYED, **changes) if delayed else land.propose(**changes)
    match status:
        case OrderStatus.PROPOSED:
            return ref
        case OrderStatus.HELD:
            assert land.hold(ref, Guard.PRIVATE_SUFFIX).is_effective
        case OrderStatus.REJECTED:
            assert land.reject(ref).is_effective
        case OrderStatus.APPROVED:
            assert land.approve(ref).is_effective
        case OrderStatus.STOPPED:
            assert land.approve(ref).is_effective
            assert land.stop(ref).is_effective
        case OrderStatus.SUPERSEDED:
            assert land.approve(ref).is_effective
            later = land.propose(order_id=ref.order_id, version=2, supersedes=ref, **changes)
            assert land.approve(later).is_effective
    assert land.order_record(ref).status is status
    return ref


def do(land: Land, act: type, ref, *, appeal: int | None = None):
    """Do the act by somebody who may, with fields that are right where it is allowed."""
    name = act.__name__
    if name == "OrderHeld":
        return land.hold(ref, Guard.GROWTH)
    if name == "HoldLifted":
        return land.lift(ref, Guard.PRIVATE_SUFFIX)
    if name == "OrderExtended":
        later = land.extension(ref, land.now_ms + 60 * DAY_MS)
        return land.record(seal(later, land.proposer.key, land.approver.key))
    if name == "AppealDecided":
        return land.decide(ref, appeal or 0, AppealOutcome.DISMISSED)
    if name == "OrderResumed":
        land.suspend(ref)
        return land.resume(ref)
    if name == "ReviewDone":
        return land.review(ref, land.now_ms + DAY_MS)
    if name == "OrderPublished":
        return land.publish(ref)
    by_name = {
        "OrderApproved": land.approve,
        "OrderRejected": land.reject,
        "OrderConfirmed": land.confirm,
        "OrderStopped": land.stop,
        "AssessmentRecorded": land.assess,
        "NotificationSent": land.notify,
        "AppealFiled": land.appeal,
        "OrderSuspended": land.suspend,
    }
    return by_name[name](ref)


def test_the_table_knows_every_act_about_orders():
    acts = {kind for kind in KINDS.values() if issubclass(kind, OrderAct)}
    assert acts == set(TRANSITIONS)
    assert OrderProposed not in acts


@pytest.mark.parametrize(("act", "status"), list(itertools.product(ACTS, STATUSES)))
def test_an_act_meets_an_order_only_where_the_table_says(act, status):
    land = fresh()
    kind = DecisionKind.EMERGENCY if act is OrderConfirmed else DecisionKind.ADMINISTRATIVE
    changes = {"decision_kind": kind}
    if kind is DecisionKind.EMERGENCY:
        until = land.now_ms + 48 * HOUR_MS
        changes |= {"expires_at_ms": until, "review_due_at_ms": until}
    if act is OrderPublished:
        changes |= {"publication": hidden(DELAYED, land.now_ms + DAY_MS)}
    ref = order_that_is(land, status, **changes)
    appeal = land.appeal(ref).index
    effect = do(land, act, ref, appeal=appeal)
    listed = TRANSITIONS[act].get(status)
    over = {OrderStatus.STOPPED, OrderStatus.REJECTED}
    if listed is None or (act.__name__ == "OrderStopped" and status in over):
        assert not effect.is_effective
        assert land.order_record(ref).status is status
        return
    assert effect.is_effective, effect.refusal
    expected = listed
    if act.__name__ == "HoldLifted":
        expected = OrderStatus.PROPOSED  # nobody had approved it
    assert land.order_record(ref).status is expected


def test_only_an_approved_order_has_a_row_in_the_table():
    for status in STATUSES:
        land = fresh()
        ref = order_that_is(land, status)
        blocked = {row.index for row in in_force(land.state, land.now_ms)}
        assert (ref.entry_index in blocked) == (status is OrderStatus.APPROVED)


def test_what_has_ended_never_begins_again():
    for act, moves in TRANSITIONS.items():
        for before, after in moves.items():
            assert before not in ENDED or after is before, (act, before)


# More than two persons, where the policy asks for them.


def test_a_policy_can_ask_for_three_persons():
    land = fresh(persons_min=3)
    ref = land.propose()
    assert land.approve(ref).is_effective
    assert in_force(land.state, land.now_ms) == ()
    twice = land.approve(ref)
    assert "approved this order already" in twice.refusal.message
    assert land.approve(ref, land.second_approver).is_effective
    assert [row.index for row in in_force(land.state, land.now_ms)] == [ref.entry_index]
    assert land.order_record(ref).approved_index == land.state.size - 1


# Emergencies.


def emergency(land: Land, hours: int = 72):
    until = land.now_ms + hours * HOUR_MS
    return land.in_force_order(
        decision_kind=DecisionKind.EMERGENCY, expires_at_ms=until, review_due_at_ms=until
    )


def test_an_emergency_ends_after_three_days_unless_a_decision_confirms_it():
    land = fresh()
    ref, other = emergency(land), emergency(land)
    assert land.confirm(ref).is_effective
    land.now_ms += 3 * DAY_MS
    assert [row.index for row in in_force(land.state, land.now_ms)] == [ref.entry_index]
    late = land.confirm(other)
    assert "has ended" in late.refusal.message


def test_one_person_cannot_confirm_an_emergency():
    land = fresh()
    ref = emergency(land)
    for people in ((land.proposer,), (land.approver,), (land.approver, land.second_approver)):
        assert "two persons" in land.confirm(ref, *people).refusal.message


def test_an_emergency_is_confirmed_by_a_decision_and_not_by_another_emergency():
    land = fresh()
    ref = emergency(land)
    for kind in (DecisionKind.EMERGENCY, DecisionKind.CERT_ADVISORY):
        refusal = land.confirm(ref, decision_kind=kind).refusal
        assert refusal.data["field"] == "decision_kind"
    ordinary = land.in_force_order()
    assert "extend this one" in land.confirm(ordinary).refusal.advice


def test_an_emergency_is_never_extended():
    land = fresh()
    ref = emergency(land)
    assert "cannot be extended" in do(land, OrderExtended, ref).refusal.message


# Time without a court.


def test_extensions_do_not_pass_the_cap_on_time_without_a_court():
    land = fresh(administrative_days_max=40)
    ref = land.in_force_order()
    land.now_ms += 25 * DAY_MS

    def extend(days: int):
        later = land.extension(ref, land.now_ms + days * DAY_MS)
        return land.record(seal(later, land.proposer.key, land.approver.key))

    assert "40 days in all without a court" in extend(20).refusal.message
    assert extend(14).is_effective


# Growth (Denmark 2012).


def test_an_authority_that_adds_too_much_in_a_day_is_held_until_a_third_person_looks():
    land = fresh(growth_targets_max=8_000)
    first = land.in_force_order(b"exact a.example.org\n", target_count=5_000)
    second = land.propose(b"exact b.example.org\n", target_count=5_000)
    refusal = land.approve(second).refusal
    assert refusal.data["guard"] == "GROWTH"
    assert land.hold(second, Guard.GROWTH).is_effective
    assert land.lift(second, Guard.GROWTH, by=land.second_approver).is_effective
    assert "lifted a hold" in land.approve(second, land.second_approver).refusal.message
    assert land.approve(second).is_effective
    blocked = {row.index for row in in_force(land.state, land.now_ms)}
    assert blocked == {first.entry_index, second.entry_index}


def test_growth_counts_again_after_a_day_and_another_list_counts_whole():
    land = fresh(growth_targets_max=5_000)
    ref = land.in_force_order(target_count=5_000)
    same = land.propose(order_id=ref.order_id, version=2, supersedes=ref, target_count=5_000)
    assert land.approve(same).is_effective
    other = b"exact quite.example.org\n"  # as many targets, and all others
    later = {"order_id": ref.order_id, "version": 3, "supersedes": same, "target_count": 5_000}
    swapped = land.propose(other, **later)
    assert "within a day" in land.approve(swapped).refusal.message
    land.now_ms += DAY_MS
    assert land.approve(swapped).is_effective


def test_wordings_of_an_order_last_no_longer_together_than_one():
    land = fresh(administrative_days_max=40)
    ref = land.in_force_order()
    land.now_ms += 25 * DAY_MS
    times = {"expires_at_ms": land.now_ms + 20 * DAY_MS, "review_due_at_ms": land.now_ms + DAY_MS}
    longer = land.propose(order_id=ref.order_id, version=2, supersedes=ref, **times)
    assert "40 days in all" in land.approve(longer).refusal.message

    first = emergency(land)
    land.now_ms += 2 * DAY_MS
    times = {"expires_at_ms": land.now_ms + 2 * DAY_MS, "review_due_at_ms": land.now_ms + DAY_MS}
    again = land.propose(
        order_id=first.order_id,
        version=2,
        supersedes=first,
        decision_kind=DecisionKind.EMERGENCY,
        **times,
    )
    assert "EMERGENCY" in land.approve(again).refusal.message


def test_an_advisory_does_not_last_for_ever_either():
    land = fresh(administrative_days_max=40)
    ref = land.in_force_order(decision_kind=DecisionKind.CERT_ADVISORY, binding=Binding.ADVISORY)
    land.now_ms += 25 * DAY_MS
    later = land.extension(ref, land.now_ms + 20 * DAY_MS)
    effect = land.record(seal(later, land.proposer.key, land.approver.key))
    assert "40 days in all" in effect.refusal.message


def test_a_court_is_named_by_its_decision():
    land = fresh()
    order = land.order(decision_kind=DecisionKind.COURT_FINAL, decision_sha256=None)
    effect = land.record(seal(order, land.proposer.key))
    assert effect.refusal.data["field"] == "decision_sha256"


def test_where_three_persons_must_sign_a_block_three_prolong_it():
    land = fresh(persons_min=3)
    ref = land.propose()
    for person in (land.approver, land.second_approver):
        assert land.approve(ref, person).is_effective
    later = land.extension(ref, land.now_ms + 60 * DAY_MS)
    two = land.record(seal(later, land.proposer.key, land.approver.key))
    assert "3 persons" in two.refusal.message
    later = land.extension(ref, land.now_ms + 60 * DAY_MS)
    three = seal(later, land.proposer.key, land.approver.key, land.second_approver.key)
    assert land.record(three).is_effective


# Rejection.


def test_a_proposer_may_withdraw_and_a_stranger_may_not_reject():
    land = fresh()
    ref = land.propose()
    assert not land.reject(ref, land.stranger).is_effective
    assert land.reject(ref, land.proposer).is_effective
    assert not land.approve(ref).is_effective


def test_an_order_that_was_approved_is_stopped_and_not_rejected():
    land = fresh()
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert "approved" in land.reject(ref).refusal.message
    assert land.stop(ref, land.proposer).is_effective


# Reviews.


def test_a_review_in_time_keeps_an_order_and_none_lets_it_lapse():
    land = fresh()
    until = land.now_ms + 30 * DAY_MS
    review = land.now_ms + 10 * DAY_MS
    kept = land.in_force_order(expires_at_ms=until, review_due_at_ms=review)
    lapsed = land.in_force_order(expires_at_ms=until, review_due_at_ms=review)
    land.now_ms += 9 * DAY_MS
    assert land.review(kept, until).is_effective
    land.now_ms += 2 * DAY_MS
    assert [row.index for row in in_force(land.state, land.now_ms)] == [kept.entry_index]
    assert "lapsed" in land.review(lapsed, until).refusal.message


def test_a_review_is_by_one_with_power_over_the_category():
    land = fresh()
    few = Person("khanh.ly", Role.APPROVER, "cert-vn", (Category.SPAM_SOURCE,))
    land.register(few)
    ref = land.in_force_order()
    effect = land.review(ref, land.now_ms + DAY_MS, few)
    assert "no power over PHISHING" in effect.refusal.message


def test_a_review_never_moves_the_end_and_its_proposer_cannot_make_it():
    land = fresh()
    ref = land.in_force_order()
    end = land.order_record(ref).expires_at_ms
    assert land.review(ref, end + 1).refusal.data["field"] == "review_due_at_ms"
    assert "cannot review" in land.review(ref, end, land.proposer).refusal.message
    assert land.review(ref, end, land.oversight).is_effective
    assert land.order_record(ref).expires_at_ms == end


# One operator's power.


def test_a_suspension_is_one_operators_and_ends_where_it_began():
    land = fresh()
    ref = land.in_force_order()
    assert land.suspend(ref).is_effective
    assert land.order_record(ref).suspended_by(land.now_ms) == {"isp-1"}
    assert not land.suspend(ref).is_effective
    assert "has not suspended" in land.resume(ref, land.other_officer).refusal.message
    assert land.suspend(ref, land.other_officer).is_effective
    assert land.resume(ref).is_effective
    assert land.order_record(ref).suspended_by(land.now_ms) == {"isp-2"}
    assert in_force(land.state, land.now_ms)


def test_a_suspension_ends_by_itself_and_can_then_be_made_anew():
    land = fresh()
    ref = land.in_force_order()
    end_ms = land.now_ms + 10_000
    assert land.suspend(ref, until_ms=land.now_ms).refusal.data["field"] == "until_ms"
    assert land.suspend(ref, until_ms=end_ms).is_effective
    assert land.order_record(ref).suspended_by(end_ms - 1) == {"isp-1"}
    assert land.order_record(ref).suspended_by(end_ms) == frozenset()
    assert not land.suspend(ref, until_ms=end_ms).is_effective
    land.now_ms = end_ms
    assert "has not suspended" in land.resume(ref).refusal.message
    assert land.suspend(ref).is_effective


def test_a_suspension_is_so_already_if_the_one_that_holds_lasts_as_long():
    land = fresh()
    ref = land.in_force_order()
    end_ms = land.now_ms + 600_000
    assert land.suspend(ref, until_ms=end_ms).is_effective
    for until_ms in (end_ms - 1, end_ms):
        refusal = land.suspend(ref, until_ms=until_ms).refusal
        assert isinstance(refusal, ConflictError)
        assert refusal.data["problem"] == SO_ALREADY
        assert "resume it first" in refusal.advice
    land.now_ms = end_ms
    assert land.suspend(ref).is_effective
    for until_ms in (end_ms + 1, None):
        assert land.suspend(ref, until_ms=until_ms).refusal.data["problem"] == SO_ALREADY


def test_a_longer_suspension_takes_the_place_of_the_one_that_holds():
    land = fresh()
    ref = land.in_force_order()
    end_ms = land.now_ms + 600_000
    shorter = seal(land.suspending(ref, until_ms=end_ms), land.officer.key)
    assert land.record(shorter).is_effective
    kept_back = seal(land.resuming(ref, shorter.payload_sha256), land.officer.key)
    since_ms = land.now_ms
    land.now_ms += 1_000
    assert land.suspend(ref, until_ms=end_ms + 1).is_effective
    assert land.order_record(ref).suspension("isp-1", land.now_ms).since_ms == since_ms
    assert land.order_record(ref).suspended_by(end_ms) == {"isp-1"}
    assert land.order_record(ref).suspended_by(end_ms + 1) == frozenset()
    assert land.suspend(ref).is_effective
    assert land.order_record(ref).suspended_by(end_ms + 1) == {"isp-1"}
    assert land.record(kept_back).refusal.data["field"] == "suspension_sha256"
    assert land.resume(ref).is_effective
    assert not land.order_record(ref).suspended_by(land.now_ms)


def test_a_resumption_that_was_kept_back_ends_no_later_suspension():
    land = fresh()
    ref = land.in_force_order()
    suspension = seal(land.suspending(ref), land.officer.key)
    assert land.record(suspension).is_effective
    kept_back = seal(land.resuming(ref, suspension.payload_sha256), land.officer.key)
    assert land.resume(ref).is_effective
    assert land.suspend(ref).is_effective
    assert land.record(kept_back).refusal.data["field"] == "suspension_sha256"
    assert not land.record(suspension).is_effective
    assert land.order_record(ref).suspended_by(land.now_ms) == {"isp-1"}


def test_nobody_but_a_safety_officer_suspends():
    land = fresh()
    ref = land.in_force_order()
    for person in (land.approver, land.oversight, land.control, land.node):
        assert not land.suspend(ref, person).is_effective


def test_an_officer_and_a_node_name_their_operator_and_nobody_else_does():
    land = fresh()
    for person in (
        Person("x", Role.SAFETY_OFFICER),
        Person("x", Role.NODE),
        Person("x", Role.OVERSIGHT, operator="isp-1"),
        Person("x", Role.CONTROL, operator="isp-1"),
    ):
        effect = land.record(seal(person.registration(land.now_ms), *land.roots[:2]))
        assert effect.refusal.data["field"] == "operator"
