"""What a new order is compared with: limits follow the target, not the order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.guard import Guard
from enforcer.core.history import relations
from enforcer.core.order import PublicationMode
from enforcer.core.policy import DAY_MS, DecisionKind
from tests.core.test_two_persons import NAMES, STEPS, copy_of, people, play
from tests.people import Land, seal
from tests.sealed import SealedText

HOUR_MS = 3_600_000


def found(land: Land, ref, t_ms: int | None = None) -> set[tuple[Guard, int]]:
    order = land.order_record(ref)
    at = land.now_ms if t_ms is None else t_ms
    return {(each.guard, each.order_index) for each in relations(land.state, order, at)}


def emergency(land: Land) -> dict[str, object]:
    until = land.now_ms + 48 * HOUR_MS
    return {
        "decision_kind": DecisionKind.EMERGENCY,
        "expires_at_ms": until,
        "review_due_at_ms": until,
    }


def court(land: Land) -> dict[str, object]:
    return {"decision_kind": DecisionKind.COURT_FINAL}


def test_a_stop_is_remembered_for_thirty_days():
    land = Land.founded()
    past = land.in_force_order(**court(land))
    land.stop(past)
    ref = land.propose()
    assert found(land, ref) == {(Guard.STOPPED_BEFORE, past.entry_index)}
    assert found(land, ref, land.now_ms + 31 * DAY_MS) == set()


def test_what_expired_or_was_never_approved_is_not_what_was_stopped():
    land = Land.founded()
    never = land.propose(**court(land))
    land.stop(never)
    land.in_force_order(**court(land))
    assert found(land, land.propose()) == set()


def test_a_list_that_is_published_late_is_compared_with_all_that_were():
    land = Land.founded()
    first = land.propose_hidden(PublicationMode.DELAYED)
    assert land.approve(first).is_effective
    recipient = land.order_record(first).payload.publication.list_recipient
    again = SealedText.of(b"exact a.example.org\n", PublicationMode.DELAYED, land.now_ms + DAY_MS)
    assert again.publication.list_recipient != recipient
    ref = again.propose(land)
    later_ms = land.now_ms + 400 * DAY_MS
    assert (Guard.HIDDEN_BEFORE, first.entry_index) in found(land, ref, later_ms)
    hidden = SealedText.of(b"exact a.example.org\n", PublicationMode.RESTRICTED_TARGETS)
    for other in (land.propose(), hidden.propose(land)):
        assert Guard.HIDDEN_BEFORE not in {guard for guard, _ in found(land, other)}


def test_one_emergency_for_a_target_in_thirty_days():
    land = Land.founded()
    past = land.in_force_order(**emergency(land))
    land.now_ms += 5 * DAY_MS
    ref = land.propose(**emergency(land))
    assert (Guard.EMERGENCY_REPEATED, past.entry_index) in found(land, ref)
    later = found(land, ref, land.now_ms + 30 * DAY_MS)
    assert Guard.EMERGENCY_REPEATED not in {guard for guard, _ in later}
    other = land.propose()
    assert Guard.EMERGENCY_REPEATED not in {guard for guard, _ in found(land, other)}


def test_time_without_a_court_adds_up_over_orders():
    land = Land.founded()
    land.in_force_order(**court(land))
    land.in_force_order()
    land.now_ms += 10 * DAY_MS
    ref = land.propose()
    order = land.order_record(ref)
    (relation,) = relations(land.state, order, land.now_ms)
    assert relation.guard is Guard.ADMINISTRATIVE_TIME
    assert abs(relation.blocked_ms - 10 * DAY_MS) < 10_000
    much_later = next(iter(relations(land.state, order, land.now_ms + 400 * DAY_MS)))
    assert abs(much_later.blocked_ms - 30 * DAY_MS) < 10_000  # it had expired by itself


def test_an_emergency_that_a_court_confirmed_counts_until_then():
    land = Land.founded()
    past = land.in_force_order(**emergency(land))
    land.now_ms += DAY_MS
    confirmed = land.confirm(past, decision_kind=DecisionKind.COURT_FINAL)
    assert confirmed.is_effective
    land.now_ms += 20 * DAY_MS
    (relation,) = relations(land.state, land.order_record(land.propose()), land.now_ms)
    assert abs(relation.blocked_ms - DAY_MS) < 10_000


def test_a_new_version_is_not_compared_with_its_own_order():
    land = Land.founded()
    past = land.in_force_order()
    ref = land.propose(order_id=past.order_id, version=2, supersedes=past)
    assert found(land, ref) == set()


def test_the_answer_for_a_time_stays_what_it_was():
    land = Land.founded()
    past = land.in_force_order(**emergency(land))
    land.now_ms += HOUR_MS
    ref = land.propose(**emergency(land))
    at = land.now_ms
    size = land.state.size
    before = set(relations(land.state, land.order_record(ref), at, at_index=size))
    land.confirm(past, decision_kind=DecisionKind.COURT_FINAL)
    land.stop(past)
    land.stop(land.in_force_order())
    land.now_ms += DAY_MS
    assert set(relations(land.state, land.order_record(ref), at, at_index=size)) == before


def test_what_is_recorded_in_the_same_millisecond_counts_by_its_place():
    land = Land.founded()
    past = land.in_force_order(**court(land))
    ref = land.in_force_order()
    land.record(seal(land.stopping(past), land.oversight.key), after_ms=0)
    approved_at_ms = land.order_record(ref).approved_at_ms
    assert found(land, ref, approved_at_ms) == set()  # the stop came after the approval
    other = land.propose()
    assert (Guard.STOPPED_BEFORE, past.entry_index) in found(land, other)


@settings(max_examples=100, deadline=None)
@given(STEPS, st.integers(0, 40))
def test_what_is_kept_to_look_back_at_is_what_a_walk_over_all_orders_finds(steps, days):
    land = copy_of(people())
    play(land, [("propose", 0, 0, 0), ("approve", 1, 1, 0), *steps], NAMES)
    t_ms = land.now_ms + days * DAY_MS
    for order in land.state.orders.values():
        everything = relations(land.state, order, t_ms, among=land.state.orders.values())
        assert list(relations(land.state, order, t_ms)) == list(everything)
