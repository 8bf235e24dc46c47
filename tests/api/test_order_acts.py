"""The life of an order over real gRPC: holds and what lifts them, remedies, watching."""

import asyncio
from contextlib import aclosing
from hashlib import sha256

import pytest

from enforcer.api import access
from enforcer.app import control
from enforcer.core.entry import parse
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.key import Role
from enforcer.core.order import OrderConfirmed, OrderRejected
from enforcer.core.policy import DAY_MS, DecisionKind, Pins
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    Recipient,
    ReviewDone,
)
from enforcer.core.state import in_force
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError
from enforcer.services.orders import OTHER_ACTS
from enforcer.v1 import order_pb2
from tests.api.test_control_plane import approved, proposed
from tests.control import NEVER_SECONDS, REASONS, Installation, with_reasons
from tests.people import seal
from tests.waiting import WAIT_SECONDS

DOCUMENT = b"d" * 32 + b"A document that somebody has to be able to read."
SHA256 = sha256(DOCUMENT).hexdigest()
NECESSITY = b'{"considered":["x"],"why_no_dns_order":"y","attested_by":"z"}'


@pytest.fixture
async def founded(served):
    """A served control plane that knows its own key and a safety officer's as well."""
    land = served.land
    async with served.client(land.oversight) as client:
        for person in (land.control, land.officer):
            await client.record_root_act(seal(person.registration(land.now_ms), *land.roots[:2]))
    return served


async def act(served, kind, ref, by, *more, validate_only=False, files=(), **fields):
    """Have somebody record an act."""
    envelope = seal(served.land.act(kind, ref, **fields), by.key, *(each.key for each in more))
    async with served.client(by) as client:
        return await client.record_act(envelope, files, validate_only=validate_only)


def held(served, ref, by=None, **options):
    by = by or served.land.oversight
    guards = (Guard.PERSON,)
    return act(served, OrderHeld, ref, by, guards=guards, report_sha256=None, **options)


def lifted(served, ref, by, **options):
    fields = {"overrides": (), "assessment_index": None, "reason_sha256": None}
    return act(served, HoldLifted, ref, by, guards=(Guard.PERSON,), **fields, **options)


async def read(served, ref):
    async with served.client(served.land.oversight) as client:
        return await client.get(entry_index=ref.entry_index)


async def test_a_proposal_is_turned_down_for_good_with_the_reason_kept(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    rejection = seal(land.act(OrderRejected, ref, reason_sha256=SHA256), land.approver.key)
    async with founded.client(land.approver) as client:
        assert await client.reject(rejection, [DOCUMENT], validate_only=True) is None
        await client.reject(rejection, [DOCUMENT])
        assert (await client.get(ref.order_id)).status == order_pb2.ORDER_STATUS_REJECTED
        assert await client.get_side_file(SHA256) == DOCUMENT
    with pytest.raises(ConflictError):
        await approved(founded, ref)


async def test_a_held_order_shows_what_holds_it_and_who_lifted_it(founded, tmp_path):
    ref = await proposed(founded, tmp_path)
    await held(founded, ref)
    order = await read(founded, ref)
    assert (order.status, list(order.holds)) == (
        order_pb2.ORDER_STATUS_HELD,
        [order_pb2.GUARD_PERSON],
    )
    with pytest.raises(ConflictError, match="HELD by PERSON"):
        await approved(founded, ref)
    lift = await lifted(founded, ref, founded.land.oversight)
    await approved(founded, ref)
    order = await read(founded, ref)
    (shown,) = order.lifts
    assert (shown.entry_index, shown.person_id) == (lift.index, "court.clerk")
    assert list(order.holds) == []
    assert order.status == order_pb2.ORDER_STATUS_IN_FORCE


async def test_an_assessment_comes_with_its_documents_or_not_at_all(founded, tmp_path):
    ref = await proposed(founded, tmp_path)
    by = founded.land.proposer
    async with founded.client(by) as client:
        facts = await client.draft_assessment(ref.order_id)
    files = [bytes(32) + facts, bytes(32) + NECESSITY]
    names = ("facts_sha256", "necessity_sha256")
    fields = {name: sha256(data).hexdigest() for name, data in zip(names, files, strict=True)}
    with pytest.raises(NotFoundError) as caught:
        await act(founded, AssessmentRecorded, ref, by, **fields)
    assert caught.value.data["field"] == "side_files"
    done = await act(founded, AssessmentRecorded, ref, by, files=files, **fields)
    assert list((await read(founded, ref)).assessments) == [done.index]


async def test_an_emergency_is_confirmed_by_two_persons(founded, tmp_path):
    land = founded.land
    end_ms = land.now_ms + 2 * DAY_MS
    ref = await proposed(
        founded,
        tmp_path,
        decision_kind=DecisionKind.EMERGENCY,
        expires_at_ms=end_ms,
        review_due_at_ms=end_ms,
    )
    await approved(founded, ref)
    later_ms = land.now_ms + 30 * DAY_MS
    fields = {
        "decision_kind": DecisionKind.ADMINISTRATIVE,
        "decision_sha256": SHA256,
        "evidence_sha256": (SHA256,),
        "expires_at_ms": later_ms,
        "review_due_at_ms": later_ms,
        "files": [DOCUMENT],
    }
    with pytest.raises(RefusedError, match="two persons"):
        await act(founded, OrderConfirmed, ref, land.approver, **fields)
    await act(founded, OrderConfirmed, ref, land.approver, land.proposer, **fields)
    order = await read(founded, ref)
    assert order.decision_kind == order_pb2.DECISION_KIND_ADMINISTRATIVE
    assert order.expires_at_ms == later_ms


async def test_what_follows_a_block_is_shown_with_it(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    await approved(founded, ref)
    review = await act(
        founded,
        ReviewDone,
        ref,
        land.approver,
        review_due_at_ms=land.now_ms + 20 * DAY_MS,
        reason_sha256=None,
    )
    await act(
        founded,
        NotificationSent,
        ref,
        land.proposer,
        recipient=Recipient.HOLDER,
        notice_sha256=SHA256,
        sent_at_ms=land.now_ms,
        files=[DOCUMENT],
    )
    await act(founded, OrderSuspended, ref, land.officer, until_ms=None, reason_sha256=None)
    order = await read(founded, ref)
    (suspension,) = order.suspensions
    assert (list(order.reviews), suspension.operator) == ([review.index], "isp-1")
    named = suspension.payload_sha256
    await act(founded, OrderResumed, ref, land.officer, suspension_sha256=named, reason_sha256=None)
    filed = await act(
        founded, AppealFiled, ref, land.oversight, statement_sha256=SHA256, files=[DOCUMENT]
    )
    decided = await act(
        founded,
        AppealDecided,
        ref,
        land.oversight,
        appeal_index=filed.index,
        outcome=AppealOutcome.GRANTED,
        decision_sha256=SHA256,
    )
    order = await read(founded, ref)
    (appeal,) = order.appeals
    assert (appeal.entry_index, appeal.decided_index) == (filed.index, decided.index)
    assert appeal.outcome == order_pb2.APPEAL_OUTCOME_GRANTED
    assert list(order.suspensions) == []
    assert order.status == order_pb2.ORDER_STATUS_STOPPED
    assert not in_force(land.state, land.now_ms)


async def test_an_act_that_is_only_judged_is_not_recorded(founded, tmp_path):
    ref = await proposed(founded, tmp_path)
    note = founded.control.ledger.files.checkpoint_note
    assert await held(founded, ref, validate_only=True) is None
    assert founded.control.ledger.files.checkpoint_note == note


async def test_the_same_act_again_is_the_same_entry(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    fields = {"guards": (Guard.PERSON,), "report_sha256": None}
    hold = seal(land.act(OrderHeld, ref, **fields), land.oversight.key)
    async with founded.client(land.oversight) as client:
        first, again = await client.record_act(hold), await client.record_act(hold)
    assert (again.index, again.is_repeated) == (first.index, True)


@pytest.mark.parametrize("kind", OTHER_ACTS, ids=lambda kind: kind.__name__)
def test_every_such_act_has_its_roles_and_nobody_else_may_bring_it(kind):
    allowed = access.ACT_ROLES[kind.TYPE]
    assert allowed <= access.ROLES["/enforcer.v1.OrderService/RecordAct"]
    for role in Role:
        caller = access.Caller(role, "somebody")
        if role in allowed:
            access.check_act(kind.TYPE, caller)
        else:
            with pytest.raises(RefusedError):
                access.check_act(kind.TYPE, caller)
    assert set(access.ACT_ROLES) == {each.TYPE for each in OTHER_ACTS}


async def test_a_certificate_of_another_role_than_the_acts_brings_nothing(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    hold = land.act(OrderHeld, ref, guards=(Guard.PERSON,), report_sha256=None)
    async with founded.client(land.officer) as client:
        with pytest.raises(RefusedError, match="cannot bring") as caught:
            await client.record_act(seal(hold, land.officer.key))
    assert caught.value.data["field"] == "certificate"


async def test_a_certificate_and_a_signature_of_two_roles_bring_nothing(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    hold = land.act(OrderHeld, ref, guards=(Guard.PERSON,), report_sha256=None)
    as_approver = founded.client(land.oversight, role=Role.APPROVER)
    async with as_approver as client:
        with pytest.raises(RefusedError, match="for the role APPROVER, and the signature"):
            await client.record_act(seal(hold, land.oversight.key))


async def test_the_method_for_other_acts_takes_no_block(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    async with founded.client(land.approver) as client:
        with pytest.raises(InputError, match="does not take"):
            await client.record_act(seal(land.approval(ref), land.approver.key))


# Watching.


async def some(watching, count):
    found = []
    async with aclosing(watching):
        async for message in watching:
            found.append(message)
            if len(found) == count:
                break
    return found


async def test_the_whole_history_of_an_order_is_read_by_its_id(founded, tmp_path):
    land = founded.land
    other = await proposed(founded, tmp_path)
    ref = await proposed(founded, tmp_path)
    await held(founded, ref)
    await lifted(founded, ref, land.oversight)
    await approved(founded, other)
    await approved(founded, ref)
    async with founded.client(land.node) as client:
        found = [each async for each in client.watch_orders(0, ref.order_id, once=True)]
    assert [parse(each.entry).kind for each in found] == [
        "OrderProposed",
        "OrderHeld",
        "HoldLifted",
        "OrderApproved",
    ]
    signers = [each.signed_by for each in found]
    assert signers == [["an.nguyen"], ["court.clerk"], ["court.clerk"], ["binh.tran"]]
    assert all(each.orders[0].entry_index == ref.entry_index for each in found)


async def test_a_watcher_sees_what_comes_as_it_comes(founded, tmp_path):
    async with founded.client(founded.land.node) as client:
        watching = asyncio.create_task(some(client.watch_orders(), 2))
        ref = await proposed(founded, tmp_path)
        await approved(founded, ref)
        first, second = await asyncio.wait_for(watching, WAIT_SECONDS)
    assert first.entry_index == ref.entry_index
    assert parse(second.entry).kind == "OrderApproved"


async def test_the_orders_that_a_stolen_key_puts_on_hold_are_seen(founded, tmp_path):
    land = founded.land
    ref = await proposed(founded, tmp_path)
    await approved(founded, ref)
    start = founded.control.ledger.files.size
    async with founded.client(land.oversight) as client:
        revocation = seal(land.revocation(land.approver, since=0), *land.roots[:2])
        await client.record_root_act(revocation)
        (seen,) = [each async for each in client.watch_orders(start, once=True)]
    assert [order.order_id for order in seen.orders] == [ref.order_id]
    assert list(seen.orders[0].holds) == [order_pb2.GUARD_COMPROMISED_KEY]


async def test_a_watch_beyond_the_ledger_or_of_no_order_is_refused(founded):
    async with founded.client(founded.land.node) as client:
        with pytest.raises(InputError) as caught:
            await some(client.watch_orders(10_000, once=True), 1)
        assert caught.value.data["field"] == "start_index"
        with pytest.raises(NotFoundError):
            await some(client.watch_orders(0, "VN-2027-999999", once=True), 1)


class Wire:
    """A connection's middle: passes octets on until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pass(self, reader, writer):
        there, here = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, here]
        await asyncio.gather(_pump(reader, here), _pump(there, writer))


async def _pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def test_a_watcher_that_is_cut_off_goes_on_where_it_was(founded, tmp_path):
    land = founded.land
    seen = []
    came = asyncio.Event()

    async def watch(client):
        async for each in client.watch_orders():
            seen.append(each.entry_index)
            came.set()

    async def recorded():
        came.clear()
        ref = await proposed(founded, tmp_path)
        await asyncio.wait_for(came.wait(), WAIT_SECONDS)
        return ref.entry_index

    async with Wire(founded.control.port) as wire:
        files = founded.issue(Role.NODE, "node-1")
        async with founded.connect(files, port=wire.port) as client:
            watching = asyncio.create_task(watch(client))
            indices = [await recorded()]
            for _ in range(3):
                wire.cut()
                indices += [await recorded(), await recorded()]
            await founded.stop()  # and the whole control plane
            await founded.start()
            indices.append(await recorded())
            watching.cancel()
    assert seen == indices
    assert land.state.size == indices[-1] + 1


async def test_watchers_do_not_keep_the_control_plane_from_ending(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "GRACE_SECONDS", NEVER_SECONDS)  # for running calls
    async with Installation(tmp_path) as served:
        await served.found()
        async with served.client(served.land.node) as client:
            seen = asyncio.Event()

            async def follow():
                async for _ in client.watch_orders():
                    seen.set()

            await proposed(served, tmp_path)
            following = asyncio.create_task(follow())
            await asyncio.wait_for(seen.wait(), WAIT_SECONDS)  # and now it waits for the next
            await asyncio.wait_for(served.stop(), WAIT_SECONDS)
            following.cancel()
            await served.start()


# Guards.


@pytest.fixture
async def guarded(founded, tmp_path):
    """A served control plane whose policy pins protections."""
    land, digests = founded.land, []
    async with founded.client(land.proposer) as client:
        for text in (b"subtree time.example.net\n", b"subtree bank.example.com\n"):
            path = tmp_path / "pinned.txt"
            path.write_bytes(text)
            digests.append((await client.upload_targets(path)).sha256)
        policy = land.policy(pins=Pins(*digests, None, None))
        await client.record_root_act(seal(policy, *land.roots[:2]))
    return founded


async def offer(served, tmp_path, targets, validate_only=False):
    path = tmp_path / "targets.txt"
    path.write_bytes(targets)
    envelope = seal(with_reasons(served.land, targets), served.land.proposer.key)
    async with served.client(served.land.proposer) as client:
        await client.upload_targets(path)
        return await client.propose_held(envelope, [REASONS], validate_only=validate_only)


async def test_the_answer_to_a_proposal_says_what_holds_it(guarded, tmp_path):
    targets = b"exact a.bank.example.com\nexact b.bank.example.com\n"
    recorded, said = await offer(guarded, tmp_path, targets, validate_only=True)
    assert recorded is None
    recorded, said = await offer(guarded, tmp_path, targets)
    (finding,) = said.findings
    assert (finding.guard, finding.line_count) == (order_pb2.GUARD_PROTECTED_NAME, 2)
    assert list(finding.evidence) == ["subtree bank.example.com"]
    assert b"2 PROTECTED_NAME exact b.bank.example.com | subtree bank" in said.guard_report
    async with guarded.client(guarded.land.node) as client:
        order = await client.get(entry_index=recorded.index)
        assert order.status == order_pb2.ORDER_STATUS_HELD
        _, hold = [each async for each in client.watch_orders(0, order.order_id, once=True)]
    assert list(hold.signed_by) == ["control-1"]


async def test_the_report_on_a_refused_proposal_can_be_read(guarded, tmp_path):
    with pytest.raises(RefusedError, match="PROTECTED_CORE") as caught:
        await offer(guarded, tmp_path, b"exact a.time.example.net\nsubtree bad.example.org\n")
    assert caught.value.data["guards"] == "PROTECTED_CORE"
    async with guarded.client(guarded.land.proposer) as client:
        report = await client.guard_report(caught.value.data["report_sha256"])
        assert b"1 PROTECTED_CORE exact a.time.example.net | subtree time" in report
        with pytest.raises(NotFoundError):
            await client.guard_report("0" * 64)


async def test_nothing_stands_in_the_answer_to_a_proposal_that_no_guard_holds(guarded, tmp_path):
    recorded, said = await offer(guarded, tmp_path, b"exact bad.example.org\n")
    assert recorded is not None
    assert (list(said.findings), said.guard_report) == ([], b"")
