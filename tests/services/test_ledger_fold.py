"""A control plane's next start: from what was kept of its fold, and no more believed for it."""

from __future__ import annotations

import asyncio

import pytest

from enforcer.app import standby
from enforcer.app.standby import fold_of
from enforcer.backends.fold_file import FoldFile
from enforcer.backends.keys import verify
from enforcer.backends.tiles import TileLedger
from enforcer.errors import IntegrityError
from enforcer.services import kept_fold, ledger_fold
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.ledger_fold import keep_fold
from enforcer.services.warm_fold import WarmFold
from tests.control import LOG_VKEY, ORIGIN, Desk, Installation, trust_of
from tests.ledgers import CountingVerify
from tests.people import Land, seal
from tests.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Keep the fold at each chance."""
    monkeypatch.setattr(kept_fold, "AT_REST_MIN", 1)
    monkeypatch.setattr(ledger_fold, "LOOK_SECONDS", 0.005)


def reading(path):
    return TileLedger.open(path, origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=False)


def keeper_of(desk):
    return FoldKeeper(
        FoldFile(desk.path / "fold", trust_of(desk.land), desk.land.control.key, verify)
    )


def started(desk):
    """Return the fold of a start with what was kept, and how many signatures that took."""
    count = CountingVerify()
    fold = WarmFold(trust_of(desk.land), count, keeper_of(desk))
    with reading(desk.path) as files:
        fold.advance(files)
    return fold, count.calls


async def kept(desk):
    """Have the fold kept as it is now."""
    keeper = keeper_of(desk)
    task = asyncio.create_task(keep_fold(desk.ledger, keeper))
    size = desk.ledger.state.size
    await until(lambda: not keeper.is_due(size, is_at_rest=True))
    task.cancel()  # whatever it writes is written whole
    await asyncio.gather(task, return_exceptions=True)


def check_same(fold, ledger):
    state, size = ledger.state, ledger.state.size
    assert (fold.size, fold.state.orders, fold.state.keys) == (size, state.orders, state.keys)
    assert fold.history.kept() == ledger.history.kept()
    for order in state.orders.values():
        order_id = order.payload.order_id
        assert fold.history.entries(order_id, 0, size) == ledger.history.entries(order_id, 0, size)
    assert fold.history.entries("", 0, size) == ledger.history.entries("", 0, size)


async def test_a_start_looks_only_at_signatures_that_came_since(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        await desk.approve(await desk.propose())
        await kept(desk)
        fold, calls = started(desk)
        assert calls == 0
        check_same(fold, desk.ledger)
        await desk.propose()
        fold, calls = started(desk)
        assert calls == 1
        check_same(fold, desk.ledger)


async def test_what_was_kept_is_of_answered_entries_alone(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        size = desk.ledger.state.size
        desk.files.may_go_on.clear()
        proposing = asyncio.create_task(desk.propose())
        await until(lambda: desk.files.is_held)
        await kept(desk)
        assert keeper_of(desk)._store.load().state.size == size
        desk.files.may_go_on.set()
        await proposing
    assert started(desk)[0].size == size + 1


async def test_what_is_kept_stays_as_it_was_and_has_the_root_of_as_many_entries(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        fold = ledger_fold._fold(desk.ledger)
        before = desk.ledger.state.copy()
        await desk.propose()
        assert fold.state.size == len(fold.history.orders) == before.size  # nobody changes it
        desk.ledger.state = before  # as between the disk's word and the fold
        assert ledger_fold._fold(desk.ledger) is None


async def test_a_key_that_was_compromised_concerns_many_orders_after_a_start_too(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        refs = [await desk.propose() for _ in range(3)]
        for ref in refs:
            await desk.approve(ref)
        revoked = desk.land.revocation(desk.land.approver, since=0)
        recorded = await desk.ledger.record(seal(revoked, *desk.land.roots[:2]))
        concerned = desk.ledger.history.order_ids(recorded.index)
        assert set(concerned) == {ref.order_id for ref in refs}
        await kept(desk)
        fold, calls = started(desk)
        assert calls == 0
        assert fold.history.order_ids(recorded.index) == concerned
        check_same(fold, desk.ledger)


async def test_what_was_kept_of_another_ledger_is_folded_again(tmp_path):
    async with Desk(tmp_path / "one") as desk:
        await desk.found()
        await kept(desk)
    async with Desk(tmp_path / "two", land=Land(roots=desk.land.roots)) as second:
        second.land.control = desk.land.control
        await second.found()
        (tmp_path / "one" / "fold").rename(tmp_path / "two" / "fold")
        fold, calls = started(second)
        assert calls >= fold.size
        check_same(fold, second.ledger)


async def test_an_entry_that_was_altered_is_found_whatever_was_kept(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        await kept(desk)
    bundle = max((tmp_path / "tile" / "entries").rglob("*.p/*"), key=lambda path: int(path.name))
    data = bytearray(bundle.read_bytes())
    data[100] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(IntegrityError):
        started(desk)


async def test_what_a_node_kept_is_no_start_for_a_control_plane(tmp_path):
    async with Desk(tmp_path) as desk:
        await desk.found()
        root = desk.files.root
        keeper_of(desk)._store.keep(kept_fold.KeptFold(root, desk.ledger.state, (), 0, ()))
        fold, calls = started(desk)
        assert calls >= fold.size
        check_same(fold, desk.ledger)


async def test_a_control_plane_and_a_young_standby_start_from_it(tmp_path, monkeypatch):
    count = CountingVerify()
    here = Installation(tmp_path)
    path = here.config.ledger_dir
    async with here:
        await here.found()
        size = here.control.ledger.state.size
        store = fold_of(here.config, trust_of(here.land)).keeper._store
        await until(lambda: (path / "fold").exists() and store.load().state.size == size)
        monkeypatch.setattr(standby, "verify", count)
        young = standby.Standby(here.config, trust_of(here.land), {})
        young._advance(None)
        assert young._fold.size == size
        assert count.calls <= 2  # the checkpoint, and what was kept
    count.calls = 0
    async with here:
        assert here.control.ledger.state.size == size
        assert count.calls == 1
