"""Every method over real gRPC with mTLS: what it does when all is well."""

import asyncio
from hashlib import sha256

import pytest

from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.keys import verify
from enforcer.core.attestation import Attestation, GateState
from enforcer.core.entry import parse
from enforcer.core.envelope import format_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.merkle import leaf_hash
from enforcer.core.policy import DAY_MS
from enforcer.core.receipt import verify_receipt
from enforcer.core.state import in_force
from enforcer.core.table import NO_LOCAL_LAYER
from enforcer.core.tile import split_hashes
from enforcer.v1 import node_pb2, order_pb2
from tests.control import (
    LOG_VKEY,
    ORIGIN,
    REASONS,
    TARGETS,
    Installation,
    founding_acts,
    with_reasons,
)
from tests.people import request_id, seal
from tests.waiting import until

NAME = sha256(TARGETS).hexdigest()


async def proposed(served, tmp_path, targets=TARGETS, **changes):
    """Upload the list and propose an order for it, as the proposer."""
    path = tmp_path / "targets.txt"
    path.write_bytes(targets)
    order = with_reasons(served.land, targets, **changes)
    async with served.client(served.land.proposer) as client:
        await client.upload_targets(path)
        recorded = await client.propose(seal(order, served.land.proposer.key), [REASONS])
    return served.land.ref(recorded.index)


async def approved(served, ref):
    async with served.client(served.land.approver) as client:
        return await client.approve(seal(served.land.approval(ref), served.land.approver.key))


async def test_the_whole_life_of_an_order(served, tmp_path):
    land = served.land
    ref = await proposed(served, tmp_path)
    assert not in_force(land.state, land.now_ms)
    await approved(served, ref)
    assert [row.order_id for row in in_force(land.state, land.now_ms)] == [ref.order_id]
    end_ms = land.now_ms + 60 * DAY_MS
    extension = seal(land.extension(ref, end_ms), land.proposer.key, land.approver.key)
    async with served.client(land.proposer) as client:
        assert (await client.extend(extension)).index == 9
        assert (await client.get(ref.order_id)).expires_at_ms == end_ms
    async with served.client(land.oversight) as client:
        await client.stop(seal(land.stopping(ref), land.oversight.key))
        assert (await client.get(ref.order_id)).status == order_pb2.ORDER_STATUS_STOPPED
    assert not in_force(land.state, land.now_ms)
    await until(lambda: served.feed.head == served.control.ledger.files.checkpoint_note)


async def test_each_answer_is_the_entry_and_a_receipt_that_verifies_offline(served, tmp_path):
    ref = await proposed(served, tmp_path)
    recorded = await approved(served, ref)
    assert recorded.index == 8
    verify_receipt(recorded.receipt, recorded.leaf, ORIGIN, LOG_VKEY, verify)
    approval = parse(recorded.leaf).envelope
    assert approval.signatures[0].key_id == served.land.approver.key.key_id


async def test_an_act_that_is_only_judged_is_not_recorded(served, tmp_path):
    land = served.land
    path = tmp_path / "targets.txt"
    path.write_bytes(TARGETS)
    async with served.client(land.proposer) as client:
        await client.upload_targets(path)
        order = seal(with_reasons(land), land.proposer.key)
        assert await client.propose(order, [REASONS], validate_only=True) is None
    ref = await proposed(served, tmp_path)
    async with served.client(land.approver) as client:
        approval = seal(land.approval(ref), land.approver.key)
        assert await client.approve(approval, validate_only=True) is None
        policy = seal(land.policy(), *land.roots[:2])
        assert await client.record_root_act(policy, validate_only=True) is None
    assert served.control.ledger.files.size == 8


async def test_the_real_worker_checks_what_is_uploaded(tmp_path):
    async with ListWorker() as work, Installation(tmp_path, work=work) as served:
        await served.found()
        targets = b"".join(b"exact n%06d.example.org\n" % number for number in range(50_000))
        path = tmp_path / "targets.txt"
        path.write_bytes(targets)
        told = []
        async with served.client(served.land.proposer) as client:
            summary = await client.upload_targets(path, lambda *at: told.append(at))
            assert (summary.target_count, summary.name_count) == (50_000, 50_000)
            again = await client.upload_targets(path)
        assert again == summary
        assert told[-1] == (len(targets), len(targets))


async def test_an_order_is_read_with_everything_that_later_acts_need(served, tmp_path):
    land = served.land
    ref = await proposed(served, tmp_path)
    await approved(served, ref)
    async with served.client(land.oversight) as client:
        order = await client.get(ref.order_id)
        policy = await client.policy()
    assert (order.entry_index, order.payload_sha256) == (ref.entry_index, ref.payload_sha256)
    assert sha256(order.payload).hexdigest() == ref.payload_sha256
    assert order.status == order_pb2.ORDER_STATUS_IN_FORCE
    assert [signer.person_id for signer in order.signers] == ["an.nguyen", "binh.tran"]
    assert (order.approved_index, order.HasField("ended_index")) == (8, False)
    assert order.register_url == f"https://register.example.org/{ref.order_id}"
    assert order.policy_sha256 == policy.payload_sha256 == land.state.policy.payload_sha256
    assert policy.entry_index == 0


async def test_orders_are_listed_page_by_page(served, tmp_path):
    refs = [await proposed(served, tmp_path) for _ in range(5)]
    await approved(served, refs[2])
    async with served.client(served.land.oversight) as client:
        first = await client.list_orders(page_size=2)
        second = await client.list_orders(page_size=2, page_token=first.next_page_token)
        last = await client.list_orders(page_size=2, page_token=second.next_page_token)
        pages = [[order.entry_index for order in page.orders] for page in (first, second, last)]
        assert pages == [[7, 8], [9, 10], [11]]
        assert last.next_page_token == ""
        in_force_now = [o async for o in client.orders(order_pb2.ORDER_STATUS_IN_FORCE)]
        assert [order.entry_index for order in in_force_now] == [refs[2].entry_index]
        assert in_force_now[0].payload == b""


async def test_an_outsider_reads_enough_to_verify_the_ledger(served, tmp_path):
    ref = await proposed(served, tmp_path)
    await approved(served, ref)
    async with served.client(served.land.oversight) as client:
        checkpoint, _ = await client.checkpoint()
        entries = [entry async for entry in client.read_entries()]
        some = [entry async for entry in client.read_entries(3, 5)]
        hashes = await client.get_tile(0, 0, checkpoint.size)
        targets = b"".join([chunk async for chunk in client.get_target_list(NAME)])
        reasons = await client.get_side_file(sha256(REASONS).hexdigest())
    assert [index for index, _ in entries] == list(range(checkpoint.size))
    assert some == entries[3:5]
    assert split_hashes(hashes) == [leaf_hash(leaf) for _, leaf in entries]
    assert (targets, reasons) == (TARGETS, REASONS)


async def test_a_new_version_of_a_long_list_is_read_as_what_it_differs_in(served, tmp_path):
    lines = [b"exact n%03d.example.org\n" % at for at in range(400)]
    old, new = b"".join(lines), b"".join(lines[1:])
    ref = await proposed(served, tmp_path, old)
    served.feed.is_away = True  # it is made and served without Redis
    await proposed(served, tmp_path, new, order_id=ref.order_id, version=2, supersedes=ref)
    names = [sha256(text).hexdigest() for text in (new, old)]
    async with served.client(served.land.node) as client:
        chunks = [chunk async for chunk in client.get_target_list_delta(*names)]
    assert b"".join(chunks) == b"-" + lines[0]


async def test_a_long_ledger_comes_in_several_messages(served):
    land = served.land
    acts = (seal(land.order(case_reference="x" * 400), land.proposer.key) for _ in range(600))
    await asyncio.gather(*(served.control.ledger.record(act) for act in acts))
    async with served.client(land.oversight) as client:
        indices = [index async for index, _ in client.read_entries(5)]
    assert indices == list(range(5, 607))


async def test_a_node_attests_and_passes_on_stops(served, tmp_path):
    land = served.land
    ref = await proposed(served, tmp_path)
    await approved(served, ref)
    files = served.control.ledger.files
    attestation = Attestation(
        ledger_origin=ORIGIN,
        request_id=request_id(),
        valid_until_ms=land.now_ms + 1,
        node_id="node-1",
        t_ms=land.now_ms,
        ledger_size=files.size,
        root_sha256=files.root.hex(),
        table_digest="0" * 64,
        local_digest=NO_LOCAL_LAYER.digest,
        gate=GateState.HOLDS_TABLE,
        firewall=FirewallState.NONE,
        pieces_digest=None,
        repairs=0,
        curtailed=(),
        omission_count=0,
        omissions=(),
        ineffective=(),
    )
    envelope = seal(attestation, land.node.key)
    stop = seal(land.stopping(ref), land.oversight.key)
    async with served.client(land.node) as client:
        await client.attest(envelope)
        pushed = await client.push_stop(stop)
        again = await client.push_stop(stop)
    assert pushed.outcome == node_pb2.STOP_OUTCOME_RECORDED
    assert (again.recorded.index, again.recorded.is_repeated) == (pushed.recorded.index, True)
    (kept,) = (tmp_path / "ledger" / "attestations" / "node-1").iterdir()
    assert kept.read_bytes() == format_envelope(envelope)


async def test_a_person_may_push_a_stop_as_well(served, tmp_path):
    land = served.land
    ref = await proposed(served, tmp_path)
    async with served.client(land.oversight) as client:
        pushed = await client.push_stop(seal(land.stopping(ref), land.oversight.key))
    assert pushed.recorded.index == ref.entry_index + 1


async def test_an_empty_ledger_is_founded_over_the_wire(empty):
    async with empty.client(empty.land.oversight) as client:
        policy, registration, *_ = founding_acts(empty.land)
        assert (await client.record_root_act(policy)).index == 0
        assert (await client.record_root_act(registration)).index == 1


async def test_a_restart_keeps_every_answer(served, tmp_path):
    land = served.land
    ref = await proposed(served, tmp_path)
    approval = seal(land.approval(ref), land.approver.key)
    async with served.client(land.approver) as client:
        first = await client.approve(approval)
        await served.stop()
        await served.start()
        again = await client.approve(approval)
    assert (again.index, again.leaf, again.is_repeated) == (first.index, first.leaf, True)


@pytest.mark.parametrize("entry_index", [7, None])
async def test_an_order_is_found_by_entry_or_id(served, tmp_path, entry_index):
    ref = await proposed(served, tmp_path)
    async with served.client(served.land.oversight) as client:
        name = "" if entry_index is not None else ref.order_id
        assert (await client.get(name, entry_index)).order_id == ref.order_id
