"""What a node looks at: each list once, however many orders there are, and nothing for ever."""

from pathlib import Path

from enforcer.core.guard import GuardScan
from enforcer.errors import InputError
from enforcer.services import scans
from enforcer.services.scans import Scans
from tests.people import Land


class Store:
    """Has every list."""

    def has(self, sha256):
        return True

    def path(self, sha256):
        return Path(sha256)

    def may_come(self, sha256):
        return False

    def salted(self, lists):
        return frozenset()


class Work:
    """Finds nothing; fails at what it is told to."""

    def __init__(self, fails=None):
        self.scanned = []
        self._fails = fails

    async def scan_guards(self, job):
        if job.facts.target_list_sha256 == self._fails:
            raise InputError("a list is bad", advice="Fetch it again.")
        self.scanned.append(job.facts.target_list_sha256)
        return GuardScan()


def land_with(count):
    land = Land.founded()
    for number in range(count):
        land.in_force_order(b"exact n%02d.example.org\n" % number)
    return land


async def test_each_list_is_scanned_once_even_beyond_what_is_kept(monkeypatch):
    monkeypatch.setattr(scans, "SCANS_KEPT_MAX", 5)
    land, work = land_with(12), Work()
    looking = Scans(work, Store())
    while await looking.look(land.state, land.now_ms):
        pass
    assert len(work.scanned) == len(set(work.scanned)) == 12
    assert not await looking.look(land.state, land.now_ms)


async def test_orders_are_not_walked_for_each_scan():
    land = land_with(12)
    looking = Scans(Work(), Store())
    walks = []
    walk = looking._walk
    looking._walk = lambda *args: (walks.append(1), walk(*args))
    while await looking.look(land.state, land.now_ms):
        pass
    assert len(walks) == 3, "one for the scans, one for the limits, one to find nothing"


async def test_a_list_that_cannot_be_scanned_does_not_keep_the_others_waiting():
    land = land_with(3)
    bad = next(iter(land.state.orders.values())).payload.target_list_sha256
    work = Work(bad)
    looking = Scans(work, Store())
    for _ in range(6):
        try:
            await looking.look(land.state, land.now_ms)
        except InputError:
            continue
    assert len(work.scanned) == 2
