"""Guards on new data: orders in force are looked at again; what stands against an order."""

import asyncio

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.core.guard import Guard, GuardScan
from enforcer.core.guard_facts import NO_PINS
from enforcer.core.life import OrderStatus
from enforcer.errors import ConflictError, RefusedError
from enforcer.services.guarding import objections
from enforcer.services.recheck import Recheck
from tests.people import Land
from tests.services.guard_world import (
    BAD,
    adopt,
    blocked,
    guarded,
    lift,
    offer,
    pins_of,
    record,
)
from tests.waiting import until


@pytest.fixture
async def desk(tmp_path):
    async with guarded(tmp_path) as desk:
        yield desk


@pytest.fixture
async def recheck(desk, tmp_path):
    recheck = Recheck(desk.ledger, desk.guards, KeptFiles(tmp_path / "kept"))
    task = asyncio.create_task(recheck.run())
    yield recheck
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_new_data_puts_orders_in_force_on_hold_by_an_entry(desk, recheck):
    land = desk.land
    bad, other = [
        land.ref((await offer(desk, targets)).recorded.index)
        for targets in (BAD, b"exact other.example.net\n")
    ]
    for ref in (bad, other):
        await desk.approve(ref)
    await adopt(desk, pins=pins_of(desk, names=b"subtree bad.example.org\n"))
    await until(lambda: record(desk, bad).holds == {Guard.PROTECTED_NAME})
    assert blocked(desk) == [other.entry_index]


async def test_what_new_data_would_refuse_is_held_for_good(desk, recheck):
    land = desk.land
    ref = land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(ref)
    await adopt(desk, pins=pins_of(desk, core=b"subtree example.org\n"))
    await until(lambda: record(desk, ref).status is OrderStatus.HELD)
    with pytest.raises(RefusedError, match="nobody lifts"):
        await lift(desk, ref, Guard.PROTECTED_CORE)


async def test_a_restart_goes_on_where_a_policy_was_not_through(desk, tmp_path):
    land = desk.land
    ref = land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(ref)
    await adopt(desk, pins=pins_of(desk, names=b"subtree bad.example.org\n"))
    for _ in range(2):  # the second one finds that all is done
        recheck = Recheck(desk.ledger, desk.guards, KeptFiles(tmp_path / "kept"))
        task = asyncio.create_task(recheck.run())
        await until((tmp_path / "kept" / "rechecked").exists)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert record(desk, ref).holds == {Guard.PROTECTED_NAME}
    size = desk.files.size
    assert desk.ledger.state.size == size


async def test_one_list_that_is_gone_does_not_keep_the_others_from_being_held(desk, recheck):
    land = desk.land
    gone = land.ref((await offer(desk, b"exact gone.example.org\n")).recorded.index)
    await desk.approve(gone)
    ref = land.ref((await offer(desk, BAD)).recorded.index)
    await desk.approve(ref)
    desk.lists.path(record(desk, gone).payload.target_list_sha256).unlink()
    await adopt(desk, pins=pins_of(desk, names=b"subtree example.org\n"))
    await until(lambda: record(desk, ref).holds == {Guard.PROTECTED_NAME})


# What stands against an order, as everybody answers it.


def scan_of(*guards, **evidence):
    return GuardScan(
        counts=dict.fromkeys(guards, 1),
        evidence={guard: tuple(evidence.get(guard.name, ())) for guard in guards},
        evidence_counts={guard: len(evidence.get(guard.name, ())) for guard in guards},
    )


def test_nothing_stands_against_an_order_at_which_no_guard_fires():
    land = Land.founded()
    assert objections(land.order_record(land.propose()), GuardScan(), NO_PINS) == []


def test_a_shared_range_needs_its_assessment_and_its_lift():
    land = Land.founded()
    land.register(land.control)
    ref = land.propose()
    scan = scan_of(Guard.SHARED_RANGE, SHARED_RANGE=("net 198.18.0.0/15 cdn",))
    land.hold(ref, Guard.SHARED_RANGE)
    assessment = land.assess(ref)
    (objection,) = objections(land.order_record(ref), scan, NO_PINS)
    assert (objection.guard, objection.refuses) == (Guard.SHARED_RANGE, False)
    lifted = land.lift(ref, Guard.SHARED_RANGE, assessment=assessment.index)
    assert lifted.is_effective
    assert objections(land.order_record(ref), scan, NO_PINS) == []


def test_no_lift_answers_what_refuses():
    land = Land.founded()
    (objection,) = objections(
        land.order_record(land.propose()), scan_of(Guard.PUBLIC_SUFFIX), NO_PINS
    )
    assert objection.refuses


async def test_a_hold_that_somebody_else_was_quicker_with_is_no_error(desk):
    land = desk.land
    ref = land.ref((await offer(desk, BAD)).recorded.index)
    await adopt(desk, pins=pins_of(desk, names=b"subtree example.org\n"))
    order = record(desk, ref)
    held = await desk.guards.look(order, land.now_ms)
    assert await desk.guards.hold(order, held) is not None
    assert await desk.guards.hold(order, held) is None
    with pytest.raises(ConflictError):
        await desk.approve(ref)
