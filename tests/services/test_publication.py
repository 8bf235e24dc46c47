"""The feed follows the ledger; the ledger never waits for it."""

import asyncio
from hashlib import sha256

import pytest
from structlog.testing import capture_logs

from enforcer.backends.keys import verify
from enforcer.core.checkpoint import open_checkpoint
from enforcer.core.envelope import format_envelope
from enforcer.core.order import OrderRejected
from enforcer.core.policy import DAY_MS, Pins
from enforcer.errors import UnavailableError
from enforcer.services import publication, waypoints
from enforcer.services.publication import wanted_lists
from tests.control import LOG_VKEY, TARGETS, Desk
from tests.people import seal
from tests.waiting import WAIT_SECONDS, until


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await settled(desk)
        yield desk


def holds_all(desk):
    return desk.feed.head is not None and desk.feed.head == desk.files.checkpoint_note


def is_in_step(desk):
    """Tell whether what comes from now on is published, and not found by comparing."""
    return holds_all(desk) and not desk.publication.is_mending


async def settled(desk):
    """Found a land, and wait until the feed was compared and tidied as at each start."""
    await desk.found()
    await until(lambda: is_in_step(desk) and desk.publication._tidied_at is not None)


async def test_what_is_recorded_is_published(desk):
    await desk.propose()
    await until(lambda: holds_all(desk))
    assert sorted(desk.feed.log) == list(range(8))


async def test_a_list_is_in_the_feed_before_the_approval_that_needs_it(desk):
    ref = await desk.propose()
    sha256 = desk.ledger.state.orders[ref.entry_index].payload.target_list_sha256
    assert desk.feed.lists[sha256] == TARGETS


async def test_a_list_that_was_not_brought_earlier_comes_before_the_approval(desk, monkeypatch):
    ref = await desk.propose()
    await until(lambda: is_in_step(desk))
    calls = []
    for name in ("put_list", "publish"):
        real = getattr(desk.publication._feed, name)

        async def noted(*args, name=name, real=real):
            calls.append(name)
            await real(*args)

        monkeypatch.setattr(desk.publication._feed, name, noted)
    desk.publication._brought.clear()
    await desk.approve(ref)
    await until(lambda: holds_all(desk))
    assert calls == ["put_list", "publish"]


async def test_a_feed_that_is_away_delays_nobody_and_is_filled_when_it_is_back(tmp_path):
    async with Desk(tmp_path / "ledger", interval_seconds=0.02) as desk:
        desk.feed.is_away = True
        await desk.found()
        assert desk.files.size == 7
        assert desk.feed.head is None
        desk.feed.is_away = False
        await until(lambda: holds_all(desk))
        assert sorted(desk.feed.log) == list(range(7))


async def test_a_feed_that_is_away_is_told_once_and_so_is_its_return(tmp_path):
    with capture_logs() as logs:
        async with Desk(tmp_path / "ledger", interval_seconds=0.01) as desk:
            await desk.found()
            await until(lambda: holds_all(desk))
            desk.feed.is_away = True
            before = desk.feed.refused
            await until(lambda: desk.feed.refused > before + 3)
            desk.feed.is_away = False
            await until(lambda: any(each["event"] == "feed_back" for each in logs))
    (away,) = [each for each in logs if each["event"] == "feed_away"]
    assert away["advice"]
    assert sum(each["event"] == "feed_back" for each in logs) == 1


async def test_a_wiped_feed_is_refilled_by_the_next_entry_without_waiting_for_the_interval(desk):
    desk.feed.clear()
    await desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key))
    await until(lambda: holds_all(desk))
    assert sorted(desk.feed.log) == list(range(8))


async def test_a_wiped_feed_is_refilled_at_the_interval(tmp_path):
    async with Desk(tmp_path / "ledger", interval_seconds=0.02) as desk:
        await desk.found()
        await until(lambda: holds_all(desk))
        desk.feed.clear()
        await until(lambda: holds_all(desk))


async def test_a_stop_goes_to_the_nodes_at_once_while_the_feed_is_being_mended(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await settled(desk)
        ref = await desk.propose()
        desk.publication.is_mending = True
        envelope = desk.stop_of(ref)
        await desk.stopping.stop(envelope)
        assert desk.feed.stops == [format_envelope(envelope)]


async def test_what_was_answered_is_published_before_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(publication, "LAST_SECONDS_MAX", WAIT_SECONDS)
    async with Desk(tmp_path / "ledger") as desk:
        await settled(desk)
        await asyncio.gather(
            *(desk.ledger.record(seal(desk.land.order(), desk.land.proposer.key)) for _ in range(5))
        )
    assert holds_all(desk)


async def test_nodes_need_the_lists_of_what_is_or_will_be_in_force_and_of_the_policy(desk):
    land = desk.land
    core = await desk.bring(b"subtree resolver.arpa\n")
    pins = Pins(core.sha256, None, None, None)
    await desk.orders.record_root_act(
        seal(land.policy(pins=pins), *land.roots[:2]), (), validate_only=False
    )
    proposed = await desk.propose(b"exact a.example.org\n")
    approved = await desk.propose(b"exact b.example.org\n")
    stopped = await desk.propose(b"exact c.example.org\n")
    for ref in (approved, stopped):
        await desk.approve(ref)
    await desk.stopping.stop(desk.stop_of(stopped))
    lists = {
        ref: land.state.orders[ref.entry_index].payload.target_list_sha256
        for ref in (proposed, approved, stopped)
    }
    assert wanted_lists(land.state, land.now_ms) == [core.sha256, lists[approved]]
    assert wanted_lists(land.state, land.now_ms + 31 * DAY_MS) == [core.sha256]


async def test_pushing_a_stop_into_a_feed_that_is_away_says_so(desk):
    ref = await desk.propose()
    desk.feed.is_away = True
    with pytest.raises(UnavailableError):
        await desk.publication.push_stop(desk.stop_of(ref))


LONG = [b"exact n%04d.example.org\n" % n for n in range(300)]
OLD, NEW = b"".join(LONG), b"".join(LONG[1:])
DELTA = b"-" + LONG[0]
AWAY = UnavailableError("the feed is away", advice="Wait.")


def digest(targets):
    return sha256(targets).hexdigest()


async def next_version(desk, ref, targets=NEW):
    return await desk.propose(targets, order_id=ref.order_id, version=2, supersedes=ref)


async def test_what_a_new_version_differs_in_is_in_the_feed_when_it_is_proposed(desk):
    first = await desk.propose(OLD)
    await desk.approve(first)
    await next_version(desk, first)
    assert desk.feed.deltas == {(digest(NEW), digest(OLD)): DELTA}


async def test_so_is_what_newly_protected_names_differ_in(desk):
    for names in (OLD, NEW):
        await desk.bring(names)
        pins = Pins(None, digest(names), None, None)
        act = seal(desk.land.policy(pins=pins), *desk.land.roots[:2])
        await desk.orders.record_root_act(act, (), validate_only=False)
        assert desk.feed.lists[digest(names)] == names
    await until(lambda: desk.feed.deltas == {(digest(NEW), digest(OLD)): DELTA})


async def test_a_delta_that_got_lost_is_filled_in_and_once_more_made_if_it_is_not_on_the_disk(
    tmp_path,
):
    async with Desk(tmp_path / "ledger", interval_seconds=0.02) as desk:
        await settled(desk)
        first = await desk.propose(OLD)
        await desk.approve(first)
        await desk.approve(await next_version(desk, first))
        delta = {(digest(NEW), digest(OLD)): DELTA}
        desk.feed.clear()
        await until(lambda: desk.feed.deltas == delta)
        assert len(desk.work.diffs) == 1
        for path in (tmp_path / "ledger" / "deltas").iterdir():
            path.unlink()
        desk.feed.clear()
        await until(lambda: desk.feed.deltas == delta)
        assert len(desk.work.diffs) == 2


async def test_checkpoints_of_older_sizes_are_shown_and_signed_anew_with_another_log_key(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(waypoints, "WAYPOINT_ENTRIES", 3)
    async with Desk(tmp_path / "ledger", interval_seconds=0.02) as desk:
        await desk.found()
        await until(lambda: sorted(desk.feed.waypoints) == [3, 6])
        for size, note in desk.feed.waypoints.items():
            checkpoint = open_checkpoint(note, desk.land.origin, LOG_VKEY, verify)
            assert (checkpoint.size, checkpoint.root) == (size, desk.files.root_at(size))
        desk.feed.waypoints[3] = b"forged"
        await until(lambda: desk.feed.waypoints[3] != b"forged")
        desk.ledger._seal = lambda checkpoint: b"of another key %d" % checkpoint.size
        desk.ledger.state.log_vkey = "another"
        await until(lambda: desk.feed.waypoints[3] == b"of another key 3")


async def test_what_differs_in_too_much_is_looked_at_once(tmp_path):
    async with Desk(tmp_path / "ledger", interval_seconds=0.01) as desk:
        await settled(desk)
        first = await desk.propose(OLD)
        await desk.approve(first)
        await desk.approve(await next_version(desk, first, b"".join(LONG[100:])))
        reconciled = desk.feed.reconciled
        await until(lambda: desk.feed.reconciled > reconciled + 3)
        assert len(desk.work.diffs) == 1
        assert not desk.feed.deltas


@pytest.fixture
def tidying(monkeypatch):
    """Have the feed tidied whenever it is called."""
    monkeypatch.setattr(publication, "TIDY_SECONDS", 0.0)


async def test_lists_of_orders_that_ended_more_than_a_day_ago_leave_the_feed(desk, tidying):
    land, lists = desk.land, desk.feed.lists
    first = await desk.propose(OLD)
    await desk.approve(first)
    await desk.approve(await next_version(desk, first))
    texts = [b"exact %b.example.org\n" % letter for letter in (b"a", b"b", b"c")]
    stopped, again, _proposed = [await desk.propose(text) for text in texts]
    twin = await desk.propose(texts[0])
    await desk.approve(stopped)
    await desk.stopping.stop(desk.stop_of(stopped))
    await until(lambda: holds_all(desk))

    async def tidied(days):
        land.now_ms += days * DAY_MS
        for _ in range(2):  # what was brought of late outlives the first
            await desk.publication._tidy()
        return set(lists)

    assert await tidied(0) == set(map(digest, (OLD, NEW, *texts)))
    assert await tidied(2) == set(map(digest, (NEW, *texts)))
    assert list(desk.feed.deltas) == [(digest(NEW), digest(OLD))]
    rejection = land.act(OrderRejected, twin, reason_sha256=None)
    await desk.orders.reject(seal(rejection, land.approver.key), (), validate_only=False)
    assert await tidied(0) == set(map(digest, (NEW, *texts)))
    assert await tidied(2) == set(map(digest, (NEW, *texts[1:])))
    await desk.approve(again)
    assert await tidied(24) == set(map(digest, (NEW, *texts[1:])))
    assert await tidied(29) == set()
    assert not desk.feed.deltas
    assert not list((desk.path / "deltas").iterdir())


async def test_a_list_whose_order_is_about_to_be_recorded_is_not_tidied_away(desk, tidying):
    await desk.bring(OLD)
    await desk.publication.bring_list(digest(OLD))
    await desk.publication._tidy()
    assert digest(OLD) in desk.feed.lists
    await desk.publication._tidy()
    assert digest(OLD) not in desk.feed.lists


async def test_a_list_that_comes_while_the_feed_is_tidied_stays(desk, tidying, monkeypatch):
    keep_only = desk.publication._deltas.keep_only

    async def meanwhile(bases):
        await keep_only(bases)
        await desk.publication.bring_list(digest(OLD))

    monkeypatch.setattr(desk.publication._deltas, "keep_only", meanwhile)
    await desk.bring(OLD)
    await desk.publication._tidy()
    assert digest(OLD) in desk.feed.lists


@pytest.fixture(params=[False, True], ids=["done", "broken_off"])
def while_tidying(request, desk, tidying, monkeypatch):
    """Tidy the feed, but something happens just before; that may break off, all being removed."""
    keep_lists = desk.publication._feed.keep_lists

    async def tidy(happens):
        async def keep(*kept):
            await happens()
            removed = await keep_lists(*kept)
            if request.param:
                raise AWAY
            return removed

        monkeypatch.setattr(desk.publication._feed, "keep_lists", keep)
        await desk.publication._tidy()

    return tidy


class SlowProposal:
    """A proposal whose list is written into the feed; that this is done is told only at the end."""

    def __init__(self, desk, monkeypatch):
        self._desk = desk
        self._put_list = desk.publication._feed.put_list
        self._may_end = asyncio.Event()
        monkeypatch.setattr(desk.publication._feed, "put_list", self._put_slowly)

    async def begin(self):
        self._task = asyncio.create_task(self._desk.propose(OLD))
        await until(lambda: digest(OLD) in self._desk.feed.lists)

    async def end(self):
        self._may_end.set()
        return await self._task

    async def _put_slowly(self, *arguments):
        await self._put_list(*arguments)
        await self._may_end.wait()


async def is_there_when_approved(desk, ref):
    """Approve an order whose list the feed has lost; tell whether it came before the approval."""
    assert digest(OLD) not in desk.feed.lists
    await desk.approve(ref)
    await until(lambda: holds_all(desk))
    return desk.feed.lists.get(digest(OLD)) == OLD


async def test_a_list_that_was_tidied_away_as_it_came_is_there_before_the_approval(
    desk, while_tidying
):
    async def propose():
        ref.append(await desk.propose(OLD))

    ref = []
    await while_tidying(propose)
    assert await is_there_when_approved(desk, *ref)


async def test_so_is_one_that_was_still_coming_when_the_tidying_was_over(
    desk, while_tidying, monkeypatch
):
    proposal = SlowProposal(desk, monkeypatch)
    await while_tidying(proposal.begin)
    assert await is_there_when_approved(desk, await proposal.end())


async def test_so_is_one_that_was_still_coming_when_the_feed_was_wiped_and_mended(
    desk, monkeypatch
):
    proposal = SlowProposal(desk, monkeypatch)
    await proposal.begin()
    desk.feed.clear()
    await desk.publication._compare()
    assert await is_there_when_approved(desk, await proposal.end())


async def test_so_is_one_that_was_wiped_when_the_mending_broke_off(desk, monkeypatch):
    ref = await desk.propose(OLD)
    await until(lambda: is_in_step(desk))
    reconcile = desk.publication._feed.reconcile

    async def breaks_off(*arguments):
        await reconcile(*arguments)
        raise AWAY

    desk.feed.clear()
    with monkeypatch.context() as patch:
        patch.setattr(desk.publication._feed, "reconcile", breaks_off)
        await desk.publication._compare()
    await desk.publication._compare()
    assert await is_there_when_approved(desk, ref)
