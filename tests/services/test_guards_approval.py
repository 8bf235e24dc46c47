"""Guards at the approval: what lifts a hold, what came meanwhile, and acts that come at once."""

import asyncio

import pytest

from enforcer.core.guard import Guard
from enforcer.core.life import OrderStatus
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.errors import RefusedError
from tests.people import seal
from tests.services.guard_world import (
    BAD,
    BANK,
    StoppingWork,
    adopt,
    blocked,
    guarded,
    lift,
    many,
    offer,
    one_of_two,
    pins_of,
    record,
)
from tests.waiting import until


@pytest.fixture
async def desk(tmp_path):
    async with guarded(tmp_path) as desk:
        yield desk


async def test_a_protected_name_gives_way_to_a_court_that_names_it_and_a_third_person(desk):
    land = desk.land
    proposed = await offer(desk, BANK, decision_kind=DecisionKind.COURT_FINAL)
    ref = land.ref(proposed.recorded.index)
    await lift(desk, ref, Guard.PROTECTED_NAME, overrides=("subtree bank.example.com",))
    await desk.approve(ref)
    assert blocked(desk) == [ref.entry_index]


async def test_a_lift_that_names_another_entry_does_not_let_the_order_pass(desk):
    land = desk.land
    both = b"exact login.bank.example.com\nexact shop.example.com\n"
    proposed = await offer(desk, both, decision_kind=DecisionKind.COURT_FINAL)
    ref = land.ref(proposed.recorded.index)
    await lift(desk, ref, Guard.PROTECTED_NAME, overrides=("subtree bank.example.com",))
    with pytest.raises(RefusedError, match="PROTECTED_NAME") as caught:
        await desk.approve(ref)
    assert record(desk, ref).status is OrderStatus.HELD
    assert caught.value.data["index"] == desk.files.size - 1
    named = ("exact shop.example.com", "subtree bank.example.com")
    await lift(desk, ref, Guard.PROTECTED_NAME, overrides=named)
    await desk.approve(ref)
    assert blocked(desk) == [ref.entry_index]


async def test_data_that_came_after_the_proposal_holds_it_at_the_approval(desk):
    proposed = await offer(desk, BAD)
    ref = desk.land.ref(proposed.recorded.index)
    await adopt(desk, pins=pins_of(desk, names=b"subtree example.org\n"))
    envelope = seal(desk.land.approval(ref), desk.land.approver.key)
    with pytest.raises(RefusedError, match="PROTECTED_NAME"):
        await desk.orders.approve(envelope, validate_only=True)
    assert record(desk, ref).status is OrderStatus.PROPOSED
    with pytest.raises(RefusedError, match="PROTECTED_NAME"):
        await desk.orders.approve(envelope, validate_only=False)
    assert record(desk, ref).holds == {Guard.PROTECTED_NAME}
    assert blocked(desk) == []


async def test_data_that_would_refuse_it_now_refuses_the_approval(desk):
    proposed = await offer(desk, BAD)
    ref = desk.land.ref(proposed.recorded.index)
    await adopt(desk, pins=pins_of(desk, core=b"subtree example.org\n"))
    with pytest.raises(RefusedError, match="PROTECTED_CORE"):
        await desk.approve(ref)
    assert record(desk, ref).status is OrderStatus.PROPOSED


async def test_a_target_whose_block_was_stopped_needs_oversight(desk):
    land = desk.land
    first = land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(first)
    land.now_ms += 1_000
    await desk.stopping.stop(desk.stop_of(first))
    proposed = await offer(desk, b"subtree bad.example.org\n")
    assert proposed.held.guards == (Guard.STOPPED_BEFORE,)
    ref = land.ref(proposed.recorded.index)
    with pytest.raises(RefusedError):
        await lift(desk, ref, Guard.STOPPED_BEFORE)
    await lift(desk, ref, Guard.STOPPED_BEFORE, by=land.oversight)
    await desk.approve(ref)
    assert blocked(desk) == [ref.entry_index]


@pytest.mark.parametrize(
    ("stopped", "again"),
    [(BAD, b"subtree example.org\n"), (b"subtree example.org\n", BAD)],
)
async def test_neither_a_parent_nor_a_name_below_escapes_a_stop(desk, stopped, again):
    land = desk.land
    first = land.ref((await offer(desk, stopped)).recorded.index)
    await desk.approve(first)
    land.now_ms += 1_000
    await desk.stopping.stop(desk.stop_of(first))
    assert (await offer(desk, again)).held.guards == (Guard.STOPPED_BEFORE,)


async def test_a_second_emergency_for_a_target_is_refused(desk):
    end_ms = desk.land.now_ms + 2 * DAY_MS
    emergency = {
        "decision_kind": DecisionKind.EMERGENCY,
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }
    first = desk.land.ref((await offer(desk, BAD, **emergency)).recorded.index)
    await desk.approve(first)
    desk.land.now_ms += 1_000
    with pytest.raises(RefusedError, match="EMERGENCY_REPEATED"):
        await offer(desk, b"exact bad.example.org\nexact new.example.org\n", **emergency)


async def test_of_two_emergencies_approved_at_once_one_is_refused(desk):
    land = desk.land
    end_ms = land.now_ms + 2 * DAY_MS
    emergency = {
        "decision_kind": DecisionKind.EMERGENCY,
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }
    refs = [land.ref((await offer(desk, BAD, **emergency)).recorded.index) for _ in range(2)]
    desk.files.may_go_on.clear()
    first = asyncio.ensure_future(desk.ledger.record(seal(land.order(), land.proposer.key)))
    await until(lambda: desk.files.is_held)
    both = asyncio.ensure_future(one_of_two(map(desk.approve, refs)))
    await until(lambda: len(desk.ledger._waiting._acts) == 2)  # one append would take them
    desk.files.may_go_on.set()
    await first
    _, refused = await both
    assert refused.data["guards"] == "EMERGENCY_REPEATED"
    assert len(blocked(desk)) == 1


async def test_orders_that_share_nothing_are_approved_side_by_side_in_one_append(desk):
    land = desk.land
    lists = [f"exact n{number}.example.org\n".encode() for number in range(5)]
    first, *refs = [land.ref((await offer(desk, text)).recorded.index) for text in lists]
    desk.files.may_go_on.clear()
    approvals = [asyncio.ensure_future(desk.approve(first))]
    await until(lambda: desk.files.is_held)
    desk.work.scans.clear()
    approvals += [asyncio.ensure_future(desk.approve(ref)) for ref in refs]
    await until(lambda: len(desk.ledger._waiting._acts) == len(refs))
    desk.files.may_go_on.set()
    await asyncio.gather(*approvals)
    assert desk.files.appends[-2:] == [1, 4]
    assert len(desk.work.scans) == 4, "a guard had to look again"
    assert blocked(desk) == [ref.entry_index for ref in (first, *refs)]


async def test_growth_that_comes_with_the_same_append_is_held(desk):
    land = desk.land
    await adopt(desk, pins=pins_of(desk), growth_targets_max=100)
    refs = [land.ref((await offer(desk, many(60, label))).recorded.index) for label in (b"a", b"b")]
    _, refused = await one_of_two(map(desk.approve, refs))
    assert refused.data["guards"] == "GROWTH"
    assert [record(desk, ref).holds for ref in refs].count({Guard.GROWTH}) == 1
    assert len(blocked(desk)) == 1


async def test_a_stop_between_the_guards_and_the_ledger_is_not_overlooked(desk):
    land = desk.land
    first = land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(first)
    second = land.ref((await offer(desk, BAD)).recorded.index)
    land.now_ms += 1_000

    async def stop():
        await desk.stopping.stop(desk.stop_of(first))

    desk.guards._work = StoppingWork(desk.work, stop)
    with pytest.raises(RefusedError, match="STOPPED_BEFORE"):
        await desk.approve(second)
    assert record(desk, second).holds == {Guard.STOPPED_BEFORE}
    assert blocked(desk) == []
