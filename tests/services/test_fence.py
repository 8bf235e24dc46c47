"""Voices against a ledger: as many as leave no quorum, and no fewer."""

from __future__ import annotations

import pytest

from enforcer.backends.keys import PrivateKey
from enforcer.core.cosignature import NOBODY
from enforcer.errors import UnavailableError
from enforcer.services.fence import Fence
from tests.control import Desk
from tests.people import seal
from tests.witnesses import named

KEYS = [PrivateKey.generate() for _ in range(5)]


@pytest.mark.parametrize(("count", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (5, 5)])
def test_a_ledger_is_replaced_once_no_quorum_is_left_for_it(count, quorum):
    witnesses = named(KEYS[:count], quorum)
    fence, told = Fence(witnesses), []
    fence.on_replaced(told.append)
    for at, key in enumerate(witnesses.keys, 1):
        fence.is_elsewhere([key])
        fence.is_elsewhere([key])  # one voice, however often
        assert bool(told) == (count - at < quorum)
    assert len(told) == 1
    assert "was replaced" in told[0].message


def test_a_witness_that_cosigns_what_is_here_takes_its_voice_back():
    witnesses = named(KEYS[:3], 2)
    fence = Fence(witnesses)
    first, second, _ = witnesses.keys
    fence.is_elsewhere([first])
    fence.is_here([first])
    fence.is_elsewhere([second])
    assert fence.error is None
    fence.is_elsewhere([first])
    assert fence.error is not None


def test_where_nobody_witnesses_nobody_has_a_voice():
    fence = Fence(NOBODY)
    fence.is_elsewhere(named(KEYS, 3).keys)
    assert fence.error is None


async def test_a_replaced_ledger_answers_what_it_has_and_takes_no_act_and_hands_stops_on(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        ref = await desk.propose()
        approved = seal(desk.land.approval(ref), desk.land.approver.key)
        await desk.orders.approve(approved, validate_only=False)
        fence = Fence(named(KEYS[:3], 2))
        fence.on_replaced(desk.ledger.replace_by)
        fence.is_elsewhere(named(KEYS[:3], 2).keys)
        size = desk.ledger.state.size
        with pytest.raises(UnavailableError, match="was replaced"):
            await desk.propose()
        again = await desk.ledger.record(approved)
        assert again.is_repeated
        with pytest.raises(UnavailableError) as caught:
            await desk.stopping.stop(desk.stop_of(ref))
        assert caught.value.data["nodes_told"] is True
        assert desk.ledger.state.size == size
