"""A fold that grows beside a writer is the fold from the start, and takes no other history."""

from __future__ import annotations

import pytest

from enforcer.backends.keys import verify
from enforcer.backends.tiles import TileLedger
from enforcer.errors import IntegrityError
from enforcer.services.ledger import replay
from enforcer.services.warm_fold import WarmFold
from tests.control import LOG_VKEY, ORIGIN, Desk, trust_of


def reading(path):
    return TileLedger.open(path, origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=False)


def compared(state):
    return state.size, state.keys, state.orders, state.index_of_payload, state.index_of_request


async def test_it_grows_with_what_a_writer_appends(tmp_path):
    async with Desk(tmp_path) as desk:
        warm = WarmFold(trust_of(desk.land), verify)
        await desk.found()
        with reading(tmp_path) as files:
            warm.advance(files)
        assert warm.size == desk.ledger.state.size > 0
        ref = await desk.propose()
        await desk.approve(ref)
        with reading(tmp_path) as files:
            warm.advance(files)
            warm.advance(files)
            assert compared(warm.state) == compared(replay(files, trust_of(desk.land), verify))
        order_id = warm.state.orders[ref.entry_index].payload.order_id
        size = warm.size
        assert warm.history.entries(order_id, 0, size) == desk.ledger.history.entries(
            order_id, 0, size
        )


async def test_it_refuses_a_ledger_that_went_back(tmp_path):
    async with Desk(tmp_path / "now") as desk:
        await desk.found()
        warm = WarmFold(trust_of(desk.land), verify)
        with reading(tmp_path / "now") as files:
            warm.advance(files)
    async with Desk(tmp_path / "before", land=desk.land) as older:
        with reading(tmp_path / "before") as files, pytest.raises(IntegrityError) as caught:
            warm.advance(files)
        assert caught.value.data["problem"] == "rolled back"
        await older.found()  # signed anew, at another time: another history of the same size
        with reading(tmp_path / "before") as files, pytest.raises(IntegrityError) as caught:
            warm.advance(files)
        assert caught.value.data["problem"] == "split view"


async def test_what_could_not_be_read_is_folded_once_it_can(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        warm = WarmFold(trust_of(desk.land), verify)
        with reading(tmp_path) as files:
            held = files.entries

            def broken(start, end):
                for at, leaf in enumerate(held(start, end)):
                    if at == 3:
                        raise IntegrityError("a tile is damaged", advice="Restore it.")
                    yield leaf

            files.entries = broken
            with pytest.raises(IntegrityError):
                warm.advance(files)
            assert warm.size == 3
            files.entries = held
            warm.advance(files)
        assert compared(warm.state) == compared(desk.ledger.state)
