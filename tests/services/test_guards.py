"""Guards before the ledger: what they refuse leaves no trace, what they hold waits by an entry."""

from hashlib import sha256

import pytest

from enforcer.core.entry import parse
from enforcer.core.guard import Guard
from enforcer.core.life import OrderStatus
from enforcer.core.order import Measure
from enforcer.core.policy import Pins
from enforcer.core.table import DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, NotFoundError, RefusedError, UnavailableError
from tests.control import REASONS, Desk, with_reasons
from tests.people import seal
from tests.services.guard_world import BAD, BANK, CORE_NAME, adopt, blocked, guarded, offer, pins_of


@pytest.fixture
async def desk(tmp_path):
    async with guarded(tmp_path) as desk:
        yield desk


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
