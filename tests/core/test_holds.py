"""Holds: who puts an order on hold, what lifts which guard, and what nobody lifts."""

from __future__ import annotations

import pytest

from enforcer.core.guard import OUTCOMES, Guard, Outcome
from enforcer.core.judge_holds import LIFT_RULES
from enforcer.core.key import Role
from enforcer.core.life import OrderStatus
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.core.state import in_force
from tests.people import ALL_CATEGORIES, Land, Person, seal

PROTECTED = "subtree bank.example.net"


@pytest.fixture
def land() -> Land:
    land = Land.founded()
    land.register(land.control, land.officer)
    return land


def blocked(land: Land) -> list[int]:
    return [row.index for row in in_force(land.state, land.now_ms)]


def held(land: Land, *guards: Guard, **changes: object):
    ref = land.propose(**changes)
    effect = land.hold(ref, *guards)
    assert effect.is_effective, effect.refusal
    return ref


def court(land: Land) -> dict[str, object]:
    return {"decision_kind": DecisionKind.COURT_FINAL}


def test_a_held_order_cannot_be_approved_and_says_what_holds_it(land):
    ref = held(land, Guard.PRIVATE_SUFFIX, Guard.GROWTH)
    refusal = land.approve(ref).refusal
    assert "HELD by PRIVATE_SUFFIX, GROWTH" in refusal.message
    assert "lifted" in refusal.advice
    assert blocked(land) == []


def test_a_hold_takes_an_approved_order_out_and_its_lift_puts_it_back(land):
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert blocked(land) == []
    assert land.lift(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert blocked(land) == [ref.entry_index]


def test_a_held_order_expires_as_any_other(land):
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PRIVATE_SUFFIX).is_effective
    land.now_ms += 31 * DAY_MS
    assert land.lift(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert blocked(land) == []


def test_all_that_holds_an_order_must_be_lifted(land):
    ref = held(land, Guard.PRIVATE_SUFFIX, Guard.GROWTH)
    assert land.lift(ref, Guard.GROWTH).is_effective
    assert land.order_record(ref).holds == {Guard.PRIVATE_SUFFIX}
    assert not land.approve(ref).is_effective
    assert land.lift(ref, Guard.PRIVATE_SUFFIX, by=land.oversight).is_effective
    assert land.approve(ref).is_effective


# Who holds.


def test_the_control_plane_holds_for_guards_with_a_report(land):
    ref = land.propose()
    assert land.hold(ref, Guard.GROWTH, report=None).refusal.data["field"] == "report_sha256"
    assert land.hold(ref, Guard.PERSON).refusal.data["field"] == "guards"
    assert land.hold(ref, Guard.COMPROMISED_KEY).refusal.data["field"] == "guards"
    assert land.hold(ref, Guard.GROWTH).is_effective


def test_a_proposal_that_a_guard_refuses_is_not_held_but_refused(land):
    ref = land.propose()
    assert land.hold(ref, Guard.PUBLIC_SUFFIX).refusal.data["field"] == "guards"


def test_new_data_may_hold_what_it_would_refuse_and_nobody_lifts_that(land):
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PROTECTED_CORE).is_effective
    assert blocked(land) == []
    for person in (land.second_approver, land.oversight):
        assert "nobody lifts" in land.lift(ref, Guard.PROTECTED_CORE, by=person).refusal.message


@pytest.mark.parametrize("who", ["approver", "oversight"])
def test_an_approver_or_oversight_holds_by_hand(land, who):
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PERSON, by=getattr(land, who), report=None).is_effective
    assert blocked(land) == []
    by_approver = land.lift(ref, Guard.PERSON, by=land.approver)
    assert by_approver.is_effective == (who == "approver")  # oversight's hold is oversight's
    if who == "oversight":
        assert "oversight holds" in by_approver.refusal.message
        assert land.lift(ref, Guard.PERSON, by=land.oversight).is_effective
    assert blocked(land) == [ref.entry_index]


def test_oversight_joins_a_hold_and_then_alone_lifts_it(land):
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PERSON, by=land.approver, report=None).is_effective
    assert land.hold(ref, Guard.PERSON, by=land.oversight, report=None).is_effective
    assert not land.lift(ref, Guard.PERSON, by=land.second_approver).is_effective
    assert land.lift(ref, Guard.PERSON, by=land.oversight).is_effective


def test_what_a_stolen_key_lifted_holds_again(land):
    ref = held(land, Guard.PROTECTED_NAME, **court(land))
    assert land.lift(ref, Guard.PROTECTED_NAME, overrides=(PROTECTED,)).is_effective
    assert land.approve(ref).is_effective
    stolen = land.revocation(land.second_approver, since=0)
    assert land.record(seal(stolen, *land.roots[:2])).is_effective
    assert blocked(land) == []
    assert land.order_record(ref).holds == {Guard.PROTECTED_NAME}
    assert land.order_record(ref).overrides == frozenset()


def test_a_lift_by_a_key_that_was_revoked_since_carries_no_approval(land):
    ref = held(land, Guard.PRIVATE_SUFFIX)
    assert land.lift(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert land.record(seal(land.revocation(land.second_approver), *land.roots[:2])).is_effective
    assert "lifted a hold" in land.approve(ref).refusal.message


def test_a_lift_does_not_go_past_what_all_nodes_can_hold(land):
    first = land.in_force_order(b"exact 0.example.org\n", target_count=2_000_000)
    assert land.hold(first, Guard.PERSON, by=land.approver, report=None).is_effective
    for number in range(1, 11):
        if number == 10:
            land.now_ms += DAY_MS
        land.in_force_order(b"exact %d.example.org\n" % number, target_count=2_000_000)
    effect = land.lift(first, Guard.PERSON, by=land.approver)
    assert "over 20000000" in effect.refusal.message


@pytest.mark.parametrize("who", ["proposer", "stranger", "node", "officer"])
def test_others_hold_nothing(land, who):
    ref = land.in_force_order()
    assert not land.hold(ref, Guard.PERSON, by=getattr(land, who), report=None).is_effective
    assert blocked(land) == [ref.entry_index]


def test_a_person_speaks_for_no_guard(land):
    ref = land.in_force_order()
    refusal = land.hold(ref, Guard.PROTECTED_NAME, by=land.approver).refusal
    assert refusal.data["field"] == "guards"


def test_guards_are_ascending_and_each_once(land):
    ref = land.propose()
    for guards in ((Guard.GROWTH, Guard.PRIVATE_SUFFIX), (Guard.GROWTH, Guard.GROWTH)):
        assert land.hold(ref, *guards).refusal.data["field"] == "guards"


def test_the_same_hold_twice_is_one(land):
    ref = held(land, Guard.GROWTH)
    assert "already" in land.hold(ref, Guard.GROWTH).refusal.message
    assert land.hold(ref, Guard.PRIVATE_SUFFIX, Guard.GROWTH).is_effective


# Who lifts.


def test_every_guard_that_holds_has_a_rule_and_none_that_refuses():
    holding = {guard for guard, outcome in OUTCOMES.items() if outcome is Outcome.HOLD}
    assert set(LIFT_RULES) == holding
    assert all(rule.roles for rule in LIFT_RULES.values())
    assert Role.PROPOSER not in {role for rule in LIFT_RULES.values() for role in rule.roles}


def test_who_lifts_a_hold_signs_the_order_in_no_other_way(land):
    ref = land.in_force_order()
    assert land.hold(ref, Guard.PRIVATE_SUFFIX).is_effective
    assert (
        "signed this order"
        in land.lift(ref, Guard.PRIVATE_SUFFIX, by=land.approver).refusal.message
    )
    waiting = held(land, Guard.PRIVATE_SUFFIX)
    assert land.lift(waiting, Guard.PRIVATE_SUFFIX, by=land.approver).is_effective
    assert "lifted a hold" in land.approve(waiting).refusal.message
    assert land.approve(waiting, land.second_approver).is_effective


@pytest.mark.parametrize("guard", sorted(LIFT_RULES))
def test_proposers_strangers_and_machines_lift_nothing(land, guard):
    ref = land.propose()
    if guard is Guard.COMPROMISED_KEY:
        revoked = land.revocation(land.approver, since=0)
        ref = land.in_force_order()
        assert land.record(seal(revoked, *land.roots[:2])).is_effective
    elif guard is Guard.PERSON:
        assert land.hold(ref, guard, by=land.oversight, report=None).is_effective
    else:
        assert land.hold(ref, guard).is_effective
    for person in (land.proposer, land.stranger, land.control, land.node, land.officer):
        assert not land.lift(ref, guard, by=person, overrides=()).is_effective


def test_a_person_without_power_over_the_category_lifts_nothing(land):
    few = Person("khanh.ly", Role.APPROVER, "cert-vn", ALL_CATEGORIES[3:])
    land.register(few)
    ref = held(land, Guard.PRIVATE_SUFFIX)
    assert "no power over PHISHING" in land.lift(ref, Guard.PRIVATE_SUFFIX, by=few).refusal.message


def test_what_does_not_hold_cannot_be_lifted(land):
    ref = held(land, Guard.GROWTH)
    refusal = land.lift(ref, Guard.PRIVATE_SUFFIX).refusal
    assert "does not hold" in refusal.message
    assert "GROWTH" in refusal.advice


# Protected names: a court, each name, a third person.


def test_a_protected_name_gives_way_to_a_court_that_names_it_and_a_third_person(land):
    ref = held(land, Guard.PROTECTED_NAME, **court(land))
    unnamed = land.lift(ref, Guard.PROTECTED_NAME)
    assert unnamed.refusal.data["field"] == "overrides"
    assert land.lift(ref, Guard.PROTECTED_NAME, overrides=(PROTECTED,)).is_effective
    assert land.order_record(ref).overrides == {PROTECTED}
    assert not land.approve(ref, land.second_approver).is_effective  # the third is a third
    assert land.approve(ref).is_effective
    assert blocked(land) == [ref.entry_index]


@pytest.mark.parametrize(
    "kind", [DecisionKind.ADMINISTRATIVE, DecisionKind.EMERGENCY, DecisionKind.CERT_ADVISORY]
)
def test_no_one_but_a_court_goes_past_a_protected_name(land, kind):
    from enforcer.core.table import Binding

    until = land.now_ms + 2 * DAY_MS
    binding = Binding.ADVISORY if kind is DecisionKind.CERT_ADVISORY else Binding.BINDING
    ref = held(
        land,
        Guard.PROTECTED_NAME,
        decision_kind=kind,
        binding=binding,
        expires_at_ms=until,
        review_due_at_ms=until,
    )
    refusal = land.lift(ref, Guard.PROTECTED_NAME, overrides=(PROTECTED,)).refusal
    assert "a court's decision alone" in refusal.message


def test_oversight_does_not_lift_a_protected_name(land):
    ref = held(land, Guard.PROTECTED_NAME, **court(land))
    lifted = land.lift(ref, Guard.PROTECTED_NAME, by=land.oversight, overrides=(PROTECTED,))
    assert not lifted.is_effective


def test_an_override_is_a_target_line_and_stands_only_where_a_protection_is_lifted(land):
    ref = held(land, Guard.PROTECTED_NAME, Guard.GROWTH, **court(land))
    for line in ("bank.example.net", "subtree *.example.net", "subtree net"):
        lifted = land.lift(ref, Guard.PROTECTED_NAME, overrides=(line,))
        assert lifted.refusal.data["field"] == "overrides[0]"
    assert land.lift(ref, Guard.GROWTH, overrides=(PROTECTED,)).refusal.data["field"] == "overrides"


# Shared ranges: an assessment.


def test_a_shared_range_waits_for_an_assessment_of_this_very_order(land):
    ref, other = held(land, Guard.SHARED_RANGE), held(land, Guard.SHARED_RANGE)
    elsewhere = land.assess(other).index
    for assessment in (None, elsewhere, 0):
        lifted = land.lift(ref, Guard.SHARED_RANGE, assessment=assessment)
        assert lifted.refusal.data["field"] == "assessment_index"
    own = land.assess(ref).index
    assert land.lift(ref, Guard.SHARED_RANGE, assessment=own).is_effective


def test_only_the_orders_own_authority_assesses(land):
    ref = land.propose()
    for person in (land.stranger, land.oversight, land.control, land.officer):
        assert not land.assess(ref, person).is_effective
    assert land.assess(ref, land.second_approver).is_effective


# What oversight alone lifts.


def test_a_target_that_was_stopped_before_comes_back_by_oversight_alone(land):
    ref = held(land, Guard.STOPPED_BEFORE)
    assert "cannot lift STOPPED_BEFORE" in land.lift(ref, Guard.STOPPED_BEFORE).refusal.message
    assert land.lift(ref, Guard.STOPPED_BEFORE, by=land.oversight).is_effective
    assert land.approve(ref).is_effective


def test_orders_of_a_stolen_key_are_held_until_oversight_stands_in_for_it(land):
    ref = land.in_force_order()
    assert land.record(seal(land.revocation(land.approver, since=0), *land.roots[:2])).is_effective
    assert land.order_record(ref).holds == {Guard.COMPROMISED_KEY}
    assert blocked(land) == []
    assert not land.lift(ref, Guard.COMPROMISED_KEY, by=land.second_approver).is_effective
    assert land.lift(ref, Guard.COMPROMISED_KEY, by=land.oversight).is_effective
    assert blocked(land) == [ref.entry_index]


def test_two_stolen_keys_leave_too_few_persons_for_oversight_to_vouch_for(land):
    ref = land.in_force_order()
    for person in (land.approver, land.proposer):
        assert land.record(seal(land.revocation(person, since=0), *land.roots[:2])).is_effective
    refusal = land.lift(ref, Guard.COMPROMISED_KEY, by=land.oversight).refusal
    assert "too few persons" in refusal.message
    assert blocked(land) == []


def test_a_proposal_of_a_stolen_key_is_never_approved(land):
    ref = land.propose()
    assert land.record(seal(land.revocation(land.proposer, since=0), *land.roots[:2])).is_effective
    assert land.lift(ref, Guard.COMPROMISED_KEY, by=land.oversight).is_effective
    assert land.order_record(ref).status is OrderStatus.PROPOSED
    assert "revoked" in land.approve(ref).refusal.message
