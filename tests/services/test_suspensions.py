"""What safety officers sign ahead of the ledger: it lifts at once, and only as the ledger would."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.policy import DAY_MS
from enforcer.core.state import State
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError, UnavailableError
from enforcer.services import suspensions
from enforcer.services.node_time import Moment
from enforcer.services.suspensions import SuspensionKeeper, SuspensionOutcome
from tests.people import Land, Person, seal
from tests.services.test_stops import Files

ISP = "isp-1"
REASON = b"s" * 32 + b"It breaks our own mail."


@pytest.fixture
def land():
    land = Land.founded()
    land.register(land.officer, land.other_officer)
    return land


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def keeper(files):
    return SuspensionKeeper(files)


def now(land: Land, ms: int = 0) -> Moment:
    t_ms = land.now_ms + ms
    return Moment(t_ms, t_ms, t_ms)


def suspension(land: Land, ref, by: Person | None = None, **changes) -> Envelope:
    return seal(land.suspending(ref, **changes), (by or land.officer).key)


def resumption(land: Land, ref, of: Envelope, by: Person | None = None, **changes) -> Envelope:
    return seal(land.resuming(ref, of.payload_sha256, **changes), (by or land.officer).key)


def offer(keeper, land, act, *, at: Moment | None = None, documents=()) -> SuspensionOutcome:
    data = format_envelope(act)
    return keeper.offer(land.state, ISP, data, documents, at or now(land))


def review(keeper, land, *, at: Moment | None = None) -> None:
    keeper.review(land.state, ISP, at or now(land))


def lifts(keeper, ref, t_ms) -> bool:
    word = keeper.said.get(ref.entry_index)
    return word is not None and word.holds(t_ms) is not None


def restarted(keeper, files, state: State, at: Moment) -> SuspensionKeeper:
    keeper.save()
    again = SuspensionKeeper(files)
    again.restore(state, ISP, at)
    return again


# What is heeded, and by whose word.


def test_a_suspension_lifts_at_once_until_a_resumption_names_it(land, keeper):
    ref = land.in_force_order()
    first = suspension(land, ref)
    assert offer(keeper, land, first) is SuspensionOutcome.HEEDED
    assert lifts(keeper, ref, land.now_ms)
    assert offer(keeper, land, resumption(land, ref, first)) is SuspensionOutcome.HEEDED
    assert not lifts(keeper, ref, land.now_ms)
    assert len(keeper.to_relay) == 2


def test_nobody_but_the_networks_own_officer_suspends(land, keeper):
    ref = land.in_force_order()
    for person, words in (
        (land.other_officer, "network of isp-2"),
        (land.approver, "cannot suspend"),
        (land.oversight, "cannot suspend"),
        (land.node, "cannot suspend"),
        (Person("nobody", land.officer.role, operator=ISP), "not registered"),
    ):
        with pytest.raises(RefusedError, match=words):
            offer(keeper, land, suspension(land, ref, by=person))
    assert (keeper.said, keeper.kept) == ({}, ())


def test_a_node_that_the_roots_have_not_registered_heeds_no_officer(land, keeper):
    act = format_envelope(suspension(land, land.in_force_order()))
    with pytest.raises(RefusedError, match="none that the ledger knows"):
        keeper.offer(land.state, None, act, (), now(land))


def test_another_act_is_refused_by_name(land, keeper):
    ref = land.in_force_order()
    with pytest.raises(InputError, match="no suspension"):
        offer(keeper, land, seal(land.stopping(ref), land.officer.key))


def test_an_altered_act_is_refused(land, keeper):
    ref = land.in_force_order()
    act = suspension(land, ref)
    other = suspension(land, land.in_force_order())
    with pytest.raises(RefusedError, match="not valid"):
        offer(keeper, land, replace(act, payload=other.payload))


def test_what_no_own_officer_signed_is_refused_before_anything_that_is_kept_is_judged(land, keeper):
    for _ in range(3):
        offer(keeper, land, suspension(land, land.in_force_order()))
    ref = land.in_force_order()
    act = suspension(land, ref)
    altered = replace(act, payload=suspension(land, ref).payload)
    checked = []

    def counting(public_key: bytes, message: bytes, signature: bytes) -> bool:
        checked.append(message)
        return land.state.verify(public_key, message, signature)

    state = replace(land.state, verify=counting)
    for bad in (
        altered,
        suspension(land, ref, by=land.other_officer),
        suspension(land, ref, by=land.node),
    ):
        checked.clear()
        with pytest.raises(RefusedError):
            keeper.offer(state, ISP, format_envelope(bad), (), now(land))
        assert checked == [bad.message]


# Replays.


def test_an_old_suspension_is_no_new_one_after_its_resumption(land, keeper):
    ref = land.in_force_order()
    first = suspension(land, ref)
    offer(keeper, land, first)
    offer(keeper, land, resumption(land, ref, first))
    offer(keeper, land, first)
    assert not lifts(keeper, ref, land.now_ms)
    for act in [each.envelope for each in keeper.kept]:
        assert land.record(act).is_effective
    review(keeper, land)
    assert offer(keeper, land, first) is SuspensionOutcome.RECORDED
    assert (keeper.said, keeper.kept) == ({}, ())


def test_an_old_resumption_brings_back_no_block_that_was_suspended_anew(land, keeper):
    ref = land.in_force_order()
    first = suspension(land, ref)
    offer(keeper, land, first)
    kept_back = resumption(land, ref, first)
    offer(keeper, land, resumption(land, ref, first))
    assert offer(keeper, land, suspension(land, ref)) is SuspensionOutcome.HEEDED
    with pytest.raises(ConflictError, match="an answer to"):
        offer(keeper, land, kept_back)
    assert lifts(keeper, ref, land.now_ms)


def test_an_act_that_was_to_be_recorded_long_ago_is_refused(land, keeper):
    ref = land.in_force_order()
    act = suspension(land, ref)
    with pytest.raises(RefusedError, match="was to be recorded by"):
        offer(keeper, land, act, at=now(land, DAY_MS + 1))


def test_a_request_id_that_was_used_in_the_ledger_serves_no_second_act(land, keeper):
    ref = land.in_force_order()
    first = land.suspending(ref)
    assert land.record(seal(first, land.officer.key)).is_effective
    assert land.resume(ref).is_effective
    again = land.suspending(ref, request_id=first.request_id, until_ms=land.now_ms + DAY_MS)
    with pytest.raises(ConflictError, match="request_id"):
        offer(keeper, land, seal(again, land.officer.key))


# The ledger's word, once it has one.


def test_the_act_goes_when_the_ledger_has_it_and_the_ledger_rules_from_then_on(land, keeper, files):
    ref = land.in_force_order()
    act = suspension(land, ref)
    offer(keeper, land, act)
    keeper.save()
    assert files
    land.record(act)
    review(keeper, land)
    keeper.save()
    assert (keeper.said, keeper.kept, files) == ({}, (), {})
    assert land.order_record(ref).suspended_by(land.now_ms) == {ISP}


def test_a_suspension_in_the_ledger_is_ended_here_before_the_ledger_ends_it(land, keeper):
    ref = land.in_force_order()
    act = suspension(land, ref)
    land.record(act)
    offer(keeper, land, resumption(land, ref, act))
    word = keeper.said[ref.entry_index]
    assert word.suspension is None
    land.record(keeper.kept[0].envelope)
    review(keeper, land)
    assert keeper.said == {}


def test_an_officer_whose_key_was_revoked_suspends_nothing_and_what_waited_is_dropped(land, keeper):
    ref = land.in_force_order()
    offer(keeper, land, suspension(land, ref))
    assert land.record(seal(land.revocation(land.officer), *land.roots[:2])).is_effective
    review(keeper, land)
    assert (keeper.said, keeper.kept) == ({}, ())
    (dropped,) = keeper.dropped
    assert dropped.order_id == ref.order_id
    assert "revoked" in dropped.why
    with pytest.raises(RefusedError, match="revoked"):
        offer(keeper, land, suspension(land, ref))


def test_what_nobody_records_in_its_time_counts_no_more(land, keeper):
    ref = land.in_force_order()
    offer(keeper, land, suspension(land, ref))
    review(keeper, land, at=now(land, DAY_MS))
    assert lifts(keeper, ref, land.now_ms + DAY_MS)
    review(keeper, land, at=now(land, DAY_MS + 1))
    assert (keeper.said, keeper.kept) == ({}, ())


def test_a_clock_that_is_years_ahead_ends_no_suspension(land, keeper):
    ref = land.in_force_order()
    ahead = replace(now(land), t_ms=land.now_ms + 400 * DAY_MS)
    assert offer(keeper, land, suspension(land, ref), at=ahead) is SuspensionOutcome.HEEDED
    review(keeper, land, at=ahead)
    assert lifts(keeper, ref, ahead.t_ms)


def test_a_machine_that_was_off_for_months_heeds_its_officer(land, keeper):
    ref = land.in_force_order(
        expires_at_ms=land.now_ms + 170 * DAY_MS, review_due_at_ms=land.now_ms + 170 * DAY_MS
    )
    floor_ms, t_ms = land.now_ms, land.now_ms + 100 * DAY_MS
    act = suspension(land, ref, valid_until_ms=t_ms + DAY_MS)
    assert offer(keeper, land, act, at=Moment(t_ms, t_ms, floor_ms)) is SuspensionOutcome.HEEDED


def test_a_resumption_that_lapsed_while_the_machine_was_off_brings_no_block_back(land, keeper):
    ref = land.in_force_order()
    first = suspension(land, ref)
    land.record(first)
    act = resumption(land, ref, first)
    t_ms = land.now_ms + 2 * DAY_MS
    late = Moment(t_ms, t_ms, land.now_ms)
    with pytest.raises(RefusedError, match="was to be recorded by"):
        offer(keeper, land, act, at=late)
    assert offer(keeper, land, act) is SuspensionOutcome.HEEDED
    review(keeper, land, at=late)
    assert (keeper.said, len(keeper.kept)) == ({}, 1)
    review(keeper, land, at=now(land, 2 * DAY_MS))
    assert (keeper.said, keeper.kept) == ({}, ())


def test_a_clock_that_is_set_right_again_has_cost_no_act(land, keeper):
    ref = land.in_force_order()
    first = suspension(land, ref)
    land.record(first)
    ahead = replace(now(land), t_ms=land.now_ms + 400 * DAY_MS)
    offer(keeper, land, resumption(land, ref, first))
    review(keeper, land, at=ahead)
    review(keeper, land)
    assert keeper.said[ref.entry_index].suspension is None
    second = suspension(land, ref)
    offer(keeper, land, second)
    review(keeper, land, at=ahead)
    assert keeper.said == {}  # and so the first one, which the ledger has, holds
    review(keeper, land)
    assert lifts(keeper, ref, land.now_ms)
    assert keeper.said[ref.entry_index].act_payload_sha256 == second.payload_sha256


def test_a_resumption_counts_by_the_floor_too(land, keeper):
    long = land.now_ms + 170 * DAY_MS
    ref = land.in_force_order(expires_at_ms=long, review_due_at_ms=long)
    first = suspension(land, ref)
    land.record(first)
    t_ms = land.now_ms + 100 * DAY_MS
    act = resumption(land, ref, first, valid_until_ms=t_ms + DAY_MS)
    with pytest.raises(RefusedError, match="more than 30 days"):
        offer(keeper, land, act, at=Moment(t_ms, t_ms, land.now_ms))
    assert keeper.said == {}


def test_the_end_of_the_order_ends_what_was_said_of_it(land, keeper):
    ref = land.in_force_order()
    offer(keeper, land, suspension(land, ref))
    land.stop(ref)
    review(keeper, land)
    assert (keeper.said, keeper.kept) == ({}, ())


def test_a_suspension_ends_at_its_own_end(land, keeper):
    ref = land.in_force_order()
    end_ms = land.now_ms + 60_000
    offer(keeper, land, suspension(land, ref, until_ms=end_ms))
    assert lifts(keeper, ref, end_ms - 1)
    assert not lifts(keeper, ref, end_ms)


def test_a_longer_suspension_takes_the_place_of_one_that_the_ledger_has_not_either(land, keeper):
    ref = land.in_force_order()
    end_ms = land.now_ms + 60_000
    first = suspension(land, ref, until_ms=end_ms)
    offer(keeper, land, first)
    kept_back = resumption(land, ref, first)
    with pytest.raises(ConflictError, match="already"):
        offer(keeper, land, suspension(land, ref, until_ms=end_ms - 1))
    longer = suspension(land, ref, until_ms=end_ms + 1)
    assert offer(keeper, land, longer) is SuspensionOutcome.HEEDED
    assert lifts(keeper, ref, end_ms)
    assert not lifts(keeper, ref, end_ms + 1)
    with pytest.raises(ConflictError, match="an answer to"):
        offer(keeper, land, kept_back)
    for act in (first, longer):
        assert land.record(act).is_effective
        review(keeper, land)
        assert land.order_record(ref).suspension(ISP, land.now_ms) or lifts(keeper, ref, end_ms)
    assert keeper.kept == ()
    assert land.order_record(ref).suspension(ISP, end_ms)


# Waiting, restarts, bounds.


def test_a_suspension_of_an_order_to_come_waits_for_it(land, keeper):
    order = seal(land.order(), land.proposer.key)
    behind = land.state.copy()
    land.record(order)
    ref = land.ref(land.state.size - 1)
    act = format_envelope(suspension(land, ref))
    assert keeper.offer(behind, ISP, act, (), now(land)) is SuspensionOutcome.KEPT
    assert keeper.said == {}
    land.approve(ref)
    review(keeper, land)
    assert lifts(keeper, ref, land.now_ms)


def test_an_order_that_never_was_is_refused(land, keeper):
    ref = land.in_force_order()
    with pytest.raises(NotFoundError):
        offer(keeper, land, suspension(land, replace(ref, entry_index=1)))


def test_what_is_heeded_survives_a_restart_with_its_reason(land, keeper, files):
    ref = land.in_force_order()
    named = land.suspending(ref, reason_sha256=suspensions.sha256(REASON).hexdigest())
    offer(keeper, land, seal(named, land.officer.key), documents=[REASON, b"another"])
    again = restarted(keeper, files, land.state, now(land))
    assert lifts(again, ref, land.now_ms)
    (act,) = again.kept
    assert (act.person_id, again.reason(act)) == (land.officer.person_id, REASON)
    land.record(act.envelope)
    again.review(land.state, ISP, now(land))
    again.save()
    assert list(files) == [f"suspension-reasons/{named.reason_sha256}"]
    land.resume(ref)
    again.review(land.state, ISP, now(land))
    again.save()
    assert not files


def test_acts_that_a_clock_set_back_turned_round_are_put_right(land, keeper, files):
    ref = land.in_force_order()
    first = suspension(land, ref)
    offer(keeper, land, first, at=replace(now(land), t_ms=land.now_ms + DAY_MS))
    offer(keeper, land, resumption(land, ref, first))
    again = restarted(keeper, files, land.state, now(land))
    assert again.kept[0].envelope == first
    assert not lifts(again, ref, land.now_ms)


@pytest.mark.parametrize("attempt", range(5))
def test_acts_of_one_millisecond_stay_in_the_order_in_which_they_came(land, keeper, files, attempt):
    ref = land.in_force_order()
    first = suspension(land, ref)
    acts = [first, resumption(land, ref, first), suspension(land, ref)]
    for act in acts:
        offer(keeper, land, act)
    assert [each.envelope for each in keeper.kept] == acts
    again = restarted(keeper, files, land.state, now(land))
    assert [each.envelope for each in again.kept] == acts
    assert lifts(again, ref, land.now_ms)


def test_a_copy_of_the_ledger_that_begins_anew_loses_no_suspension(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, suspension(land, ref))
    empty = Land(roots=land.roots).state
    again = restarted(keeper, files, empty, now(land))
    assert (again.said, len(again.kept)) == ({}, 1)
    again.review(land.state, ISP, now(land))
    assert lifts(again, ref, land.now_ms)


def test_a_kept_file_that_is_garbage_takes_nothing_with_it(land, keeper, files):
    ref = land.in_force_order()
    offer(keeper, land, suspension(land, ref))
    keeper.save()
    files["suspensions/garbage.json"] = b"{}"
    assert lifts(restarted(keeper, files, land.state, now(land)), ref, land.now_ms)


def test_one_person_cannot_fill_the_room_of_the_others(land, keeper, monkeypatch):
    monkeypatch.setattr(suspensions, "KEPT_PER_PERSON_MAX", 2)
    colleague = Person("kim.ho", land.officer.role, operator=ISP)
    land.register(colleague)
    refs = [land.in_force_order() for _ in range(3)]
    for ref in refs[:2]:
        offer(keeper, land, suspension(land, ref))
    with pytest.raises(UnavailableError):
        offer(keeper, land, suspension(land, refs[2]))
    assert offer(keeper, land, suspension(land, refs[2], by=colleague)) is SuspensionOutcome.HEEDED
