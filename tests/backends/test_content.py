"""Content-addressed files: named by what they hold, and never handed out otherwise."""

import os
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from enforcer.backends.content import ContentStore
from enforcer.errors import InputError, IntegrityError, NotFoundError, UnavailableError

DATA = b"exact example.org\nsubtree example.org\n"
NAME = sha256(DATA).hexdigest()


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def store(tmp_path):
    return ContentStore(tmp_path / "lists", size_bytes_max=1000)


def test_what_is_put_is_read_back_by_its_hash(store):
    assert not store.has(NAME)
    assert store.put(DATA) == NAME
    assert store.has(NAME)
    assert store.read(NAME) == DATA
    assert store.path(NAME).read_bytes() == DATA


def test_putting_again_is_no_error_and_heals_a_damaged_file(store):
    store.put(DATA)
    store.path(NAME).write_bytes(b"damaged")
    assert store.put(DATA) == NAME
    assert store.read(NAME) == DATA


def test_a_stream_is_kept_under_the_hash_of_the_whole(store):
    with store.writer() as writer:
        for at in range(0, len(DATA), 7):
            writer.write(DATA[at : at + 7])
        assert writer.size_bytes == len(DATA)
        assert not store.has(NAME)
        assert writer.commit(NAME) == NAME
    assert store.read(NAME) == DATA


def test_a_file_is_copied_in(store, tmp_path):
    (tmp_path / "upload").write_bytes(DATA)
    assert store.put_file(tmp_path / "upload") == NAME
    with pytest.raises(UnavailableError, match="nothing"):
        store.put_file(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["left", "raised", "other content"])
def test_what_is_not_committed_leaves_nothing(store, kind):
    def write():
        with store.writer() as writer:
            writer.write(DATA)
            if kind == "raised":
                raise RuntimeError("the client went away")
            if kind == "other content":
                writer.commit("0" * 64)

    if kind == "left":
        write()
    else:
        with pytest.raises((RuntimeError, IntegrityError)):
            write()
    assert names_in(store.directory) == []


def test_a_file_over_the_bound_is_refused(store):
    with pytest.raises(InputError, match="larger than 1000 bytes"):
        store.put(bytes(1001))
    with store.writer() as writer:
        writer.write(bytes(1000))
        with pytest.raises(InputError, match="larger than 1000 bytes"):
            writer.write(b"1")
    assert names_in(store.directory) == []
    store.put(bytes(1000))


@pytest.mark.parametrize("at", [0, 20, len(DATA) - 1])
def test_a_flipped_bit_is_not_handed_out(store, at):
    store.put(DATA)
    path, damaged = store.path(NAME), bytearray(DATA)
    damaged[at] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="was altered") as caught:
        store.read(NAME)
    assert caught.value.data["path"] == str(path)


def test_a_cut_file_and_one_over_the_bound_are_not_handed_out(store):
    store.put(DATA)
    store.path(NAME).write_bytes(DATA[:-1])
    with pytest.raises(IntegrityError, match="was altered"):
        store.read(NAME)
    store.path(NAME).write_bytes(bytes(1001))
    with pytest.raises(IntegrityError, match="larger than"):
        store.read(NAME)


def test_what_is_not_there_is_not_found(store):
    with pytest.raises(NotFoundError, match="does not exist"):
        store.read(NAME)
    assert store.path(NAME).name == NAME


@pytest.mark.parametrize(
    "name", ["", "abc", NAME.upper(), "../" + NAME[3:], NAME + "0", "\u0660" * 64]
)
def test_nothing_but_a_hash_becomes_a_path(store, name):
    for call in (store.has, store.path, store.read):
        with pytest.raises(InputError, match="not a SHA-256"):
            call(name)


def test_names_come_oldest_first_and_nothing_else_is_named(store):
    assert store.names() == []
    digests = [store.put(bytes([digit])) for digit in range(5)]
    for age, digest in enumerate(digests[::-1]):
        os.utime(store.path(digest), (age, age))
    (store.directory / ".half.tmp").write_bytes(b"")
    (store.directory / "README").write_bytes(b"")
    assert store.names() == digests[::-1]


def test_what_was_removed_is_gone_and_removing_again_is_no_error(store):
    store.put(DATA)
    store.remove(NAME)
    store.remove(NAME)
    assert not store.has(NAME)
    with pytest.raises(InputError, match="not a SHA-256"):
        store.remove("../checkpoint")


def test_leftovers_of_a_crash_are_swept(store):
    store.put(DATA)
    leftover = Path(store.directory, ".0123456789abcdef.tmp")
    leftover.write_bytes(b"half")
    store.sweep()
    assert names_in(store.directory) == [NAME]


def test_many_threads_may_store_the_same_content(store):
    threads = [threading.Thread(target=store.put, args=(DATA,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names_in(store.directory) == [NAME]
    assert store.read(NAME) == DATA


def test_a_disk_that_refuses_leaves_nothing(store, monkeypatch):
    def refuse(_descriptor):
        raise OSError(28, "No space left on device")

    store.put(b"")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UnavailableError, match="No space left"):
        store.put(DATA)
    assert names_in(store.directory) == [sha256(b"").hexdigest()]
