"""Reading orders back."""

import pytest

from enforcer.core.standing import Standing
from enforcer.errors import (
    InputError,
    NotFoundError,
    UnavailableError,
)
from tests.control import REASONS, Desk, with_reasons
from tests.people import seal

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


async def test_an_order_is_found_by_id_by_entry_and_by_both(desk):
    ref = await desk.propose()
    for order_id, index in ((ref.order_id, None), ("", ref.entry_index), (ref.order_id, 7)):
        assert desk.reader.get(order_id, index).record.index == ref.entry_index


@pytest.mark.parametrize(
    ("order_id", "index"), [("VN-2027-999999", None), ("", 0), ("VN-2027-999999", 7), ("", 99)]
)
async def test_an_order_that_is_not_there_is_not_found(desk, order_id, index):
    await desk.propose()
    with pytest.raises(NotFoundError):
        desk.reader.get(order_id, index)


async def test_reading_an_order_needs_a_name(desk):
    with pytest.raises(InputError):
        desk.reader.get("", None)


async def test_the_newest_version_is_meant_unless_another_is_named(desk):
    ref = await desk.propose()
    newer = with_reasons(desk.land, order_id=ref.order_id, version=2, supersedes=ref)
    recorded = await propose(desk, newer)
    assert desk.reader.get(ref.order_id, None).record.index == recorded.index
    assert desk.reader.get(ref.order_id, ref.entry_index).record.payload.version == 1


async def test_pages_follow_each_other_and_keep_to_the_status(desk):
    refs = [await desk.propose() for _ in range(5)]
    await desk.approve(refs[1])
    await desk.approve(refs[3])
    indices = [ref.entry_index for ref in refs]

    def page(first, count, wanted=None):
        return [view.record.index for view in desk.reader.page(first, count, wanted)]

    assert page(0, 10) == indices
    assert page(indices[2], 2) == indices[2:4]
    assert page(0, 10, Standing.IN_FORCE) == [indices[1], indices[3]]
    assert page(indices[2], 10, Standing.IN_FORCE) == [indices[3]]


async def test_there_is_no_policy_before_one_is_adopted(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        with pytest.raises(NotFoundError):
            desk.reader.policy()
