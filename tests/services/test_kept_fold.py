"""A restart of a node: no signature is looked at twice, and nothing is believed more for it."""

from __future__ import annotations

import asyncio

import pytest

from enforcer.backends.fold_file import FoldFile
from enforcer.backends.keys import verify
from enforcer.core.cosignature import NOBODY
from enforcer.core.entry import parse
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.services import kept_fold
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.replica import Replica
from tests.ledgers import CountingVerify
from tests.node_world import World, blocking, open_copy, trust_of
from tests.people import Land
from tests.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Keep the fold at each chance."""
    monkeypatch.setattr(kept_fold, "AT_REST_MIN", 1)
    monkeypatch.setattr(kept_fold, "COMING_MIN", 1)


class Restarted:
    """A copy of a land's ledger, opened again and again."""

    def __init__(self, path, land, log):
        self.path, self.land, self.log = path, land, log
        self.trust = trust_of(land, log)

    def open(self, trust=None):
        """Restore a replica as a start does; return it, and how many signatures that took."""
        trust, count = trust or self.trust, CountingVerify()
        self.store = FoldFile(self.path / "fold", trust, self.land.node.key, verify)
        self.keeper = FoldKeeper(self.store)
        with open_copy(self.path / "ledger", self.log) as files:
            self.size = files.size
            replica = Replica(trust, count, files, self.keeper)
            replica.restore()
            if self.land.leaves[files.size :]:
                update = self.log.update(self.land.leaves, files.size)
                replica.accept(replica.append(replica.prove(update)))
        return replica, count.calls

    def keep(self, replica):
        replica.keep(is_at_rest=True)
        if self.keeper._next is not None:
            self.store.keep(self.keeper._next)


@pytest.fixture
def copy(tmp_path):
    world = World(tmp_path)
    return Restarted(tmp_path, world.land, world.log)


def test_what_was_kept_is_not_verified_again(copy):
    copy.land.in_force_order()
    replica, _ = copy.open()
    again, calls = copy.open()
    assert calls >= len(copy.land.leaves)  # nothing was kept
    copy.keep(again)
    third, calls = copy.open()
    assert calls == 0
    assert (third.size, third.root, third.ineffective) == (again.size, again.root, ())
    assert third.state.orders == replica.state.orders
    copy.land.in_force_order(b"exact worse.example.org\n")
    fourth, calls = copy.open()
    assert calls == 1 + 2  # the checkpoint, and the two acts that came
    assert fourth.state.orders == copy.land.state.orders


def test_entries_behind_what_was_kept_are_folded_from_the_disk(copy):
    replica, _ = copy.open()
    copy.keep(replica)
    copy.land.in_force_order()
    copy.land.record(parse(copy.land.leaves[0]).envelope)
    copy.open()
    again, calls = copy.open()
    assert calls >= 2
    assert again.ineffective == (len(copy.land.leaves) - 1,)
    assert again.state.orders == copy.land.state.orders


def test_what_was_kept_of_another_history_is_not_used(copy, tmp_path):
    replica, _ = copy.open()
    copy.keep(replica)
    other = Land.founded(roots=copy.land.roots)
    other.node = copy.land.node
    second = Restarted(tmp_path / "second", other, copy.log)
    replica, _ = second.open()
    (tmp_path / "fold").rename(tmp_path / "second" / "fold")
    again, calls = second.open()
    assert calls >= len(other.leaves)
    assert again.state.keys == other.state.keys


def test_what_is_longer_than_the_copy_is_not_used(copy, tmp_path):
    replica, _ = copy.open()
    short = list(copy.land.leaves)
    copy.land.in_force_order()
    replica, _ = copy.open()
    copy.keep(replica)
    copy.land.leaves[:] = short
    second = Restarted(tmp_path / "second", copy.land, copy.log)
    second.open()
    (tmp_path / "fold").rename(tmp_path / "second" / "fold")
    again, _ = second.open()
    assert again.size == len(short)
    assert not again.state.orders


def test_a_copy_that_was_altered_is_damaged_whatever_was_kept(copy, tmp_path):
    replica, _ = copy.open()
    copy.keep(replica)
    (bundle,) = (tmp_path / "ledger" / "tile" / "entries").rglob("*.p/*")
    data = bytearray(bundle.read_bytes())
    data[100] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(IntegrityError):
        copy.open()


def test_what_was_kept_when_witnesses_had_seen_more_than_is_known_now_is_not_used(copy):
    replica, _ = copy.open()
    replica.witnessed.size = 3
    copy.keep(replica)
    _, calls = copy.open()
    assert calls >= len(copy.land.leaves)
    assert copy.trust.witnesses is NOBODY


def test_more_is_kept_when_a_quarter_more_came_and_at_rest_when_little_did(monkeypatch):
    monkeypatch.setattr(kept_fold, "AT_REST_MIN", 256)
    monkeypatch.setattr(kept_fold, "COMING_MIN", 4_096)
    keeper = FoldKeeper(None)
    for size, coming, rest in ((255, 0, 0), (256, 0, 1), (4_095, 0, 1), (4_096, 1, 1)):
        assert keeper.is_due(size, is_at_rest=False) == coming
        assert keeper.is_due(size, is_at_rest=True) == rest
    keeper._kept_size = 75_000
    assert not keeper.is_due(99_998, is_at_rest=False)
    assert keeper.is_due(100_000, is_at_rest=False)
    keeper._kept_size = 98_500
    assert not keeper.is_due(100_000, is_at_rest=True)


async def test_a_disk_that_is_full_ends_nothing():
    class Full:
        tries = 0

        def keep(self, fold):
            self.tries += 1
            raise UnavailableError("the disk is full", advice="Make room.")

    store = Full()
    keeper = FoldKeeper(store)
    task = asyncio.create_task(keeper.run())
    land = Land.founded()
    for _ in range(2):
        tries = store.tries
        keeper.offer(kept_fold.KeptFold(b"", land.state, (), 0, ()))
        await until(lambda: store.tries == tries + 1)  # noqa: B023 - awaited in this round
    assert not keeper.is_due(land.state.size, is_at_rest=True)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_node_keeps_its_fold_at_rest_and_starts_from_it(tmp_path):
    world, count = World(tmp_path), CountingVerify()

    def replica(trust, _verify, ledger):
        store = FoldFile(tmp_path / "fold", trust, world.land.node.key, verify)
        return Replica(trust, count, ledger, FoldKeeper(store))

    world.replica = replica
    async with world.running():
        await blocking(world)
        await until((tmp_path / "fold").exists)
        known = trust_of(world.land, world.log)
        store = FoldFile(tmp_path / "fold", known, world.land.node.key, verify)
        await until(lambda: store.load().state.size == len(world.land.leaves))
    count.calls = 0
    world.feed.is_away = True
    world.gate.restart()
    async with world.running():
        await until(lambda: world.gate.blocks("bad.example.org"))
    assert count.calls == 0
