"""A copied directory as a path to the ledger: what is read of it, and what is only said."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.app.audit_archive import export_archive
from enforcer.backends import directory_source, durable, lone_thread
from enforcer.backends.delta_files import DELTAS, DeltaFiles
from enforcer.backends.directory_source import DirectorySource
from enforcer.backends.tile_writer import received
from enforcer.errors import InputError, NotFoundError, UnavailableError
from tests.backends.feed_world import SOON_MS, Book, read_all
from tests.ledgers import TARGETS, Archive
from tests.waiting import WAIT_SECONDS


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path / "ledger", None)


@pytest.fixture
def source(tmp_path):
    return DirectorySource(tmp_path / "copy", poll_seconds=0.01)


def copy(book, to):
    shutil.copytree(book.files.path, to, dirs_exist_ok=True)


async def test_a_copy_gives_every_entry_under_its_checkpoint(book, source, tmp_path):
    book.append(700)
    copy(book, tmp_path / "copy")
    assert await read_all(source) == book.leaves
    assert await source.head() == book.files.checkpoint_note
    update = await source.next(650, SOON_MS)
    assert update.leaves == tuple(book.leaves[650:])
    assert await source.next(700, SOON_MS) is None


@pytest.mark.parametrize("cut", [0, 1])
async def test_a_nodes_copy_gives_what_is_in_its_tail_too(book, source, tmp_path, cut):
    book.append(10)
    with book.node(tmp_path / "node") as node:
        for _ in range(3):
            book.append()
            node.append(book.leaves[-1:], received(book.files.checkpoint_note))
        shutil.copytree(node.path, tmp_path / "copy")
        newest = node.checkpoint_note
    os.truncate(tmp_path / "copy" / "tail", (tmp_path / "copy" / "tail").stat().st_size - cut)
    assert await read_all(source) == book.leaves[: 13 - cut]
    assert (await source.next(11, SOON_MS)).leaves == (book.leaves[11],)
    assert (await source.head() == newest) == (not cut)


async def test_a_nodes_copy_that_was_made_while_it_laid_its_tail_gives_all(book, source, tmp_path):
    book.append(10)
    with book.node(tmp_path / "node") as node:
        shutil.copytree(node.path, tmp_path / "copy")
        for _ in range(70):
            book.append()
            node.append(book.leaves[-1:], received(book.files.checkpoint_note))
        shutil.copy(node.path / "tail", tmp_path / "copy")
        shutil.copy(node.path / "tail.laid", tmp_path / "copy")
    assert await read_all(source) == book.leaves
    assert source.faults == {}


async def test_of_a_damaged_tail_what_lies_before_it_is_given_and_the_rest_is_said(
    book, source, tmp_path
):
    book.append(10)
    with book.node(tmp_path / "node") as node:
        for _ in range(3):
            book.append()
            node.append(book.leaves[-1:], received(book.files.checkpoint_note))
        shutil.copytree(node.path, tmp_path / "copy")
    tail = tmp_path / "copy" / "tail"
    data = bytearray(tail.read_bytes())
    data[len(data) // 2] ^= 1
    tail.write_bytes(data)
    assert await read_all(source) == book.leaves[:11]
    assert source.faults["a copy's tail is damaged"] > 0


async def test_a_reader_that_waits_sees_a_newer_copy(book, source, tmp_path):
    book.append(10)
    copy(book, tmp_path / "copy")
    waiting = asyncio.create_task(source.next(10, 20_000))
    await asyncio.sleep(0.05)
    book.append(300)
    copy(book, tmp_path / "copy")
    assert (await waiting).leaves == tuple(book.leaves[10:])


async def test_more_than_one_update_can_hold_comes_in_parts(book, source, tmp_path, monkeypatch):
    monkeypatch.setattr(directory_source, "UPDATE_LEAVES_MAX", 300)
    book.append(1_000)
    copy(book, tmp_path / "copy")
    assert 300 <= len((await source.next(0, SOON_MS)).leaves) < 1_000
    assert await read_all(source) == book.leaves


async def test_no_copy_at_all_is_away_and_an_empty_directory_has_no_head(source, tmp_path):
    with pytest.raises(UnavailableError, match="there is no copy"):
        await source.head()
    (tmp_path / "copy").mkdir()
    assert await source.head() is None
    assert await source.next(0, SOON_MS) is None


async def test_a_copy_gives_what_a_list_differs_in(book, source, tmp_path):
    book.append(3)
    old, new = (sha256(name).hexdigest() for name in (b"old", b"new"))
    files = DeltaFiles(book.files.path / DELTAS)
    files.path((new, old)).parent.mkdir()
    files.path((new, old)).write_bytes(b"+exact bad.example.org\n" * 100_000)
    copy(book, tmp_path / "copy")
    found = b"".join([chunk async for chunk in source.delta_chunks(new, old)])
    assert found == files.path((new, old)).read_bytes()
    with pytest.raises(NotFoundError, match="no delta"):
        [chunk async for chunk in source.delta_chunks(old, new)]
    with pytest.raises(InputError):
        [chunk async for chunk in source.delta_chunks(new, "../checkpoint")]


async def until_it_hangs(source, hangs):
    """Look until a look does; one that is given up before the thread came to it never does."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not hangs():
            with pytest.raises(UnavailableError, match="has not answered"):
                await source.head()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
async def test_a_medium_that_dies_is_away_to_whoever_looks(
    book, source, tmp_path, monkeypatch, code
):
    book.append(3)
    copy(book, tmp_path / "copy")

    def dies(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "stat", dies)
    with pytest.raises(UnavailableError, match="cannot read"):
        await source.head()
    with pytest.raises(UnavailableError, match="cannot read"):
        await source.next(0, SOON_MS)
    async with aclosing(source.stops()) as stops:
        with pytest.raises(UnavailableError, match="cannot read"):
            await anext(stops)


async def test_a_medium_that_hangs_is_away_and_holds_one_thread(book, tmp_path, monkeypatch):
    book.append(3)
    copy(book, tmp_path / "copy")
    source = DirectorySource(tmp_path / "copy", poll_seconds=0.01, look_seconds_max=0.2)
    goes_on, read, hanging = threading.Event(), durable.read_file, []

    def hangs(path, **bounds):
        hanging.append(path)
        goes_on.wait(WAIT_SECONDS)
        return read(path, **bounds)

    monkeypatch.setattr(durable, "read_file", hangs)
    try:
        await until_it_hangs(source, lambda: hanging)
        looks = [source.head(), source.cosigned(), source.next(0, SOON_MS), source.wrap("a", "b")]
        for refusal in await asyncio.gather(*looks, return_exceptions=True):
            assert isinstance(refusal, UnavailableError)
            assert "has not answered" in refusal.message
        assert len(hanging) == 1
    finally:
        goes_on.set()
    monkeypatch.setattr(source, "_look_seconds_max", WAIT_SECONDS)
    assert (await source.next(0, SOON_MS)).leaves == tuple(book.leaves)


HANGING = """
import asyncio, sys, threading
from pathlib import Path
from enforcer.backends import directory_source, durable, lone_thread
from enforcer.errors import UnavailableError

async def main():
    source = directory_source.DirectorySource(Path(sys.argv[1]), look_seconds_max=0.05)
    try:
        await source.head()
    except UnavailableError:
        print("it hangs")

durable.read_file = lambda *_, **__: threading.Event().wait()
asyncio.run(main())
"""


def test_a_program_ends_though_a_look_at_a_medium_never_does(book, tmp_path):
    book.append(3)
    words = [sys.executable, "-c", HANGING, str(book.files.path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "it hangs\n"), done.stderr


async def test_no_more_looks_wait_for_a_medium_that_hangs_than_may(book, tmp_path, monkeypatch):
    book.append(3)
    source = DirectorySource(book.files.path, look_seconds_max=0.05)
    hangs, goes_on = threading.Event(), threading.Event()

    def hanging(*_, **__):
        hangs.set()
        goes_on.wait(WAIT_SECONDS)

    monkeypatch.setattr(durable, "read_file", hanging)
    try:
        await until_it_hangs(source, hangs.is_set)
        looks = [source.head() for _ in range(lone_thread.JOBS_MAX + 10)]
        refusals = await asyncio.gather(*looks, return_exceptions=True)
        assert all("has not answered" in refusal.message for refusal in refusals)
        assert source._thread._jobs.qsize() == lone_thread.JOBS_MAX
    finally:
        goes_on.set()


async def test_a_copy_that_is_not_whole_is_not_read_again_in_a_hurry(book, tmp_path):
    book.append(600)
    copy(book, tmp_path / "copy")
    (tmp_path / "copy" / "tile" / "entries" / "001").unlink()
    source = DirectorySource(tmp_path / "copy", poll_seconds=0.1)
    end = asyncio.get_running_loop().time() + 0.5
    while asyncio.get_running_loop().time() < end:
        with pytest.raises(UnavailableError, match="not whole"):
            await source.next(0, SOON_MS)
    assert source.faults["a copy is not whole"] <= 6


@pytest.mark.parametrize("how", ["missing", "cut", "longer", "a pipe"])
async def test_a_copy_that_is_not_whole_is_said_and_gives_nothing(book, source, tmp_path, how):
    book.append(600)
    copy(book, tmp_path / "copy")
    bundle = tmp_path / "copy" / "tile" / "entries" / "001"
    data = bundle.read_bytes()
    bundle.unlink()
    if how == "cut":
        bundle.write_bytes(data[:-5])
    elif how == "longer":
        bundle.write_bytes(data + b"x")
    elif how == "a pipe":
        os.mkfifo(bundle)
    with pytest.raises(UnavailableError, match="not whole"):
        await source.next(0, SOON_MS)
    assert source.faults == {"a copy is not whole": 1}
    bundle.unlink(missing_ok=True)
    bundle.write_bytes(data)
    assert await read_all(source) == book.leaves


async def test_a_checkpoint_that_is_none_counts_as_no_head(book, source, tmp_path):
    book.append(3)
    copy(book, tmp_path / "copy")
    for garbage in (b"", b"\x00" * 100, b"x" * 100_000):
        (tmp_path / "copy" / "checkpoint").write_bytes(garbage)
        assert await source.head() is None
    assert source.faults == {"the copy's checkpoint is no checkpoint": 3}


async def test_stops_in_the_copy_are_shown_and_what_is_none_is_counted_once(source, tmp_path):
    folder = tmp_path / "copy" / "stops"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(b"a stop\n")
    (folder / "empty.json").write_bytes(b"")
    (folder / "huge.json").write_bytes(b"x" * 70_000)
    (folder / "notes.txt").write_bytes(b"no stop")
    os.mkfifo(folder / "pipe.json")
    async with aclosing(source.stops()) as stops:
        assert await anext(stops) == b"a stop"
        (folder / "b.json").write_bytes(b"another")
        assert await anext(stops) == b"another"
    assert source.faults == {"a file in a copy's stops is no stop": 3}


async def test_all_stops_are_shown_again_at_times(source, tmp_path, monkeypatch):
    monkeypatch.setattr(directory_source, "STOPS_AGAIN_POLLS", 3)
    folder = tmp_path / "copy" / "stops"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(b"a stop")
    async with aclosing(source.stops()) as stops:
        assert [await anext(stops) for _ in range(3)] == [b"a stop"] * 3


async def test_lists_and_wraps_come_from_the_copy(book, source, tmp_path):
    digest = book.files.lists.put(TARGETS)
    book.files.wraps.put("a" * 64, "b" * 64, b"wrap")
    copy(book, tmp_path / "copy")
    assert b"".join([chunk async for chunk in source.list_chunks(digest)]) == TARGETS
    assert await source.wrap("a" * 64, "b" * 64) == b"wrap"
    with pytest.raises(NotFoundError, match="does not have the target list"):
        await anext(aiter(source.list_chunks("c" * 64)))
    with pytest.raises(NotFoundError, match="no wrap"):
        await source.wrap("a" * 64, "c" * 64)


async def test_an_exported_archive_unpacked_is_a_copy(tmp_path):
    archive = Archive(tmp_path / "ledger")
    archive.land.in_force_order(TARGETS)
    archive.write()
    packed = tmp_path / "ledger.tar.gz"
    export_archive(archive.path, packed, archive.trust, taken_at_ms=archive.land.now_ms)
    with tarfile.open(packed) as members:
        members.extractall(tmp_path / "unpacked", filter="data")
    top = next((tmp_path / "unpacked").rglob("checkpoint")).parent
    source = DirectorySource(top, poll_seconds=0.01)
    assert await read_all(source) == list(archive.land.leaves)
    digest = sha256(TARGETS).hexdigest()
    assert b"".join([chunk async for chunk in source.list_chunks(digest)]) == TARGETS
