"""The one writer: durable before answered, judged before recorded, the same act once for ever."""

import asyncio
import random
from dataclasses import replace

import pytest

from enforcer.backends.keys import verify
from enforcer.core import judge_parts
from enforcer.core.envelope import sign
from enforcer.core.order import OrderRejected
from enforcer.core.policy import DAY_MS
from enforcer.core.receipt import verify_receipt
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    RefusedError,
    UnavailableError,
)
from enforcer.services.ledger import ENTRIES_PER_APPEND_MAX, replay
from tests.control import LOG_VKEY, ORIGIN, Desk, founding_acts, trust_of
from tests.people import seal
from tests.waiting import until

FULL = UnavailableError("the disk is full", advice="Free space.")


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        yield desk


async def attempt(act):
    try:
        return await act
    except EnforcerError as error:
        return error


async def test_an_answer_comes_with_a_receipt_that_verifies_offline(desk):
    recorded = await desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    checkpoint = verify_receipt(recorded.receipt, recorded.leaf, ORIGIN, LOG_VKEY, verify)
    assert (recorded.index, checkpoint.size) == (7, 8)
    assert not recorded.is_repeated


async def test_the_first_entry_adopts_a_policy_and_nothing_else(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        policy, registration, *_ = founding_acts(desk.land)
        with pytest.raises(RefusedError, match="first entry adopts a policy"):
            await desk.ledger.record(registration)
        assert desk.files.size == 0
        assert (await desk.ledger.record(policy)).index == 0


async def test_a_refused_act_changes_nothing(desk):
    note = desk.files.checkpoint_note
    with pytest.raises(RefusedError):
        await desk.ledger.record(seal(desk.land.order(), desk.land.approver.key))
    assert desk.files.checkpoint_note == note
    assert desk.ledger.state.size == 7


async def test_an_act_whose_second_entry_is_refused_leaves_those_around_it(desk):
    """What is ahead of the ledger is made again: the acts before it in the group are not lost."""
    key = desk.land.proposer.key
    order = desk.land.order()
    used_again = seal(replace(order, case_reference="another case"), key)
    other = seal(desk.land.order(), key)
    wrong = seal(desk.land.order(), desk.land.approver.key)
    first, held, refused = await asyncio.gather(
        desk.ledger.record(seal(order, key)),
        attempt(desk.ledger.record(other, lambda _: wrong)),
        attempt(desk.ledger.record(used_again)),
    )
    assert isinstance(held, RefusedError)
    assert "used request_id" in refused.message
    assert (first.index, desk.ledger.state.size) == (7, 8)
    again = await desk.ledger.record(other)
    assert (again.index, again.is_repeated) == (8, False)


async def test_the_same_act_again_is_the_same_entry_with_a_fresh_receipt(desk):
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    first = await desk.ledger.record(envelope)
    await desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    again = await desk.ledger.record(envelope)
    assert (again.index, again.leaf, again.is_repeated) == (first.index, first.leaf, True)
    checkpoint = verify_receipt(again.receipt, again.leaf, ORIGIN, LOG_VKEY, verify)
    assert checkpoint.size == 9
    assert desk.files.size == 9


async def test_the_same_act_sent_twice_at_once_is_one_entry(desk):
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    both = await asyncio.gather(desk.ledger.record(envelope), desk.ledger.record(envelope))
    assert [each.index for each in both] == [7, 7]
    assert sorted(each.is_repeated for each in both) == [False, True]


async def test_after_a_restart_the_same_act_is_still_the_same_entry(desk, tmp_path):
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    first = await desk.ledger.record(envelope)
    await desk.__aexit__()
    await desk.__aenter__()
    desk.land.now_ms += 100 * DAY_MS  # long after the act could have been recorded anew
    again = await desk.ledger.record(envelope)
    assert (again.index, again.leaf, again.is_repeated) == (first.index, first.leaf, True)


async def test_another_payload_under_the_same_request_id_is_refused(desk):
    order = desk.land.order()
    await desk.ledger.record(seal(order, desk.land.proposer.key))
    other = replace(order, case_reference="another case")
    with pytest.raises(ConflictError, match="used request_id") as caught:
        await desk.ledger.record(seal(other, desk.land.proposer.key))
    assert caught.value.data["index"] == 7


async def test_a_payload_that_another_person_signs_again_is_no_repetition(desk):
    ref = await desk.propose()
    stop = desk.land.stopping(ref)
    await desk.ledger.record(seal(stop, desk.land.oversight.key))
    with pytest.raises(ConflictError, match="same payload"):
        await desk.ledger.record(seal(stop, desk.land.approver.key))


async def test_time_in_the_ledger_never_runs_backwards(desk):
    before = desk.ledger.state.recorded_at_ms
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    desk.clock.stepped_ms -= 120_000
    await desk.ledger.record(envelope)
    assert desk.ledger.state.recorded_at_ms == before


@pytest.mark.parametrize("step_ms", [300 * DAY_MS, 120_001, -120_001], ids=str)
async def test_by_a_clock_that_was_stepped_nothing_is_recorded_until_it_is_right(desk, step_ms):
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    desk.clock.stepped_ms = step_ms
    with pytest.raises(UnavailableError, match="clock was stepped"):
        await desk.ledger.record(envelope)
    assert desk.files.size == 7
    desk.clock.stepped_ms = 0
    assert (await desk.ledger.record(envelope)).index == 7
    assert desk.ledger.state.recorded_at_ms == desk.land.now_ms


async def test_time_that_passes_is_no_step(desk):
    desk.land.now_ms += 300 * DAY_MS
    desk.clock.stepped_ms = -120_000
    await desk.ledger.record(seal(desk.land.policy(), *desk.land.roots[:2]))
    assert desk.ledger.state.recorded_at_ms == desk.land.now_ms - 120_000


async def test_what_is_recorded_is_answered_by_a_wrong_clock_too(desk):
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    first = await desk.ledger.record(envelope)
    desk.clock.stepped_ms = 300 * DAY_MS
    assert (await desk.ledger.record(envelope)).index == first.index


async def test_a_ledger_opens_behind_its_last_entry_and_records_when_the_clock_is_there(desk):
    last_ms = desk.ledger.state.recorded_at_ms
    await desk.__aexit__()
    desk.land.now_ms = last_ms - 120_001
    await desk.__aenter__()
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    with pytest.raises(UnavailableError, match="behind the ledger's last entry"):
        await desk.ledger.record(envelope)
    assert (desk.files.size, desk.ledger.now_ms()) == (7, last_ms)
    desk.land.now_ms += 1
    assert (await desk.ledger.record(envelope)).index == 7
    assert desk.ledger.state.recorded_at_ms == last_ms


async def test_what_waits_is_recorded_in_one_append(desk):
    desk.files.may_go_on.clear()
    acts = [seal(desk.land.order(), desk.land.proposer.key) for _ in range(10)]
    first = asyncio.ensure_future(desk.ledger.record(acts[0]))
    await until(lambda: desk.files.is_held)
    others = [asyncio.ensure_future(desk.ledger.record(act)) for act in acts[1:]]
    await asyncio.sleep(0)  # in which they come to wait
    desk.files.may_go_on.set()
    recorded = await asyncio.gather(first, *others)
    assert sorted(each.index for each in recorded) == list(range(7, 17))
    assert desk.files.appends[7:] == [1, 9]


async def test_a_stop_waits_for_one_small_append_at_the_longest(desk):
    ref = await desk.propose()
    desk.files.may_go_on.clear()
    acts = [
        seal(desk.land.order(), desk.land.proposer.key) for _ in range(ENTRIES_PER_APPEND_MAX * 3)
    ]
    running = [asyncio.ensure_future(desk.ledger.record(act)) for act in acts]
    await until(lambda: desk.files.is_held)
    stopping = asyncio.ensure_future(desk.ledger.record(desk.stop_of(ref)))
    await asyncio.sleep(0)  # in which it comes to wait
    desk.files.may_go_on.set()
    stop = await stopping
    await asyncio.gather(*running)
    first_append = desk.files.appends[8]
    assert first_append <= ENTRIES_PER_APPEND_MAX
    assert stop.index == 8 + first_append


async def test_acts_recorded_together_have_the_effect_of_acts_recorded_one_by_one(tmp_path):
    random.seed(4)
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        land = desk.land
        for _ in range(6):
            refs = [land.ref(index) for index in land.state.orders]
            acts = [seal(land.order(), land.proposer.key) for _ in range(3)]
            for ref in random.sample(refs, min(len(refs), 6)):
                by = random.choice((land.approver, land.second_approver))
                acts.append(seal(land.approval(ref), by.key))
                acts.append(seal(land.approval(ref), land.approver.key))
                acts.append(seal(land.stopping(ref), land.oversight.key))
                newer = replace(land.order(), order_id=ref.order_id, version=2, supersedes=ref)
                acts.append(seal(newer, land.proposer.key))
            random.shuffle(acts)
            acts += random.sample(acts, 3)
            answers = await asyncio.gather(*(attempt(desk.ledger.record(act)) for act in acts))
            assert any(not isinstance(answer, EnforcerError) for answer in answers)
            land.now_ms += 1_000
        assert max(desk.files.appends) > 1
        # Whatever was answered as recorded is effective for everybody who reads the ledger.
        state = replay(desk.files, trust_of(land), verify)
        assert state == desk.ledger.state
        assert len(state.index_of_payload) == state.size


async def test_approvals_that_wait_together_cannot_exceed_the_sum_of_targets(desk, monkeypatch):
    monkeypatch.setattr(judge_parts, "TARGETS_IN_FORCE_MAX", 3)  # each order here has two
    refs = [await desk.propose() for _ in range(3)]
    acts = [seal(desk.land.approval(ref), desk.land.approver.key) for ref in refs]
    answers = await asyncio.gather(*(attempt(desk.ledger.record(act)) for act in acts))
    assert sum(isinstance(answer, RefusedError) for answer in answers) == 2
    assert desk.files.size == 11  # nothing stands in the ledger that has no effect


async def together(desk, *acts):
    """Have acts wait while another is appended; return their answers."""
    desk.files.may_go_on.clear()
    first = asyncio.ensure_future(
        desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    )
    await until(lambda: desk.files.is_held)
    waiting = [asyncio.ensure_future(attempt(desk.ledger.record(act))) for act in acts]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    desk.files.may_go_on.set()
    await first
    return await asyncio.gather(*waiting)


async def test_an_act_is_judged_by_what_stands_before_it_in_the_same_append(desk):
    land = desk.land
    ref, other = await desk.propose(), await desk.propose()
    approved, again, rejected, elsewhere = await together(
        desk,
        seal(land.approval(ref), land.approver.key),
        seal(land.approval(ref), land.second_approver.key),
        seal(land.act(OrderRejected, ref, reason_sha256=None), land.second_approver.key),
        seal(land.approval(other), land.second_approver.key),
    )
    assert (approved.index, elsewhere.index) == (10, 11)
    assert "cannot be approved" in str(again)
    assert "cannot be rejected" in str(rejected)
    assert desk.files.appends[-1] == 2
    assert len(desk.ledger.state.index_of_payload) == desk.files.size


async def test_a_stop_goes_before_the_approval_that_waited_longer(desk):
    ref = await desk.propose()
    approving = seal(desk.land.approval(ref), desk.land.approver.key)
    approved, stopped = await together(desk, approving, desk.stop_of(ref))
    assert isinstance(approved, ConflictError)
    assert stopped.index == 9


async def test_an_act_sent_twice_for_one_append_is_answered_when_that_is_durable(desk):
    ref = await desk.propose()
    act = seal(desk.land.approval(ref), desk.land.approver.key)
    first, second = await together(desk, act, act)
    assert (first.index, first.is_repeated) == (9, False)
    assert (second.index, second.is_repeated) == (9, True)
    assert desk.files.appends[-1] == 1


async def test_an_append_that_fails_leaves_nothing_to_be_judged_by(desk):
    land = desk.land
    ref = await desk.propose()
    acts = [seal(land.approval(ref), each.key) for each in (land.approver, land.second_approver)]
    desk.files.fault = FULL
    answers = await asyncio.gather(*(attempt(desk.ledger.record(acts[0])) for _ in range(2)))
    assert answers == [FULL, FULL]
    desk.files.fault = None
    assert (await desk.ledger.record(acts[1])).index == 8
    with pytest.raises(ConflictError, match="cannot be approved"):
        await desk.ledger.record(acts[0])


async def test_a_stop_under_a_used_request_id_counts_and_the_earlier_act_stays_repeatable(desk):
    ref = await desk.propose()
    approval = desk.land.approval(ref)
    approving = seal(approval, desk.land.approver.key)
    first = await desk.ledger.record(approving)
    stop = desk.land.stopping(ref, request_id=approval.request_id)
    stopped = await desk.ledger.record(seal(stop, desk.land.approver.key))
    again = await desk.ledger.record(approving)
    assert (again.index, again.is_repeated) == (first.index, True)
    assert stopped.index == first.index + 1


async def test_a_full_disk_answers_unavailable_and_the_next_act_goes_through(desk):
    desk.files.fault = FULL
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    with pytest.raises(UnavailableError, match="full"):
        await desk.ledger.record(envelope)
    assert desk.ledger.state.size == 7
    desk.files.fault = None
    assert (await desk.ledger.record(envelope)).index == 7


async def test_a_defect_below_reaches_the_caller_and_does_not_end_the_writer(desk):
    desk.files.fault = ZeroDivisionError("a defect")
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    with pytest.raises(ZeroDivisionError):
        await desk.ledger.record(envelope)
    desk.files.fault = None
    assert (await desk.ledger.record(envelope)).index == 7


async def test_an_act_whose_caller_went_away_before_its_turn_is_not_recorded(desk):
    desk.files.may_go_on.clear()
    first = asyncio.ensure_future(
        desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    )
    await until(lambda: desk.files.is_held)
    second = asyncio.ensure_future(
        desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    )
    await asyncio.sleep(0)  # in which it comes to wait
    second.cancel()
    desk.files.may_go_on.set()
    await first
    await desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    assert desk.files.size == 9


async def test_an_append_in_progress_is_finished_though_its_caller_went_away(desk):
    desk.files.may_go_on.clear()
    envelope = seal(desk.land.order(), desk.land.proposer.key)
    recording = asyncio.ensure_future(desk.ledger.record(envelope))
    await until(lambda: desk.files.is_held)
    recording.cancel()
    desk.files.may_go_on.set()
    await until(lambda: desk.ledger.state.size == 8)
    assert (await desk.ledger.record(envelope)).is_repeated


async def test_closing_records_what_waits_and_refuses_what_comes_after(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        acts = [seal(desk.land.order(), desk.land.proposer.key) for _ in range(3)]
        running = [asyncio.ensure_future(desk.ledger.record(act)) for act in acts]
        await asyncio.sleep(0)
    assert [(await each).index for each in running] == [7, 8, 9]
    with pytest.raises(UnavailableError, match="shutting down"):
        await desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))


async def test_a_policy_for_a_newer_fold_is_refused_and_never_recorded(desk):
    policy = desk.land.policy(fold_version=2)
    with pytest.raises(RefusedError, match="fold version"):
        await desk.ledger.record(seal(policy, *desk.land.roots[:2]))


async def test_an_unknown_kind_is_refused(desk):
    envelope = sign(
        "application/vnd.enforcer.unknown.v1+json",
        b"{}",
        [(desk.land.proposer.key.key_id, desk.land.proposer.key.sign)],
    )
    with pytest.raises(InputError, match="unknown"):
        await desk.ledger.record(envelope)


async def test_opening_tells_how_far_the_ledger_has_been_read(desk):
    told = []
    state = replay(
        desk.files, trust_of(desk.land), verify, lambda done, total: told.append((done, total))
    )
    assert told[-1] == (7, 7)
    assert state.size == 7
