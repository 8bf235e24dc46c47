"""Acts as they come in: what the rules cannot see is checked, and no stop is ever lost."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.envelope import format_envelope
from enforcer.core.order import Measure
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.standing import Standing
from enforcer.core.state import in_force
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.services import orders as orders_module
from tests.control import REASONS, TARGETS, Desk, until, with_reasons
from tests.people import seal

FULL = UnavailableError("the disk is full", advice="Free space.")


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        yield desk


def propose(desk, order, files=(REASONS,), validate_only=False):
    envelope = seal(order, desk.land.proposer.key)
    return desk.orders.propose(envelope, files, validate_only=validate_only)


async def test_two_persons_make_a_block_and_one_ends_it(desk):
    ref = await desk.propose()
    assert desk.orders.get(ref.order_id, None).standing is Standing.PROPOSED
    await desk.approve(ref)
    assert desk.orders.get(ref.order_id, None).standing is Standing.IN_FORCE
    await desk.orders.stop(desk.stopping(ref))
    assert desk.orders.get(ref.order_id, None).standing is Standing.STOPPED
    assert in_force(desk.ledger.state, desk.land.now_ms) == ()


async def test_a_proposal_that_is_only_judged_leaves_no_trace(desk, tmp_path):
    await desk.bring()
    assert await propose(desk, with_reasons(desk.land), validate_only=True) is None
    assert desk.files.size == 7
    assert list((tmp_path / "ledger" / "side").iterdir()) == []


async def test_a_refused_proposal_leaves_no_document(desk, tmp_path):
    await desk.bring()
    with pytest.raises(RefusedError):
        await propose(desk, with_reasons(desk.land, expires_at_ms=desk.land.now_ms - 1))
    assert list((tmp_path / "ledger" / "side").iterdir()) == []


async def test_an_order_for_a_list_that_was_never_brought_is_refused(desk):
    with pytest.raises(NotFoundError) as caught:
        await propose(desk, with_reasons(desk.land))
    assert caught.value.data["field"] == "target_list_sha256"
    assert desk.files.size == 7


async def test_an_order_with_another_count_than_its_list_is_refused(desk):
    await desk.bring()
    with pytest.raises(RefusedError, match="has 2 targets, not 3") as caught:
        await propose(desk, with_reasons(desk.land, target_count=3))
    assert caught.value.data["field"] == "target_count"


async def test_addresses_cannot_be_ordered_yet(desk):
    targets = b"exact bad.example.org\nip 192.0.2.1\n"
    await desk.bring(targets)
    with pytest.raises(RefusedError, match="1 targets of the list are addresses"):
        await propose(desk, with_reasons(desk.land, targets))


@pytest.mark.parametrize(
    "measure",
    [
        Measure(DnsMeasure.NONE, IpMeasure.REJECT),
        Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT),
    ],
)
async def test_a_measure_against_addresses_needs_addresses(desk, measure):
    await desk.bring()
    with pytest.raises(RefusedError) as caught:
        await propose(desk, with_reasons(desk.land, measure=measure))
    assert caught.value.data["field"] == "measure"


async def test_an_order_without_its_statement_of_reasons_is_refused(desk):
    await desk.bring()
    with pytest.raises(NotFoundError) as caught:
        await propose(desk, with_reasons(desk.land), files=())
    assert caught.value.data["field"] == "statement_of_reasons_sha256"


async def test_reasons_that_were_brought_before_need_not_come_again(desk):
    await desk.propose()
    assert await propose(desk, with_reasons(desk.land), files=()) is not None


@pytest.mark.parametrize(
    ("files", "field"),
    [
        ([REASONS, b"x" * 40], "side_files[1]"),
        ([REASONS, b"x" * 32], "side_files[1]"),
        ([b"x" * (2**20 + 1)], "side_files[0]"),
        ([REASONS] * 9, "side_files"),
    ],
    ids=["nobody names it", "only salt", "too long", "too many"],
)
async def test_a_side_file_that_does_not_belong_is_refused(desk, files, field):
    await desk.bring()
    with pytest.raises(InputError) as caught:
        await propose(desk, with_reasons(desk.land), files=files)
    assert caught.value.data["field"] == field


async def test_a_method_takes_only_its_own_kind_of_act(desk):
    ref = await desk.propose()
    stop = desk.stopping(ref)
    for method in (
        desk.orders.propose(stop, (), validate_only=False),
        desk.orders.approve(stop, validate_only=False),
        desk.orders.extend(stop, (), validate_only=False),
        desk.orders.record_root_act(stop, (), validate_only=False),
        desk.orders.stop(seal(desk.land.order(), desk.land.proposer.key)),
    ):
        with pytest.raises(InputError, match="does not take") as caught:
            await method
        assert caught.value.data["field"] == "payloadType"
    assert desk.files.size == 8


async def test_one_person_with_two_keys_is_not_two_persons(desk):
    land = desk.land
    second_key = replace(
        land.approver,
        person_id=land.proposer.person_id,
        key=type(land.approver.key).generate(),
    )
    await desk.ledger.record(seal(second_key.registration(land.now_ms), *land.roots[:2]))
    ref = await desk.propose()
    with pytest.raises(RefusedError, match="cannot approve it as well"):
        await desk.approve(ref, by=second_key)
    assert in_force(desk.ledger.state, land.now_ms) == ()


async def test_an_extension_is_signed_by_both_and_moves_the_end(desk):
    ref = await desk.propose()
    await desk.approve(ref)
    end_ms = desk.land.now_ms + 60 * DAY_MS
    land = desk.land
    both = seal(land.extension(ref, end_ms), land.proposer.key, land.approver.key)
    await desk.orders.extend(both, (), validate_only=False)
    assert desk.orders.get(ref.order_id, None).record.expires_at_ms == end_ms
    alone = seal(land.extension(ref, end_ms + DAY_MS), land.approver.key)
    with pytest.raises(RefusedError, match="two persons"):
        await desk.orders.extend(alone, (), validate_only=False)


async def test_a_policy_whose_lists_were_never_brought_is_refused(desk):
    pins = Pins(None, sha256(b"no list").hexdigest(), None, None)
    with pytest.raises(NotFoundError) as caught:
        await desk.orders.record_root_act(
            seal(desk.land.policy(pins=pins), *desk.land.roots[:2]), (), validate_only=False
        )
    assert caught.value.data["field"] == "pins.protected_names"


async def test_an_answer_that_was_lost_is_given_again_though_the_list_worker_is_away(desk):
    await desk.bring()
    order = seal(with_reasons(desk.land), desk.land.proposer.key)
    first = await desk.orders.propose(order, [REASONS], validate_only=False)
    desk.uploads._summaries.clear()
    desk.uploads._work = None
    again = await desk.orders.propose(order, [REASONS], validate_only=False)
    assert (again.index, again.is_repeated) == (first.index, True)


# Stops when the ledger cannot take them.


@pytest.mark.parametrize(
    "fault", [FULL, IntegrityError("the disk lies", advice="Replace it.")], ids=["full", "lies"]
)
async def test_with_a_broken_disk_nodes_have_the_stop_and_the_caller_hears_so(desk, fault):
    ref = await desk.propose()
    await desk.approve(ref)
    desk.files.fault = fault
    envelope = desk.stopping(ref)
    with pytest.raises(UnavailableError, match="nodes have the stop, and the ledger does not"):
        await desk.orders.stop(envelope)
    assert format_envelope(envelope) in desk.feed.stops
    desk.files.fault = None
    await desk.orders.record_unlogged()
    assert desk.orders.get(ref.order_id, None).standing is Standing.STOPPED
    assert (await desk.orders.stop(envelope)).is_repeated


async def test_a_stop_that_nobody_took_says_what_else_can_be_done(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    desk.feed.is_away = True
    with pytest.raises(UnavailableError, match="neither") as caught:
        await desk.orders.stop(desk.stopping(ref))
    assert "--node" in caught.value.advice
    assert caught.value.data["nodes_told"] is False


async def test_a_disk_that_takes_its_time_does_not_keep_nodes_waiting(desk, monkeypatch):
    monkeypatch.setattr(orders_module, "STOP_WAIT_SECONDS_MAX", 0.01)
    ref = await desk.propose()
    await until(lambda: not desk.publication.is_mending)
    desk.files.may_go_on.clear()
    envelope = desk.stopping(ref)
    stopping = asyncio.ensure_future(desk.orders.stop(envelope))
    await until(lambda: desk.feed.stops == [format_envelope(envelope)])
    assert not stopping.done()
    desk.files.may_go_on.set()
    assert (await stopping).index == ref.entry_index + 1


async def test_an_unlawful_stop_is_never_shown_to_nodes(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    desk.publication.is_mending = True
    with pytest.raises(RefusedError):
        await desk.orders.stop(desk.stopping(ref, by=desk.land.stranger))
    assert desk.feed.stops == []


async def test_a_kept_stop_is_dropped_when_another_has_stopped_the_order(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    with pytest.raises(UnavailableError):
        await desk.orders.stop(desk.stopping(ref))
    desk.files.fault = None
    await desk.orders.stop(desk.stopping(ref, by=desk.land.approver))
    await desk.orders.record_unlogged()
    assert desk.orders._unlogged == {}


async def test_a_kept_stop_stays_while_the_disk_is_full(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    with pytest.raises(UnavailableError):
        await desk.orders.stop(desk.stopping(ref))
    await desk.orders.record_unlogged()
    assert len(desk.orders._unlogged) == 1


async def test_a_stop_stands_even_when_its_reason_could_not_be_kept(desk, monkeypatch):
    ref = await desk.propose()
    reason = b"r" * 32 + b"the owner has cleaned it"
    stop = desk.land.stopping(ref, reason_sha256=sha256(reason).hexdigest())

    def full(_data):
        raise FULL

    monkeypatch.setattr(desk.orders._side, "put", full)
    recorded = await desk.orders.stop(seal(stop, desk.land.oversight.key), [reason])
    assert recorded.index == ref.entry_index + 1


# Reading.


async def test_an_order_is_found_by_id_by_entry_and_by_both(desk):
    ref = await desk.propose()
    for order_id, index in ((ref.order_id, None), ("", ref.entry_index), (ref.order_id, 7)):
        assert desk.orders.get(order_id, index).record.index == ref.entry_index


@pytest.mark.parametrize(
    ("order_id", "index"), [("VN-2027-999999", None), ("", 0), ("VN-2027-999999", 7), ("", 99)]
)
async def test_an_order_that_is_not_there_is_not_found(desk, order_id, index):
    await desk.propose()
    with pytest.raises(NotFoundError):
        desk.orders.get(order_id, index)


async def test_reading_an_order_needs_a_name(desk):
    with pytest.raises(InputError):
        desk.orders.get("", None)


async def test_the_newest_version_is_meant_unless_another_is_named(desk):
    ref = await desk.propose()
    newer = with_reasons(desk.land, order_id=ref.order_id, version=2, supersedes=ref)
    recorded = await propose(desk, newer)
    assert desk.orders.get(ref.order_id, None).record.index == recorded.index
    assert desk.orders.get(ref.order_id, ref.entry_index).record.payload.version == 1


async def test_pages_follow_each_other_and_keep_to_the_status(desk):
    refs = [await desk.propose() for _ in range(5)]
    await desk.approve(refs[1])
    await desk.approve(refs[3])
    indices = [ref.entry_index for ref in refs]

    def page(first, count, wanted=None):
        return [view.record.index for view in desk.orders.page(first, count, wanted)]

    assert page(0, 10) == indices
    assert page(indices[2], 2) == indices[2:4]
    assert page(0, 10, Standing.IN_FORCE) == [indices[1], indices[3]]
    assert page(indices[2], 10, Standing.IN_FORCE) == [indices[3]]


async def test_there_is_no_policy_before_one_is_adopted(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        with pytest.raises(NotFoundError):
            desk.orders.policy()


async def test_an_approval_under_another_policy_is_refused(desk):
    ref = await desk.propose()
    stale = seal(desk.land.approval(ref), desk.land.approver.key)
    await desk.ledger.record(seal(desk.land.policy(targets_max=9), *desk.land.roots[:2]))
    with pytest.raises(ConflictError) as caught:
        await desk.orders.approve(stale, validate_only=False)
    assert caught.value.data["field"] == "policy_sha256"


def test_the_list_in_these_tests_is_canonical():
    assert b"".join(sorted(TARGETS.splitlines(keepends=True))) == TARGETS
