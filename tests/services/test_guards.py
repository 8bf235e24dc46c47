"""Guards before the ledger: what they refuse leaves no trace, what they hold waits by an entry."""

import asyncio
from hashlib import sha256

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.core.entry import parse
from enforcer.core.guard import Guard, GuardScan
from enforcer.core.guard_facts import NO_PINS
from enforcer.core.hold import HoldLifted
from enforcer.core.life import OrderStatus
from enforcer.core.order import Measure, OrderConfirmed
from enforcer.core.policy import DAY_MS, DecisionKind, Pins
from enforcer.core.state import in_force
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from enforcer.services.guarding import objections
from enforcer.services.recheck import Recheck
from tests.control import REASONS, Desk, until, with_reasons
from tests.people import Land, seal

CORE = b"exact root.example.net\nsubtree time.example.net\n"
NAMES = b"exact shop.example.com\nsubtree bank.example.com\n"
BAD = b"exact bad.example.org\n"
BANK = b"exact login.bank.example.com\n"
CORE_NAME = b"exact clock.time.example.net\nsubtree bad.example.org\n"


def pins_of(desk, core=CORE, names=NAMES):
    return Pins(desk.lists.put(core), desk.lists.put(names), None, None)


async def adopt(desk, **changes):
    await desk.ledger.record(seal(desk.land.policy(**changes), *desk.land.roots[:2]))


@pytest.fixture
async def desk(tmp_path):
    """A desk whose policy pins protections, and whose own key is registered."""
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        land = desk.land
        await desk.ledger.record(seal(land.control.registration(land.now_ms), *land.roots[:2]))
        await adopt(desk, pins=pins_of(desk))
        yield desk


async def offer(desk, targets, validate_only=False, **changes):
    await desk.bring(targets)
    envelope = seal(with_reasons(desk.land, targets, **changes), desk.land.proposer.key)
    return await desk.orders.propose(envelope, [REASONS], validate_only=validate_only)


async def act(desk, kind, ref, by, files=(), **fields):
    envelope = seal(desk.land.act(kind, ref, **fields), by.key)
    return await desk.orders.record_act(envelope, files, validate_only=False)


async def lift(desk, ref, *guards, by=None, overrides=(), assessment=None):
    return await act(
        desk,
        HoldLifted,
        ref,
        by or desk.land.second_approver,
        guards=guards,
        overrides=overrides,
        assessment_index=assessment,
        reason_sha256=None,
    )


def record(desk, ref):
    return desk.ledger.state.orders[ref.entry_index]


def blocked(desk):
    return [row.index for row in in_force(desk.ledger.state, desk.land.now_ms)]


# Addresses, by all that is pinned about them.

REJECT = Measure(DnsMeasure.NONE, IpMeasure.REJECT)


@pytest.fixture
async def network_desk(desk):
    """A desk whose policy pins protected addresses and shared ranges."""
    pins = Pins(
        desk.lists.put(b"ip 203.0.113.53\n"),
        desk.lists.put(b"net 198.51.100.0/24\n"),
        None,
        desk.lists.put(b"shared 192.0.2.128/25 cdn\n"),
    )
    await adopt(desk, pins=pins)
    return desk


@pytest.mark.parametrize(
    ("targets", "guard"),
    [
        (b"ip 203.0.113.53\n", "PROTECTED_CORE"),
        (b"net 203.0.113.0/24\n", "PROTECTED_CORE"),
        (b"ip 10.0.0.1\n", "SPECIAL_NETWORK"),
        (b"ip 64:ff9b::c000:201\n", "SPECIAL_NETWORK"),
    ],
)
async def test_addresses_that_nobody_may_block_are_refused(network_desk, targets, guard):
    with pytest.raises(RefusedError) as caught:
        await offer(network_desk, targets, measure=REJECT)
    assert caught.value.data["guards"] == guard


@pytest.mark.parametrize(
    ("targets", "guard"),
    [
        (b"net 198.51.100.8/29\n", Guard.PROTECTED_NETWORK),
        (b"ip 192.0.2.200\n", Guard.SHARED_RANGE),
        (b"exact bad.example.org\nip 192.0.2.200\n", Guard.SHARED_RANGE),
    ],
)
async def test_addresses_of_many_are_held_and_cannot_be_approved(network_desk, targets, guard):
    measure = Measure(DnsMeasure.NEGATIVE, IpMeasure.REJECT)
    proposed = await offer(network_desk, targets, measure=measure)
    assert proposed.held.guards == (guard,)
    ref = network_desk.land.ref(proposed.recorded.index)
    with pytest.raises(ConflictError):
        await network_desk.approve(ref)
    assert blocked(network_desk) == []


async def test_addresses_of_nobody_else_pass_the_guards(network_desk):
    proposed = await offer(network_desk, b"ip 192.0.2.7\nnet 2001:db8::/48\n", measure=REJECT)
    assert proposed.held is None
    ref = network_desk.land.ref(proposed.recorded.index)
    await network_desk.approve(ref)
    assert blocked(network_desk) == [ref.entry_index]


# At the proposal.


async def test_what_a_guard_refuses_is_refused_with_its_lines_and_leaves_no_trace(desk, tmp_path):
    size = desk.files.size
    with pytest.raises(RefusedError, match="PROTECTED_CORE 1") as caught:
        await offer(desk, CORE_NAME)
    assert "line 1 PROTECTED_CORE exact clock.time.example.net" in caught.value.message
    assert caught.value.data["guards"] == "PROTECTED_CORE"
    assert desk.files.size == size
    assert list((tmp_path / "ledger" / "side").iterdir()) == []
    report = desk.guards.report(caught.value.data["report_sha256"])
    assert b"1 PROTECTED_CORE exact clock.time.example.net | subtree time.example.net\n" in report


async def test_reports_of_refusals_are_kept_for_a_while_and_no_longer(desk):
    names = []
    for number in range(33):
        with pytest.raises(RefusedError) as caught:
            await offer(desk, b"exact n%02d.time.example.net\n" % number)
        names.append(caught.value.data["report_sha256"])
    with pytest.raises(NotFoundError):
        desk.guards.report(names[0])
    assert desk.guards.report(names[1])


async def test_what_a_guard_holds_is_recorded_with_its_hold_in_one_append(desk):
    desk.files.appends.clear()
    proposed = await offer(desk, BANK)
    assert desk.files.appends == [2]
    index = proposed.recorded.index
    entry = parse(next(desk.files.entries(index + 1, index + 2)))
    assert entry.kind == "OrderHeld"
    assert entry.envelope.signatures[0].key_id == desk.land.control.key.key_id
    order = desk.ledger.state.orders[index]
    assert (order.status, order.holds) == (OrderStatus.HELD, {Guard.PROTECTED_NAME})
    (objection,) = proposed.held.objections
    assert objection.evidence == ("subtree bank.example.com",)


async def test_the_report_of_a_hold_is_kept_beside_the_ledger_salted(desk):
    proposed = await offer(desk, BANK)
    held = desk.side.read(sha256(proposed.held.document).hexdigest())
    assert held[32:] == proposed.held.scan.report
    assert b"login.bank.example.com | subtree bank.example.com" in held


async def test_the_same_proposal_again_is_held_once(desk):
    await desk.bring(BANK)
    envelope = seal(with_reasons(desk.land, BANK), desk.land.proposer.key)
    first = await desk.orders.propose(envelope, [REASONS], validate_only=False)
    size = desk.files.size
    again = await desk.orders.propose(envelope, [REASONS], validate_only=False)
    assert (again.recorded.index, again.recorded.is_repeated) == (first.recorded.index, True)
    assert desk.files.size == size


async def test_a_proposal_that_is_only_judged_tells_what_would_hold_it(desk, tmp_path):
    size = desk.files.size
    proposed = await offer(desk, BANK, validate_only=True)
    assert (proposed.recorded, proposed.held.guards) == (None, (Guard.PROTECTED_NAME,))
    assert desk.files.size == size
    assert list((tmp_path / "ledger" / "side").iterdir()) == []


async def test_without_a_registered_key_nothing_that_must_be_held_is_recorded(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        await adopt(desk, pins=pins_of(desk))
        size = desk.files.size
        for validate_only in (True, False):
            with pytest.raises(UnavailableError, match="not registered"):
                await offer(desk, BANK, validate_only=validate_only)
        assert desk.files.size == size
        await offer(desk, BAD)  # what nothing holds needs no key


async def test_a_hold_that_the_ledger_would_not_take_takes_the_proposal_with_it(desk):
    land = desk.land
    size = desk.files.size
    check, desk.guards.check_can_hold = desk.guards.check_can_hold, lambda: None
    await desk.ledger.record(seal(land.revocation(land.control), *land.roots[:2]))
    with pytest.raises(RefusedError, match="revoked"):
        await offer(desk, BANK)
    desk.guards.check_can_hold = check
    assert desk.files.size == size + 1


async def test_when_the_guards_cannot_read_nothing_is_recorded(desk):
    size = desk.files.size
    desk.guards._work = None
    with pytest.raises(AttributeError):
        await offer(desk, BAD)
    assert desk.files.size == size


# At the approval, and after a lift.


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


async def one_of_two(acts):
    """Do both at once; return the answer of one, and the error of the other."""
    answers = await asyncio.gather(*acts, return_exceptions=True)
    return sorted(answers, key=lambda each: isinstance(each, Exception))


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


class StoppingWork:
    """Guards' work during which somebody stops another order, the first time."""

    def __init__(self, work, stop):
        self._work = work
        self._stop = stop

    async def scan_guards(self, job):
        stop, self._stop = self._stop, None
        scan = await self._work.scan_guards(job)
        if stop is not None:
            await stop()
        return scan


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


def many(count, label=b"n"):
    return b"".join(b"exact %s%03d.example.org\n" % (label, number) for number in range(count))


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
