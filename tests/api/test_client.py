"""The client believes nothing that does not verify."""

from dataclasses import replace
from hashlib import sha256

import pytest

from enforcer.api import order_service
from enforcer.api.translate import recorded_to_message
from enforcer.backends.keys import PrivateKey
from enforcer.core.note import VerifierKey
from enforcer.core.receipt import Receipt
from enforcer.errors import IntegrityError, UnavailableError
from tests.control import ORIGIN, TARGETS, trust_of
from tests.people import seal


@pytest.fixture
def oversight(served):
    return served.issue(served.land.oversight.role, served.land.oversight.person_id)


async def test_a_receipt_by_another_log_key_is_refused(served, oversight):
    other = VerifierKey(ORIGIN, PrivateKey.generate().public_key)
    trust = replace(trust_of(served.land), log_vkey=other.text)
    async with served.connect(oversight, trust) as client:
        with pytest.raises(IntegrityError, match="not signed by"):
            await client.record_root_act(seal(served.land.policy(), *served.land.roots[:2]))
        with pytest.raises(IntegrityError):
            await client.checkpoint()


async def test_a_receipt_for_another_act_is_refused(served, oversight, monkeypatch):
    earlier = await served.control.ledger.record(
        seal(served.land.order(), served.land.proposer.key)
    )
    monkeypatch.setattr(order_service, "_message", lambda _recorded: recorded_to_message(earlier))
    async with served.connect(oversight) as client:
        with pytest.raises(IntegrityError, match="about another act"):
            await client.record_root_act(seal(served.land.policy(), *served.land.roots[:2]))


async def test_an_answer_without_its_receipt_is_refused(served, oversight, monkeypatch):
    monkeypatch.setattr(order_service, "_message", lambda _recorded: None)
    async with served.connect(oversight) as client:
        with pytest.raises(IntegrityError):
            await client.record_root_act(seal(served.land.policy(), *served.land.roots[:2]))


async def test_a_receipt_with_another_leaf_is_refused(served, oversight, monkeypatch):
    def lying(recorded):
        return recorded_to_message(replace(recorded, leaf=recorded.leaf.replace(b"1", b"2", 1)))

    monkeypatch.setattr(order_service, "_message", lying)
    async with served.connect(oversight) as client:
        with pytest.raises(IntegrityError, match="another root"):
            await client.record_root_act(seal(served.land.policy(), *served.land.roots[:2]))


async def test_a_receipt_that_names_another_index_is_refused(served, oversight, monkeypatch):
    def lying(recorded):
        receipt = Receipt(3, recorded.receipt.hashes, recorded.receipt.checkpoint_note)
        return recorded_to_message(replace(recorded, receipt=receipt))

    monkeypatch.setattr(order_service, "_message", lying)
    async with served.connect(oversight) as client:
        with pytest.raises(IntegrityError):
            await client.record_root_act(seal(served.land.policy(), *served.land.roots[:2]))


async def test_a_list_that_was_changed_on_the_way_is_refused(served, oversight, tmp_path):
    (tmp_path / "targets.txt").write_bytes(TARGETS)
    name = sha256(TARGETS).hexdigest()
    async with served.client(served.land.proposer) as client:
        await client.upload_targets(tmp_path / "targets.txt")
    (tmp_path / "ledger" / "lists" / name).write_bytes(b"exact other.example.org\n")
    async with served.connect(oversight) as client:
        with pytest.raises(IntegrityError, match="target list that came"):
            [chunk async for chunk in client.get_target_list(name)]


async def test_a_control_plane_that_is_away_is_said_to_be_away(served, oversight):
    async with served.connect(oversight) as client:
        await served.stop()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await client.policy()
    await served.start()
    async with served.connect(oversight) as client:
        await client.policy()
