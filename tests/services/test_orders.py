"""Acts as they come in: what the rules cannot see is checked here."""

from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.core.order import Measure
from enforcer.core.policy import DAY_MS, Pins
from enforcer.core.standing import Standing
from enforcer.core.state import in_force
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.services.plan import wanted_lists as wanted_by_nodes
from enforcer.services.publication import wanted_lists as wanted_in_feed
from enforcer.services.uploads import lists_named
from tests.control import REASONS, TARGETS, Desk, with_reasons
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


async def test_two_persons_make_a_block_and_one_ends_it(desk):
    ref = await desk.propose()
    assert desk.reader.get(ref.order_id, None).standing is Standing.PROPOSED
    await desk.approve(ref)
    assert desk.reader.get(ref.order_id, None).standing is Standing.IN_FORCE
    await desk.stopping.stop(desk.stop_of(ref))
    assert desk.reader.get(ref.order_id, None).standing is Standing.STOPPED
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


NAMES = b"exact bad.example.org\n"
ADDRESSES = b"ip 192.0.2.1\nnet 2001:db8::/48\n"
BOTH = NAMES + ADDRESSES


@pytest.mark.parametrize(
    ("targets", "measure"),
    [
        (ADDRESSES, Measure(DnsMeasure.NONE, IpMeasure.REJECT)),
        (ADDRESSES, Measure(DnsMeasure.NONE, IpMeasure.DROP)),
        (ADDRESSES, Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)),
        (BOTH, Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)),
        (BOTH, Measure(DnsMeasure.BLOCK_PAGE, IpMeasure.DROP)),
    ],
)
async def test_addresses_can_be_ordered_with_a_measure_against_them(desk, targets, measure):
    ref = await desk.propose(targets, measure=measure)
    await desk.approve(ref)
    (row,) = in_force(desk.ledger.state, desk.land.now_ms)
    assert (row.dns_measure, row.ip_measure) == (measure.dns, measure.ip)


@pytest.mark.parametrize(
    ("targets", "measure", "fault"),
    [
        (NAMES, Measure(DnsMeasure.NONE, IpMeasure.REJECT), "names, and measure.dns is NONE"),
        (NAMES, Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT), "has no addresses"),
        (BOTH, Measure(DnsMeasure.NONE, IpMeasure.REJECT), "names, and measure.dns is NONE"),
        (BOTH, Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE), "addresses, and measure.ip is NONE"),
        (ADDRESSES, Measure(DnsMeasure.NEGATIVE, IpMeasure.NONE), "measure.ip is NONE"),
        (ADDRESSES, Measure(DnsMeasure.BLOCK_PAGE, IpMeasure.REJECT), "has no names"),
    ],
)
async def test_a_measure_must_be_what_can_be_done_to_each_target(desk, targets, measure, fault):
    await desk.bring(targets)
    with pytest.raises(RefusedError, match=fault) as caught:
        await propose(desk, with_reasons(desk.land, targets, measure=measure))
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
    stop = desk.stop_of(ref)
    for method in (
        desk.orders.propose(stop, (), validate_only=False),
        desk.orders.approve(stop, validate_only=False),
        desk.orders.extend(stop, (), validate_only=False),
        desk.orders.record_root_act(stop, (), validate_only=False),
        desk.stopping.stop(seal(desk.land.order(), desk.land.proposer.key)),
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
    assert desk.reader.get(ref.order_id, None).record.expires_at_ms == end_ms
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
    first = (await desk.orders.propose(order, [REASONS], validate_only=False)).recorded
    desk.uploads._summaries.clear()
    desk.uploads._work = None
    again = (await desk.orders.propose(order, [REASONS], validate_only=False)).recorded
    assert (again.index, again.is_repeated) == (first.index, True)


async def test_an_approval_under_another_policy_is_refused(desk):
    ref = await desk.propose()
    stale = seal(desk.land.approval(ref), desk.land.approver.key)
    await desk.ledger.record(seal(desk.land.policy(targets_max=9), *desk.land.roots[:2]))
    with pytest.raises(ConflictError) as caught:
        await desk.orders.approve(stale, validate_only=False)
    assert caught.value.data["field"] == "policy_sha256"


def test_the_list_in_these_tests_is_canonical():
    assert b"".join(sorted(TARGETS.splitlines(keepends=True))) == TARGETS


def adopt(desk, pins):
    envelope = seal(desk.land.policy(pins=pins), *desk.land.roots[:2])
    return desk.orders.record_root_act(envelope, (), validate_only=False)


async def test_what_a_policy_pins_must_be_of_the_kind_that_it_is_pinned_as(desk):
    texts = (b"subtree bank.example\n", b"icann co.example\n", b"shared 192.0.2.0/24 cloud\n")
    for text in texts:
        await desk.bring(text)
    names, suffixes, ranges = (sha256(text).hexdigest() for text in texts)
    wrong = {
        "protected_core": Pins(suffixes, None, None, None),
        "protected_names": Pins(None, ranges, None, None),
        "public_suffixes": Pins(None, None, names, None),
        "shared_ranges": Pins(None, None, None, suffixes),
    }
    for name, pins in wrong.items():
        with pytest.raises(RefusedError, match="not") as caught:
            await adopt(desk, pins)
        assert caught.value.data["field"] == f"pins.{name}"
    pins = Pins(None, names, suffixes, ranges)
    await adopt(desk, pins)
    assert desk.ledger.state.policy.payload.pins == pins
    assert lists_named(desk.ledger.state) == {names, suffixes, ranges}
    assert wanted_by_nodes(desk.ledger.state, 0) == [names, suffixes, ranges]
    assert wanted_in_feed(desk.ledger.state, 0) == [names, suffixes, ranges]


async def test_guard_data_is_no_target_list(desk):
    text = b"icann co.example\n"
    await desk.bring(text)
    with pytest.raises(RefusedError, match="0 targets"):
        await propose(desk, with_reasons(desk.land, text, target_count=1))


async def test_guard_data_with_a_bad_line_is_not_kept(desk):
    with pytest.raises(InputError) as caught:
        await desk.bring(b"icann CO.example\n")
    assert caught.value.data["line"] == 1


async def test_where_a_policy_asks_for_three_persons_the_third_one_makes_the_block(desk):
    land = desk.land
    await desk.ledger.record(seal(land.policy(persons_min=3), *land.roots[:2]))
    ref = await desk.propose()
    first = await desk.approve(ref)
    assert desk.reader.get(ref.order_id, None).standing is Standing.PROPOSED
    assert in_force(desk.ledger.state, land.now_ms) == ()
    with pytest.raises(RefusedError, match="approved this order already"):
        await desk.approve(ref)
    third = await desk.approve(ref, by=land.second_approver)
    assert third.index == first.index + 1
    assert desk.reader.get(ref.order_id, None).standing is Standing.IN_FORCE
    (row,) = in_force(desk.ledger.state, land.now_ms)
    assert row.index == ref.entry_index
