"""Entries staged for an append to come: they count with it, or never did."""

from __future__ import annotations

from pathlib import Path

import pytest

from enforcer.errors import IntegrityError
from tests.backends.tile_world import opened, seal


def some(first: int, end: int, what: bytes = b"entry") -> list[bytes]:
    return [b"%s %d" % (what, index) for index in range(first, end)]


@pytest.fixture
def ledger(tmp_path: Path):
    with opened(tmp_path / "ledger") as ledger:
        ledger.append(some(0, 300), seal)
        yield ledger


def check(path: Path, expected: list[bytes]) -> None:
    with opened(path, writer=False) as again:
        assert list(again.entries(0, again.size)) == expected
        again.verify_all()


@pytest.mark.parametrize("step", [1, 100, 256, 700])
def test_staged_entries_count_with_the_append_that_follows(ledger, step):
    for first in range(300, 1_400, step):
        ledger.stage(some(first, first + step))
    end = range(300, 1_400, step)[-1] + step
    assert ledger.size == 300
    ledger.append(some(end, end + 1), seal)
    check(ledger.path, some(0, end + 1))


def test_an_append_of_the_same_entries_at_once_gives_the_same_files(ledger, tmp_path):
    for first in range(300, 1_300, 77):
        ledger.stage(some(first, min(first + 77, 1_299)))
    ledger.append(some(1_299, 1_300), seal)
    with opened(tmp_path / "other") as other:
        other.append(some(0, 1_300), seal)
        assert ledger.root == other.root
        for path in other.path.glob("tile/**/*"):
            if path.is_file():
                assert (ledger.path / path.relative_to(other.path)).read_bytes() == (
                    path.read_bytes()
                )


def test_full_tiles_leave_no_partial_ones_behind(ledger):
    for first in range(300, 1_300, 77):
        ledger.stage(some(first, first + 77))
    ledger.append(some(1_301, 1_302), seal)
    full = [path for path in ledger.path.glob("tile/**/[0-9][0-9][0-9]") if path.is_file()]
    assert len(full) >= 10
    assert not [path for path in full if path.with_name(path.name + ".p").exists()]


def test_what_is_staged_is_seen_by_nobody(ledger):
    ledger.stage(some(300, 900))
    check(ledger.path, some(0, 300))
    assert list(ledger.entries(0, ledger.size)) == some(0, 300)


def test_what_was_given_up_never_was(ledger):
    ledger.stage(some(300, 900, b"forged"))
    ledger.stage(some(900, 1_500, b"forged"))
    ledger.unstage()
    ledger.append(some(300, 1_600), seal)
    assert list(ledger.entries(0, 1_600)) == some(0, 1_600)
    check(ledger.path, some(0, 1_600))


def test_what_was_staged_when_the_process_ended_never_was(ledger):
    ledger.stage(some(300, 900, b"forged"))
    path = ledger.path
    ledger.close()
    with opened(path) as again:
        assert again.size == 300
        again.append(some(300, 1_000), seal)
    check(path, some(0, 1_000))


def test_an_append_that_is_refused_forgets_what_was_staged(ledger):
    ledger.stage(some(300, 900, b"forged"))
    with pytest.raises(IntegrityError):
        ledger.append(some(900, 901), lambda _: b"garbage")
    ledger.append(some(300, 301), seal)
    check(ledger.path, some(0, 301))
