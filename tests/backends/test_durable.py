"""Durable files: what is on the disk when, and what is said when the disk refuses."""

import errno
import os
import threading
from pathlib import Path

import pytest

from enforcer.backends import durable
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def disk(monkeypatch):
    """What is synced and renamed, in order; ``disk.fail`` makes the sync of a name fail."""

    class Disk:
        def __init__(self):
            self.acts = []
            self.fail = {}

    recorded, fsync, replace = Disk(), os.fsync, os.replace

    def recording_fsync(descriptor):
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name in recorded.fail:
            raise OSError(recorded.fail[name], os.strerror(recorded.fail[name]))
        fsync(descriptor)
        recorded.acts.append(("sync", name))

    def recording_replace(source, target):
        replace(source, target)
        recorded.acts.append(("rename", Path(target).name))

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    return recorded


def test_files_are_synced_then_renamed_then_each_directory_is_synced_once(tmp_path, disk):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    files = {first / "a": b"1", first / "b": b"2", second / "c": b"3"}
    durable.write_files(files)
    assert {path: path.read_bytes() for path in files} == files
    assert disk.acts == [
        ("sync", ".a.tmp"),
        ("sync", ".b.tmp"),
        ("sync", ".c.tmp"),
        ("rename", "a"),
        ("rename", "b"),
        ("rename", "c"),
        ("sync", "first"),
        ("sync", "second"),
    ]


def test_a_failed_sync_is_not_repeated_and_leaves_the_old_file(tmp_path, disk):
    path = tmp_path / "state"
    durable.write_file(path, b"old")
    disk.fail[".state.tmp"] = errno.EIO
    with pytest.raises(UnavailableError, match="Input/output error") as caught:
        durable.write_file(path, b"new")
    assert caught.value.data == {"path": str(path), "errno": "EIO"}
    assert "failing disk" in caught.value.advice
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["state"]


def test_one_file_that_cannot_be_written_leaves_all_as_they_were(tmp_path, disk):
    durable.write_files({tmp_path / "a": b"old", tmp_path / "b": b"old"})
    disk.fail[".b.tmp"] = errno.ENOSPC
    with pytest.raises(UnavailableError) as caught:
        durable.write_files({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert caught.value.data["path"] == str(tmp_path / "b")
    assert "Free space" in caught.value.advice
    assert names_in(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"old"


def test_a_directory_that_cannot_be_synced_is_an_error(tmp_path, disk):
    disk.fail[tmp_path.name] = errno.EIO
    with pytest.raises(UnavailableError, match="cannot sync"):
        durable.write_file(tmp_path / "state", b"whole")
    assert (tmp_path / "state").read_bytes() == b"whole"


def test_a_new_directory_is_synced_into_each_parent(tmp_path, disk):
    durable.make_directory(tmp_path / "a" / "b")
    assert disk.acts == [("sync", tmp_path.name), ("sync", "a")]
    disk.acts.clear()
    durable.make_directory(tmp_path / "a" / "b")
    assert disk.acts == []


def test_a_private_file_is_private_from_its_first_byte(tmp_path):
    leftover = durable.temporary_of(tmp_path / "key")
    leftover.write_bytes(b"left by a crash, readable by all")
    durable.write_file(tmp_path / "key", b"secret", mode=durable.PRIVATE_MODE)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_readers_see_the_old_or_the_new_file_and_nothing_between(tmp_path):
    path = tmp_path / "state"
    contents = [bytes([digit]) * 100_000 for digit in range(10)]
    durable.write_file(path, contents[0])

    def write():
        for _ in range(10):
            for data in contents:
                durable.write_file(path, data)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert durable.read_file(path, size_bytes_max=100_000) in contents
    writer.join()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free space"),
        (errno.EDQUOT, "Free space"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EACCES, "read and write"),
        (errno.EROFS, "writable"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "failing disk"),
        (errno.ESTALE, "failing disk"),
    ],
)
def test_every_error_of_the_kernel_names_the_path_and_a_remedy(number, remedy):
    with (
        pytest.raises(UnavailableError, match="cannot write /some/file") as caught,
        durable.reporting(Path("/some/file"), "write"),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.data == {"path": "/some/file", "errno": errno.errorcode[number]}
    assert remedy in caught.value.advice


def test_a_file_where_a_directory_belongs_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="file/below") as caught:
        durable.write_file(tmp_path / "file" / "below", b"")
    assert "move it away" in caught.value.advice
    with pytest.raises(UnavailableError):
        durable.make_directory(tmp_path / "file" / "below")


def test_a_directory_that_vanished_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(UnavailableError, match="cannot write") as caught:
        durable.write_file(tmp_path / "gone" / "state", b"")
    assert "Restore the directory" in caught.value.advice


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="none does not exist"):
        durable.read_file(tmp_path / "none", size_bytes_max=10)


@pytest.mark.parametrize("read", [durable.read_file, durable.read_back])
def test_a_file_over_its_bound_is_refused(tmp_path, read):
    (tmp_path / "file").write_bytes(b"12345")
    assert read(tmp_path / "file", size_bytes_max=5) == b"12345"
    with pytest.raises(IntegrityError, match="larger than 4 bytes"):
        read(tmp_path / "file", size_bytes_max=4)


def test_a_file_that_another_process_left_unsynced_can_be_synced(tmp_path, disk):
    (tmp_path / "state").write_bytes(b"left")
    durable.sync_file(tmp_path / "state")
    assert disk.acts == [("sync", "state"), ("sync", tmp_path.name)]


def test_removing_what_nobody_needs_never_fails(tmp_path):
    durable.remove_quietly(tmp_path / "none")
    durable.remove_quietly(tmp_path)
    assert tmp_path.is_dir()
