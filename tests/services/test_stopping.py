"""No stop is ever lost: not to a full disk, not to a slow one, not to an absent feed."""

import asyncio
from hashlib import sha256

import pytest

from enforcer.core.envelope import format_envelope
from enforcer.core.policy import DAY_MS
from enforcer.core.standing import Standing
from enforcer.errors import (
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from enforcer.services import stopping as stopping_module
from tests.control import REASONS, Desk
from tests.people import seal
from tests.waiting import until

FULL = UnavailableError("the disk is full", advice="Free space.")


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        yield desk


async def propose(desk, order, files=(REASONS,), validate_only=False):
    envelope = seal(order, desk.land.proposer.key)
    proposed = await desk.orders.propose(envelope, files, validate_only=validate_only)
    return proposed.recorded


@pytest.mark.parametrize(
    "fault", [FULL, IntegrityError("the disk lies", advice="Replace it.")], ids=["full", "lies"]
)
async def test_with_a_broken_disk_nodes_have_the_stop_and_the_caller_hears_so(desk, fault):
    ref = await desk.propose()
    await desk.approve(ref)
    desk.files.fault = fault
    envelope = desk.stop_of(ref)
    with pytest.raises(UnavailableError, match="nodes have the stop, and the ledger does not"):
        await desk.stopping.stop(envelope)
    assert format_envelope(envelope) in desk.feed.stops
    desk.files.fault = None
    await desk.stopping.record_unlogged()
    assert desk.reader.get(ref.order_id, None).standing is Standing.STOPPED
    assert (await desk.stopping.stop(envelope)).is_repeated


@pytest.mark.parametrize("step_ms", [500 * DAY_MS, -DAY_MS], ids=str)
async def test_by_a_wrong_clock_nodes_have_the_stop_and_the_ledger_gets_it_later(desk, step_ms):
    ref = await desk.propose()
    await desk.approve(ref)
    desk.clock.stepped_ms = step_ms
    envelope = desk.stop_of(ref)
    with pytest.raises(UnavailableError, match="nodes have the stop, and the ledger does not"):
        await desk.stopping.stop(envelope)
    assert format_envelope(envelope) in desk.feed.stops
    await desk.stopping.record_unlogged()
    assert desk.reader.get(ref.order_id, None).standing is not Standing.STOPPED
    desk.clock.stepped_ms = 0
    await desk.stopping.record_unlogged()
    assert desk.reader.get(ref.order_id, None).standing is Standing.STOPPED
    assert desk.ledger.state.recorded_at_ms == desk.land.now_ms


async def test_a_stop_that_nobody_took_says_what_else_can_be_done(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    desk.feed.is_away = True
    with pytest.raises(UnavailableError, match="neither") as caught:
        await desk.stopping.stop(desk.stop_of(ref))
    assert "--node" in caught.value.advice
    assert caught.value.data["nodes_told"] is False


async def test_a_disk_that_takes_its_time_does_not_keep_nodes_waiting(desk, monkeypatch):
    monkeypatch.setattr(stopping_module, "STOP_WAIT_SECONDS_MAX", 0.01)
    ref = await desk.propose()
    await until(lambda: not desk.publication.is_mending)
    desk.files.may_go_on.clear()
    envelope = desk.stop_of(ref)
    stopping = asyncio.ensure_future(desk.stopping.stop(envelope))
    await until(lambda: desk.feed.stops == [format_envelope(envelope)])
    assert not stopping.done()
    desk.files.may_go_on.set()
    assert (await stopping).index == ref.entry_index + 1


async def test_an_unlawful_stop_is_never_shown_to_nodes(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    desk.publication.is_mending = True
    with pytest.raises(RefusedError):
        await desk.stopping.stop(desk.stop_of(ref, by=desk.land.stranger))
    assert desk.feed.stops == []


async def test_a_kept_stop_is_dropped_when_another_has_stopped_the_order(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    with pytest.raises(UnavailableError):
        await desk.stopping.stop(desk.stop_of(ref))
    desk.files.fault = None
    await desk.stopping.stop(desk.stop_of(ref, by=desk.land.approver))
    await desk.stopping.record_unlogged()
    assert desk.stopping._unlogged == {}


async def test_a_kept_stop_stays_while_the_disk_is_full(desk):
    ref = await desk.propose()
    desk.files.fault = FULL
    with pytest.raises(UnavailableError):
        await desk.stopping.stop(desk.stop_of(ref))
    await desk.stopping.record_unlogged()
    assert len(desk.stopping._unlogged) == 1


async def test_a_stop_stands_even_when_its_reason_could_not_be_kept(desk, monkeypatch):
    ref = await desk.propose()
    reason = b"r" * 32 + b"the owner has cleaned it"
    stop = desk.land.stopping(ref, reason_sha256=sha256(reason).hexdigest())

    def full(_data):
        raise FULL

    monkeypatch.setattr(desk.stopping._side, "put", full)
    recorded = await desk.stopping.stop(seal(stop, desk.land.oversight.key), [reason])
    assert recorded.index == ref.entry_index + 1
