"""Going through a list in parts: nothing is left out, and of a mapped list little is in memory."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer._native import scanner, windows
from enforcer._native.guards import GuardIndex
from enforcer.backends import guard_groups, list_tasks
from enforcer.backends.guard_index import GUARD_NAMES
from enforcer.backends.sealed_table import sealed_copy_of
from enforcer.core.guard import Guard
from enforcer.core.target import check_list
from enforcer.errors import InputError
from tests.tables import compile_bytes, order_row, target_list

LINES = [f"exact {'n' * (at % 23)}{at}.example.com" for at in range(300)]
SMALL = target_list(*LINES, "ip 192.0.2.1", "net 198.51.100.0/24", "subtree example.org")


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Return a list of 8.6 MB."""
    path = tmp_path_factory.mktemp("windows") / "list"
    lines = sorted(b"exact n%06d.%b.example.com\n" % (at, b"a" * 60) for at in range(100_000))
    path.write_bytes(b"".join(lines))
    return path


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file:
        yield mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def resident_bytes(path: Path) -> int:
    """Return how much of a file is mapped into this process now."""
    text = Path("/proc/self/smaps").read_text()
    found = re.findall(
        rf"^[0-9a-f]+-.* {re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", text, re.MULTILINE
    )
    assert found, "it is not mapped"
    return sum(map(int, found)) * 1024


@pytest.mark.parametrize("window", [1, 10, 100, 1_000, 100_000])
def test_every_part_ends_behind_a_line_and_the_last_at_the_end(monkeypatch, window):
    monkeypatch.setattr(windows, "WINDOW_BYTES", window)
    ends = list(windows.windows(SMALL))
    assert ends[-1] == len(SMALL)
    assert all(SMALL[end - 1 : end] == b"\n" for end in ends)
    assert all(
        0 < end - begin <= window + 262 for begin, end in zip([0, *ends], ends, strict=False)
    )


def test_what_is_no_list_is_one_part_and_nothing_is_one_too(monkeypatch):
    monkeypatch.setattr(windows, "WINDOW_BYTES", 10)
    assert list(windows.windows(b"x" * 1_000)) == [1_000]
    assert list(windows.windows(b"")) == [0]


@pytest.mark.parametrize("window", [1, 37, 1_000])
def test_a_list_is_read_in_parts_as_it_is_at_once(monkeypatch, window):
    def all_read() -> list[object]:
        index = GuardIndex([(b"com\0example\0", 4, b"protected subtree")], [])
        hits = index.scan(SMALL, guard_names=GUARD_NAMES, report_bytes_max=1 << 16)
        assert hits.counts
        row = order_row(5, SMALL)
        table = compile_bytes([(row, SMALL)], protected=target_list("subtree example.com"))
        return [hits.report, table, list_tasks.digest_of(SMALL), scanner.scan(SMALL)]

    expected = all_read()
    monkeypatch.setattr(windows, "WINDOW_BYTES", window)
    assert all_read() == expected
    assert expected[2] == check_list(SMALL).sha256
    bad = SMALL.replace(b"subtree", b"subtre", 1)
    with pytest.raises(InputError) as caught:
        scanner.scan(bad)
    assert caught.value.data["line"] == len(LINES) + 3


def scanned_by_guards(text: mmap.mmap) -> None:
    GuardIndex((), ()).scan(text, guard_names=[b""] * len(Guard))


READERS: list[Callable[[mmap.mmap], object]] = [
    list_tasks.digest_of,
    scanner.scan,
    scanned_by_guards,
    guard_groups.lines_of,
    lambda text: compile_bytes([(order_row(5), text)]),
]


@pytest.mark.parametrize("read", READERS, ids=["hash", "scan", "guards", "count", "compile"])
def test_a_mapped_list_does_not_stay_in_the_memory_of_who_read_it(large, read):
    with mapped(large) as text:
        assert bytes(text[::4096])
        assert resident_bytes(large) >= large.stat().st_size
        read(text)
        assert resident_bytes(large) <= 1 << 16


def test_no_more_than_a_part_is_in_memory_at_a_time(large):
    copy = sealed_copy_of(large)  # of a file on a disk the kernel may map much more at once
    with mapped(copy.path) as text:
        at = 0
        for end in windows.windows(memoryview(text)[32:]):
            assert bytes(text[at : end + 32])
            assert resident_bytes(copy.path.readlink()) <= windows.WINDOW_BYTES + (1 << 22)
            at = end
        assert sha256(text).hexdigest() == sha256(large.read_bytes()).hexdigest()


def test_what_somebody_may_have_written_stays():
    text = mmap.mmap(-1, 1 << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    text[:] = SMALL[:4096] * 16
    assert list(windows.windows(text))[-1] == len(text)
    windows.let_go(memoryview(text)[5:])
    assert text[:] == SMALL[:4096] * 16
