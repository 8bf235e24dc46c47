"""Deltas on disk: made of two lists, and applied to one by the list worker."""

from __future__ import annotations

from hashlib import sha256

import pytest

from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.delta_files import DeltaFiles
from enforcer.backends.memory import InlineListWork
from enforcer.core.list_delta import DELTA_BYTES_MAX
from enforcer.errors import InputError, IntegrityError, NotFoundError

LINES = [b"exact n%05d.example.org\n" % n for n in range(1_000)]
OLD = b"".join(LINES)
NEW = b"".join([*LINES[:400], b"exact n00400a.example.org\n", *LINES[401:]])
DELTA = b"-exact n00400.example.org\n+exact n00400a.example.org\n"


def keep(folder, text):
    path = folder / sha256(text).hexdigest()
    path.write_bytes(text)
    return path


def named(folder, text):
    return folder / sha256(text).hexdigest()


async def chunked(delta, size=7):
    for at in range(0, len(delta), size):
        yield delta[at : at + size]


@pytest.fixture(params=["worker", "inline"])
async def work(request):
    if request.param == "inline":
        yield InlineListWork()
        return
    async with ListWorker() as worker:
        yield worker


async def test_a_delta_goes_from_one_list_to_the_other(work, tmp_path):
    base, path = keep(tmp_path, OLD), keep(tmp_path, NEW)
    to = tmp_path / "deltas" / "delta"
    assert await work.diff_lists(base, path, to)
    assert to.read_bytes() == DELTA
    path.unlink()
    await work.patch_list(base, chunked(DELTA), path)
    assert path.read_bytes() == NEW
    assert sorted(tmp_path.iterdir()) == sorted([base, path, to.parent])


@pytest.mark.parametrize(
    "following",
    [
        b"".join(LINES[:100]),
        OLD,
        b"".join(LINES[::2]),
        b"icann example\n" + b"private n.example\n" * 1_000,
    ],
    ids=["short", "the same", "another", "no targets"],
)
async def test_what_is_not_worth_it_has_no_delta(tmp_path, following):
    to = tmp_path / "delta"
    work = InlineListWork()
    assert not await work.diff_lists(keep(tmp_path, OLD), keep(tmp_path, following), to)
    assert not list(tmp_path.glob("*delta*"))


async def test_a_list_that_was_altered_is_no_base(work, tmp_path):
    base, path = keep(tmp_path, OLD), named(tmp_path, NEW)
    base.write_bytes(OLD.replace(b"n00007", b"n0000x"))
    with pytest.raises(IntegrityError) as caught:
        await work.patch_list(base, chunked(DELTA), path)
    assert caught.value.data["expected"] == base.name
    with pytest.raises(IntegrityError):
        await work.diff_lists(base, keep(tmp_path, NEW), tmp_path / "delta")


@pytest.mark.parametrize(
    "delta",
    [
        b"",
        b"\xff" * 3_000,
        DELTA[:-1],
        DELTA.splitlines(keepends=True)[1],
        b"".join(reversed(DELTA.splitlines(keepends=True))),
        DELTA + b"+exact z.example.org\n",
        b"".join(b"+" + line.replace(b"n", b"m", 1) for line in LINES),
    ],
)
async def test_what_is_not_the_delta_leaves_nothing_behind(tmp_path, delta):
    base, path = keep(tmp_path, OLD), named(tmp_path, NEW)
    with pytest.raises((InputError, IntegrityError)) as caught:
        await InlineListWork().patch_list(base, chunked(delta, 1_000), path)
    assert caught.value.data.get("expected") != base.name
    assert list(tmp_path.iterdir()) == [base]


async def test_an_endless_delta_ends_at_the_bound(tmp_path):
    base, sent = keep(tmp_path, OLD), 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1 << 20
            yield bytes(1 << 20)

    with pytest.raises(InputError, match="over"):
        await InlineListWork().patch_list(base, endless(), named(tmp_path, NEW))
    assert sent == DELTA_BYTES_MAX + (1 << 20)
    assert list(tmp_path.iterdir()) == [base]


async def test_a_delta_that_the_feed_does_not_have_is_not_found(tmp_path):
    async def none():
        raise NotFoundError("there is none", advice="Take the list.")
        yield b""

    base = keep(tmp_path, OLD)
    with pytest.raises(NotFoundError):
        await InlineListWork().patch_list(base, none(), named(tmp_path, NEW))


def test_of_deltas_on_disk_only_those_that_are_kept_stay(tmp_path):
    files = DeltaFiles(tmp_path / "deltas")
    kept, old = ("a" * 64, "b" * 64), ("c" * 64, "b" * 64)
    files.keep_only([])
    for each in (kept, old):
        files.path(each).write_bytes(DELTA)
    (tmp_path / "deltas" / ".leftover.tmp").write_bytes(b"")
    files.keep_only([kept])
    assert files.has(kept)
    assert [path.name for path in (tmp_path / "deltas").iterdir()] == [files.path(kept).name]
