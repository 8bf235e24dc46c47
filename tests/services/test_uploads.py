"""Lists come in whole and canonical, or not at all."""

import asyncio
import os
import threading
from contextlib import contextmanager
from hashlib import sha256

import pytest

from enforcer.core.policy import Pins
from enforcer.errors import InputError, NotFoundError, UnavailableError
from enforcer.services import uploads as uploads_module
from tests.control import TARGETS, Desk, chunks_of
from tests.people import seal
from tests.waiting import until

NAME = sha256(TARGETS).hexdigest()


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        yield desk


@pytest.fixture
def lists(tmp_path):
    return tmp_path / "ledger" / "lists"


async def test_a_list_is_kept_under_its_hash_and_summed_up(desk, lists):
    summary = await desk.uploads.receive(NAME, len(TARGETS), chunks_of(TARGETS, 7))
    assert (summary.sha256, summary.target_count, summary.name_count) == (NAME, 2, 2)
    assert (lists / NAME).read_bytes() == TARGETS


async def test_a_list_that_is_here_is_not_read_again(desk):
    await desk.bring()

    async def never():
        raise AssertionError("nothing needs to be sent")
        yield b""

    assert (await desk.uploads.receive(NAME, len(TARGETS), never())).target_count == 2


async def test_after_a_restart_a_list_is_checked_again_and_known(desk):
    await desk.bring()
    await desk.__aexit__()
    await desk.__aenter__()
    assert (await desk.uploads.summary(NAME)).target_count == 2


async def test_a_damaged_list_heals_when_it_is_brought_again(desk, lists):
    await desk.bring()
    (lists / NAME).write_bytes(b"exact other.example.org\n")
    desk.uploads._summaries.clear()
    await desk.bring()
    assert (lists / NAME).read_bytes() == TARGETS


@pytest.mark.parametrize(
    ("sent", "announced_bytes", "name", "field"),
    [
        (TARGETS, len(TARGETS) + 1, NAME, "header.size_bytes"),
        (TARGETS, len(TARGETS) - 1, NAME, "header.size_bytes"),
        (TARGETS, len(TARGETS), sha256(b"other").hexdigest(), "header.target_list_sha256"),
        (b"", 2**40, NAME, "header.size_bytes"),
        (b"", 0, "no hash", "sha256"),
        (b"", 0, "../" + NAME[3:], "sha256"),
    ],
    ids=["too short", "too long", "other content", "over the limit", "no hash", "a path"],
)
async def test_what_is_not_as_announced_is_refused_and_not_kept(
    desk, lists, sent, announced_bytes, name, field
):
    with pytest.raises(InputError) as caught:
        await desk.uploads.receive(name, announced_bytes, chunks_of(sent))
    assert caught.value.data["field"] == field
    assert list(lists.iterdir()) == []


async def test_a_list_that_is_not_canonical_says_where_and_is_not_kept(desk, lists):
    bad = b"exact bad.example.org\nexact Worse.example.org\n"
    with pytest.raises(InputError) as caught:
        await desk.bring(bad)
    assert (caught.value.data["line"], caught.value.data["column"]) == (2, 7)
    assert list(lists.iterdir()) == []
    with pytest.raises(NotFoundError):
        await desk.uploads.summary(sha256(bad).hexdigest())


async def test_a_sender_that_goes_away_leaves_nothing(desk, lists):
    started = asyncio.Event()

    async def stalls():
        yield TARGETS[:5]
        started.set()
        await asyncio.Event().wait()

    receiving = asyncio.ensure_future(desk.uploads.receive(NAME, len(TARGETS), stalls()))
    await started.wait()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    assert list(lists.iterdir()) == []


async def test_a_file_is_not_closed_under_a_write_in_progress(desk, monkeypatch):
    may_go_on, writing, said = threading.Event(), threading.Event(), []

    class SlowWriter:
        def write(self, chunk):
            writing.set()
            may_go_on.wait()
            said.append("written")

    @contextmanager
    def closing():
        try:
            yield SlowWriter()
        finally:
            said.append("closed")

    monkeypatch.setattr(desk.uploads._lists, "writer", closing)
    receiving = asyncio.ensure_future(desk.uploads.receive(NAME, len(TARGETS), chunks_of(TARGETS)))
    await asyncio.to_thread(writing.wait)
    receiving.cancel()
    await asyncio.sleep(0)  # in which it hears of it
    may_go_on.set()
    await asyncio.gather(receiving, return_exceptions=True)
    assert said == ["written", "closed"]


async def test_a_sender_that_stalls_is_cut_off(desk, lists, monkeypatch):
    monkeypatch.setattr(uploads_module, "CHUNK_WAIT_SECONDS_MAX", 0.01)

    async def stalls():
        yield TARGETS[:5]
        await asyncio.Event().wait()

    with pytest.raises(UnavailableError, match="no part of the list came"):
        await desk.uploads.receive(NAME, len(TARGETS), stalls())
    assert list(lists.iterdir()) == []


async def test_uploads_at_once_are_bounded(desk):
    begun = []

    async def stalls():
        begun.append(1)
        await asyncio.Event().wait()
        yield b""

    names = [sha256(str(number).encode()).hexdigest() for number in range(5)]
    running = [
        asyncio.ensure_future(desk.uploads.receive(name, 10, stalls())) for name in names[:4]
    ]
    await until(lambda: len(begun) == 4)
    with pytest.raises(UnavailableError, match="being uploaded already"):
        await desk.uploads.receive(names[4], 10, stalls())
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_lists_that_nobody_ordered_make_room_and_ordered_ones_never_do(
    desk, lists, monkeypatch
):
    monkeypatch.setattr(uploads_module, "UNUSED_LISTS_MAX", 2)
    await desk.propose()
    brought = []
    for number in range(5):
        brought.append((await desk.bring(b"exact a%d.example.org\n" % number)).sha256)
        os.utime(lists / brought[-1], (number, number))  # two may be of one tick of the clock
    assert {path.name for path in lists.iterdir()} == {NAME, *brought[3:]}


async def test_what_a_former_policy_pinned_is_kept_for_the_auditor(desk, lists, monkeypatch):
    land = desk.land
    core = b"subtree home.arpa\n"
    await desk.bring(core)
    await desk.bring()
    for pins in (
        Pins(sha256(core).hexdigest(), None, None, None),
        Pins(sha256(TARGETS).hexdigest(), None, None, None),
    ):
        act = seal(land.policy(pins=pins), *land.roots[:2])
        await desk.orders.record_root_act(act, (), validate_only=False)
    monkeypatch.setattr(uploads_module, "UNUSED_LISTS_MAX", 0)
    await desk.bring(b"exact other.example.org\n")
    await desk.bring(b"exact third.example.org\n")
    assert (lists / sha256(core).hexdigest()).exists()
    assert not (lists / sha256(b"exact other.example.org\n").hexdigest()).exists()


async def test_an_upload_comes_into_the_feed_only_when_an_act_names_it(desk):
    await desk.bring()
    await desk.bring(b"subtree home.arpa\n")
    assert not desk.feed.lists
    await desk.propose()
    assert set(desk.feed.lists) == {NAME}
    core = sha256(b"subtree home.arpa\n").hexdigest()
    act = seal(desk.land.policy(pins=Pins(core, None, None, None)), *desk.land.roots[:2])
    await desk.orders.record_root_act(act, (), validate_only=False)
    await until(lambda: desk.feed.head == desk.files.checkpoint_note)
    assert set(desk.feed.lists) == {NAME, core}
