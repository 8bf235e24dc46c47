"""Guards at what follows a block: confirmations, extensions, and growth from day to day."""

from hashlib import sha256

import pytest

from enforcer.core.guard import Guard
from enforcer.core.order import OrderConfirmed
from enforcer.core.policy import DAY_MS, DecisionKind
from enforcer.errors import ConflictError, RefusedError
from tests.control import REASONS
from tests.people import seal
from tests.services.guard_world import (
    BAD,
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


@pytest.fixture
async def desk(tmp_path):
    async with guarded(tmp_path) as desk:
        yield desk


async def emergency_in_force(desk):
    end_ms = desk.land.now_ms + 2 * DAY_MS
    emergency = {
        "decision_kind": DecisionKind.EMERGENCY,
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }
    ref = desk.land.ref((await offer(desk, BAD, **emergency)).recorded.index)
    await desk.approve(ref)
    return ref


def confirmation(land, ref, **changes):
    end_ms = land.now_ms + 30 * DAY_MS
    decision = {
        "decision_kind": DecisionKind.ADMINISTRATIVE,
        "decision_sha256": sha256(REASONS).hexdigest(),
        "evidence_sha256": (sha256(REASONS).hexdigest(),),
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }
    act = land.act(OrderConfirmed, ref, **(decision | changes))
    return seal(act, land.proposer.key, land.approver.key)


async def confirm(desk, envelope):
    return await desk.orders.record_act(envelope, [REASONS], validate_only=False)


async def test_of_two_confirmations_at_once_one_is_recorded(desk):
    land = desk.land
    ref = await emergency_in_force(desk)
    recorded, refused = await one_of_two(confirm(desk, confirmation(land, ref)) for _ in range(2))
    assert "rests on a decision of kind ADMINISTRATIVE" in str(refused)
    assert record(desk, ref).confirmed_at_ms == land.now_ms
    assert desk.files.size == recorded.index + 1


async def test_a_confirmation_that_a_stop_overtakes_is_not_recorded(desk):
    land = desk.land
    ref = await emergency_in_force(desk)
    size = desk.files.size

    async def stop():
        await desk.stopping.stop(desk.stop_of(ref))

    desk.guards._work = StoppingWork(desk.work, stop)
    with pytest.raises(ConflictError, match="STOPPED and cannot be confirmed"):
        await confirm(desk, confirmation(land, ref))
    assert (desk.files.size, blocked(desk)) == (size + 1, [])


async def test_a_confirmation_looks_again_when_its_target_is_stopped_elsewhere_meanwhile(desk):
    land = desk.land
    other = land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(other)
    ref = await emergency_in_force(desk)

    async def stop():
        await desk.stopping.stop(desk.stop_of(other))

    desk.guards._work = StoppingWork(desk.work, stop)
    with pytest.raises(RefusedError, match="STOPPED_BEFORE"):
        await confirm(desk, confirmation(land, ref))
    assert record(desk, ref).holds == {Guard.STOPPED_BEFORE}
    assert blocked(desk) == []


async def test_a_lift_does_not_cover_a_stop_that_came_after_it(desk):
    land = desk.land
    refs = [land.ref((await offer(desk, BAD)).recorded.index) for _ in range(2)]
    for ref in refs:
        await desk.approve(ref)
    land.now_ms += 1_000
    await desk.stopping.stop(desk.stop_of(refs[0]))
    third = land.ref((await offer(desk, BAD)).recorded.index)
    await lift(desk, third, Guard.STOPPED_BEFORE, by=land.oversight)
    land.now_ms += 1_000
    await desk.stopping.stop(desk.stop_of(refs[1]))
    with pytest.raises(RefusedError, match="STOPPED_BEFORE"):
        await desk.approve(third)
    await lift(desk, third, Guard.STOPPED_BEFORE, by=land.oversight)
    await desk.approve(third)
    assert blocked(desk) == [third.entry_index]


def lasting(land, days):
    end_ms = land.now_ms + days * DAY_MS - 60_000
    return {
        "not_before_ms": land.now_ms,
        "expires_at_ms": end_ms,
        "review_due_at_ms": end_ms,
    }


async def extend(desk, ref, days):
    land = desk.land
    envelope = seal(
        land.extension(ref, land.now_ms + int(days * DAY_MS)), land.proposer.key, land.approver.key
    )
    return await desk.orders.extend(envelope, [], validate_only=False)


async def test_time_without_a_court_is_not_got_by_an_extension(desk):
    land = desk.land
    await adopt(desk, pins=pins_of(desk), administrative_days_max=100)
    first = land.ref((await offer(desk, BAD, **lasting(land, 98))).recorded.index)
    await desk.approve(first)
    land.now_ms += 98 * DAY_MS
    second = land.ref((await offer(desk, BAD, **lasting(land, 1))).recorded.index)
    await desk.approve(second)
    with pytest.raises(RefusedError, match="ADMINISTRATIVE_TIME"):
        await extend(desk, second, 98)
    await extend(desk, second, 1.5)


async def test_what_new_data_holds_is_not_extended(desk):
    ref = desk.land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(ref)
    await adopt(desk, pins=pins_of(desk, names=b"subtree example.org\n"))
    with pytest.raises(RefusedError, match="PROTECTED_NAME"):
        await extend(desk, ref, 60)
    assert record(desk, ref).holds == {Guard.PROTECTED_NAME}


# Growth (Denmark 2012).


async def test_too_many_targets_in_a_day_are_held_until_a_third_person_lifts_that(desk):
    land = desk.land
    await adopt(desk, pins=pins_of(desk), growth_targets_max=100)
    first = land.ref((await offer(desk, many(80))).recorded.index)
    await desk.approve(first)
    proposed = await offer(desk, many(30, b"m"))
    assert proposed.held.guards == (Guard.GROWTH,)
    assert b"guard GROWTH HOLD 30" in proposed.held.scan.report
    ref = land.ref(proposed.recorded.index)
    await lift(desk, ref, Guard.GROWTH)
    await desk.approve(ref)
    assert len(blocked(desk)) == 2


async def test_growth_that_came_between_proposal_and_approval_is_held_at_the_approval(desk):
    land = desk.land
    await adopt(desk, pins=pins_of(desk), growth_targets_max=100)
    refs = [land.ref((await offer(desk, many(60, label))).recorded.index) for label in (b"a", b"b")]
    await desk.approve(refs[0])
    with pytest.raises(RefusedError, match="GROWTH"):
        await desk.approve(refs[1])
    assert record(desk, refs[1]).holds == {Guard.GROWTH}


async def test_another_list_under_the_same_number_counts_whole(desk):
    land = desk.land
    first = land.ref((await offer(desk, many(80))).recorded.index)
    await desk.approve(first)
    land.now_ms += 2 * DAY_MS
    await adopt(desk, pins=pins_of(desk), growth_targets_max=50)
    version = {"order_id": first.order_id, "version": 2, "supersedes": first}
    replaced = await offer(desk, many(80, b"m"), validate_only=True, **version)
    assert replaced.held.guards == (Guard.GROWTH,)
    same = await offer(desk, many(80), validate_only=True, **version)
    assert same.held is None


# New data, old orders.
