"""Sealed lists over the wire: brought with a wrap, proposed by two, read by who may."""

from __future__ import annotations

import pytest

from enforcer.backends import sealing
from enforcer.core.key import Category
from enforcer.core.order import OrderPublished, OrderRef, PublicationMode
from enforcer.core.policy import DAY_MS
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError
from enforcer.v1 import order_pb2
from tests.control import REASONS, with_reasons
from tests.people import seal
from tests.sealed import SealedText

TARGETS = b"exact hidden.example.org\n"
RESTRICTED, DELAYED = PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED


@pytest.fixture
async def founded(served):
    """A served control plane whose own key is registered."""
    land = served.land
    async with served.client(land.oversight) as client:
        own = land.control.registration(land.now_ms)
        await client.record_root_act(seal(own, *land.roots[:2]))
    return served


async def bring(served, text: SealedText, tmp_path) -> None:
    path = tmp_path / "sealed"
    path.write_bytes(text.octets)
    async with served.client(served.land.proposer) as client:
        recipient = (await client.receivers()).encryption_key
        await client.upload_targets(path, wrap=sealing.wrap(text.secret, recipient))


async def propose(served, text: SealedText, by, *signers) -> OrderRef:
    land = served.land
    changes = {"category": Category.CHILD_ABUSE_MATERIAL}
    order = with_reasons(
        land,
        publication=text.publication,
        target_list_sha256=text.sha256,
        target_count=text.text.count(b"\n"),
        **(changes if text.publication.mode is RESTRICTED else {}),
    )
    async with served.client(by) as client:
        recorded = await client.propose(seal(order, *(each.key for each in signers)), [REASONS])
    return land.ref(recorded.index)


async def test_a_restricted_order_goes_its_way_over_the_wire(founded, tmp_path):
    land = founded.land
    text = SealedText.of(TARGETS, RESTRICTED)
    await bring(founded, text, tmp_path)
    ref = await propose(founded, text, land.oversight, land.proposer, land.oversight)
    async with founded.client(land.approver) as client:
        await client.approve(seal(land.approval(ref), land.approver.key))
        order = await client.get(ref.order_id)
        assert order.status == order_pb2.ORDER_STATUS_IN_FORCE
        assert order.cosigner_person_id == land.oversight.person_id
        assert [each.person_id for each in order.signers] == [
            land.proposer.person_id,
            land.approver.person_id,
        ]
    async with founded.client(land.node) as client:
        wrap = await client.get_wrap(text.sealed_sha256, land.node.key.key_id)
        assert sealing.unwrap(wrap, land.node.encryption_secret) == text.secret
        chunks = [each async for each in client.get_target_list(text.sealed_sha256)]
        assert b"".join(chunks) == text.octets
        with pytest.raises(NotFoundError):
            _ = [each async for each in client.get_target_list(text.sha256)]


async def test_oversight_alone_proposes_nothing(founded, tmp_path):
    land = founded.land
    text = SealedText.of(TARGETS, RESTRICTED)
    await bring(founded, text, tmp_path)
    with pytest.raises(RefusedError, match="a proposer's and oversight's"):
        await propose(founded, text, land.oversight, land.oversight)
    with pytest.raises(RefusedError, match="cannot call ProposeOrder"):
        await propose(founded, text, land.approver, land.approver, land.oversight)


async def test_receivers_are_told_to_whoever_proposes(founded):
    land = founded.land
    async with founded.client(land.proposer) as client:
        told = await client.receivers()
    assert told.encryption_key == land.control.encryption_key
    (clerk,) = told.oversight
    assert (clerk.key_id, clerk.person_id, clerk.encryption_key) == (
        land.oversight.key.key_id,
        land.oversight.person_id,
        land.oversight.encryption_key,
    )


async def test_a_delayed_list_is_published_once_and_told_to_all(founded, tmp_path):
    land = founded.land
    text = SealedText.of(TARGETS, DELAYED, land.now_ms + 5 * DAY_MS)
    await bring(founded, text, tmp_path)
    ref = await propose(founded, text, land.proposer, land.proposer)
    async with founded.client(land.approver) as client:
        await client.approve(seal(land.approval(ref), land.approver.key))
        before = await client.get(ref.order_id)
        act = land.act(OrderPublished, ref, list_secret=text.secret)
        await client.record_act(seal(act, land.approver.key))
        order = await client.get(ref.order_id)
        assert (before.list_secret, order.list_secret) == ("", text.secret)
        assert before.until_ms < order.until_ms == order.expires_at_ms
        again = land.act(OrderPublished, ref, list_secret=text.secret)
        with pytest.raises(ConflictError, match="public already"):
            await client.record_act(seal(again, land.approver.key))
    async with founded.client(land.officer) as client:
        act = land.act(OrderPublished, ref, list_secret=text.secret)
        with pytest.raises(RefusedError):
            await client.record_act(seal(act, land.officer.key))


async def test_a_wrap_for_nobody_here_is_named(founded, tmp_path):
    text = SealedText.of(TARGETS, RESTRICTED)
    path = tmp_path / "sealed"
    path.write_bytes(text.octets)
    async with founded.client(founded.land.proposer) as client:
        for wrap in (b"x", b"\0" * 4_097, text.wrap(founded.land.node)):
            with pytest.raises(InputError) as caught:
                await client.upload_targets(path, wrap=wrap)
            assert caught.value.data["field"] == "header.wrap"
