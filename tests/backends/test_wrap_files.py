"""Wraps on disk: kept for their receivers, and no name leads elsewhere."""

from __future__ import annotations

import pytest

from enforcer.backends.wrap_files import WrapFiles
from enforcer.errors import InputError

SEALED, NODE, OVERSIGHT = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def wraps(tmp_path):
    return WrapFiles(tmp_path / "wraps")


def test_a_wrap_is_there_for_its_receiver_alone(wraps, tmp_path):
    assert wraps.read(SEALED, NODE) is None
    wraps.put(SEALED, NODE, b"wrap")
    assert WrapFiles(tmp_path / "wraps").read(SEALED, NODE) == b"wrap"
    assert wraps.read(SEALED, OVERSIGHT) is None
    assert wraps.read(NODE, SEALED) is None


def test_a_wrap_takes_the_place_of_the_former(wraps):
    wraps.put(SEALED, NODE, b"wrap")
    wraps.put(SEALED, NODE, b"other")
    assert wraps.read(SEALED, NODE) == b"other"


def test_several_wraps_are_kept_or_none_where_one_cannot_be(wraps):
    wraps.put_all(SEALED, {NODE: b"wrap", OVERSIGHT: b"other"})
    assert (wraps.read(SEALED, NODE), wraps.read(SEALED, OVERSIGHT)) == (b"wrap", b"other")
    for wrong in ({NODE: b"x", OVERSIGHT: bytes(4_097)}, {NODE: b"x", "..": b"x"}):
        with pytest.raises(InputError):
            wraps.put_all(SEALED, wrong)
    assert wraps.read(SEALED, NODE) == b"wrap"
    wraps.put_all(SEALED, {})


def test_wraps_of_a_list_are_forgotten_together(wraps):
    wraps.put_all(SEALED, {NODE: b"wrap", OVERSIGHT: b"other"})
    wraps.put(NODE, NODE, b"wrap")
    wraps.forget(SEALED)
    wraps.forget(SEALED)  # again is no error
    assert wraps.receivers(SEALED) == []
    assert wraps.receivers(NODE) == [NODE]


def test_who_has_a_wrap_is_listed(wraps):
    assert wraps.receivers(SEALED) == []
    wraps.put(SEALED, OVERSIGHT, b"wrap")
    wraps.put(SEALED, NODE, b"wrap")
    (wraps.directory / SEALED / ".left.tmp").write_bytes(b"")
    assert wraps.receivers(SEALED) == [NODE, OVERSIGHT]
    assert wraps.receivers(NODE) == []


@pytest.mark.parametrize("name", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 65])
def test_nothing_but_a_hash_becomes_a_path(wraps, name):
    for call in (
        lambda: wraps.read(name, NODE),
        lambda: wraps.read(SEALED, name),
        lambda: wraps.put(name, NODE, b""),
        lambda: wraps.put(SEALED, name, b""),
        lambda: wraps.receivers(name),
    ):
        with pytest.raises(InputError, match="is not a SHA-256"):
            call()
    assert not wraps.directory.exists()


def test_what_is_longer_than_any_wrap_is_refused(wraps):
    wraps.put(SEALED, NODE, bytes(4_096))
    with pytest.raises(InputError, match="4097 bytes, over 4096"):
        wraps.put(SEALED, NODE, bytes(4_097))
    assert wraps.read(SEALED, NODE) == bytes(4_096)
