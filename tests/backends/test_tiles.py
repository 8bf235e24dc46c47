"""The ledger on disk: what it gives back, what it refuses, and what it survives."""

import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tile_files import TileFiles
from enforcer.backends.tiles import APPEND_BYTES_MAX, APPEND_LEAVES_MAX, TileLedger, received
from enforcer.core import merkle
from enforcer.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from enforcer.core.edge import RightEdge
from enforcer.core.merkle import CompactRange
from enforcer.core.note import VerifierKey
from enforcer.core.receipt import Receipt, verify_receipt
from enforcer.core.tile import BUNDLE, Tile, decode_bundle
from enforcer.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)

ROOT = Path(__file__).resolve().parent.parent.parent
ORIGIN = "example.org/ledger"
KEY = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, KEY.public_key)
LEAVES = [f"entry {index}".encode() for index in range(600)]


def opened(path, *, writer=True, origin=ORIGIN, vkey=VKEY):
    return TileLedger.open(path, origin=origin, vkey=vkey, verify=verify, writer=writer)


def seal(checkpoint):
    return sign_checkpoint(checkpoint, VKEY, KEY.sign)


def root_of(leaves):
    return CompactRange.over(map(merkle.leaf_hash, leaves)).root()


def checkpoint_of(ledger):
    return open_checkpoint(ledger.checkpoint_note, ORIGIN, VKEY, verify)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """A closed ledger of 600 entries in appends of many sizes, to be copied."""
    path = tmp_path_factory.mktemp("pattern") / "ledger"
    with opened(path) as ledger:
        at = 0
        for count in (1, 2, 250, 10, 300, 37):
            ledger.append(LEAVES[at : at + count], seal)
            at += count
        assert ledger.size == 600
        ledger.lists.put(b"exact example.org\n")
    return path


@pytest.fixture
def path(pattern, tmp_path):
    """A ledger of 600 entries of the test's own."""
    return Path(shutil.copytree(pattern, tmp_path / "ledger"))


# What it gives back.


def test_a_new_ledger_is_empty_and_has_no_checkpoint(tmp_path):
    with opened(tmp_path / "new" / "ledger") as ledger:
        assert (ledger.size, ledger.root, ledger.checkpoint_note) == (0, merkle.EMPTY_ROOT, None)
        assert list(ledger.entries(0, 0)) == []
        ledger.verify_all()
    with opened(tmp_path / "new" / "ledger", writer=False) as ledger:
        assert ledger.size == 0


def test_an_append_returns_the_signed_checkpoint_that_is_on_the_disk(tmp_path):
    with opened(tmp_path) as ledger:
        note = ledger.append(LEAVES[:3], seal)
        assert open_checkpoint(note, ORIGIN, VKEY, verify) == Checkpoint(
            ORIGIN, 3, root_of(LEAVES[:3])
        )
        assert note == ledger.checkpoint_note == (tmp_path / "checkpoint").read_bytes()


def test_all_entries_come_back_from_any_range(path):
    ledger = opened(path, writer=False)
    assert ledger.root == root_of(LEAVES)
    for start, end in ((0, 600), (0, 256), (255, 257), (256, 512), (511, 600), (599, 600), (7, 7)):
        assert list(ledger.entries(start, end)) == LEAVES[start:end]
        assert list(ledger.leaf_hashes(start, end)) == [
            merkle.leaf_hash(leaf) for leaf in LEAVES[start:end]
        ]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 4), (0, 601)])
def test_a_range_that_the_ledger_does_not_have_is_refused_at_once(path, start, end):
    with pytest.raises(InputError, match="no entries"):
        opened(path, writer=False).entries(start, end)


def test_the_files_are_those_of_the_standard(path):
    files = {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()}
    assert {each for each in files if not each.startswith("lists")} == {
        "begun",
        "checkpoint",
        "lock",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/51",
        "tile/0/002.p/88",
        "tile/1/000.p/1",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/51",
        "tile/entries/002.p/88",
    }
    assert (path / "tile/0/001").read_bytes() == b"".join(
        merkle.leaf_hash(leaf) for leaf in LEAVES[256:512]
    )
    assert (path / "tile/1/000.p/2").read_bytes() == root_of(LEAVES[:256]) + root_of(
        LEAVES[256:512]
    )


def test_every_receipt_verifies_offline(path):
    ledger = opened(path, writer=False)
    for index in (0, 1, 255, 256, 511, 512, 599):
        receipt = Receipt.parse(ledger.receipt(index).format())
        verify_receipt(receipt, LEAVES[index], ORIGIN, VKEY, verify)
    with pytest.raises(InputError, match="entry 600 is not in a ledger of 600"):
        ledger.receipt(600)


def test_a_receipt_of_another_tree_is_refused(path, tmp_path):
    other = [b"another " + leaf for leaf in LEAVES]
    with opened(tmp_path / "other") as ledger:
        ledger.append(other, seal)
        foreign = ledger.receipt(7)
    ours = opened(path, writer=False)
    with pytest.raises(IntegrityError, match="leads to another root"):
        verify_receipt(foreign, LEAVES[7], ORIGIN, VKEY, verify)
    mixed = Receipt(7, foreign.hashes, ours.checkpoint_note)
    with pytest.raises(IntegrityError, match="leads to another root"):
        verify_receipt(mixed, other[7], ORIGIN, VKEY, verify)


def test_proofs_between_all_kinds_of_sizes_verify(path):
    ledger = opened(path, writer=False)
    dice = random.Random(1)
    for _ in range(60):
        first, second = sorted((dice.randint(1, 600), dice.randint(1, 600)))
        merkle.verify_consistency(
            first,
            second,
            root_of(LEAVES[:first]),
            root_of(LEAVES[:second]),
            ledger.consistency_proof(first, second),
        )
        index = dice.randrange(second)
        merkle.verify_inclusion(
            merkle.leaf_hash(LEAVES[index]),
            index,
            second,
            ledger.inclusion_proof(index, second),
            root_of(LEAVES[:second]),
        )
    with pytest.raises(InputError, match="has 600 entries, not 601"):
        ledger.consistency_proof(5, 601)


def test_every_earlier_root_can_be_had(path):
    ledger = opened(path, writer=False)
    for size in (0, 1, 255, 256, 257, 512, 599, 600):
        assert ledger.root_at(size) == root_of(LEAVES[:size])
    with pytest.raises(InputError, match="has 600 entries, not 601"):
        ledger.root_at(601)


def test_tiles_of_every_earlier_size_can_be_had(path):
    ledger = opened(path, writer=False)
    for width in (1, 3, 200, 256):
        assert decode_bundle(ledger.bundle(0, width), width) == LEAVES[:width]
        assert ledger.tile(0, 0, width) == b"".join(map(merkle.leaf_hash, LEAVES[:width]))
        assert ledger.tile(BUNDLE, 0, width) == ledger.bundle(0, width)
    assert decode_bundle(ledger.bundle(2, 60), 60) == LEAVES[512:572]
    assert ledger.tile(1, 0, 1) == root_of(LEAVES[:256])


@pytest.mark.parametrize("tile", [Tile(0, 2, 89), Tile(0, 3, 1), Tile(1, 0, 3), Tile(2, 0, 1)])
def test_a_tile_that_is_not_there_yet_is_not_found(path, tile):
    ledger = opened(path, writer=False)
    with pytest.raises(NotFoundError, match="has no tile"):
        ledger.tile(tile.level, tile.index, tile.width)
    with pytest.raises(NotFoundError, match="has no tile/entries"):
        ledger.bundle(3, 1)


def test_a_leaf_is_any_bytes_up_to_the_bound(tmp_path):
    odd = [b"", b"\x00", bytes(65_535), b"\xff" * 300]
    with opened(tmp_path) as ledger:
        ledger.append(odd, seal)
    assert list(opened(tmp_path, writer=False).entries(0, 4)) == odd


@pytest.mark.parametrize(
    "leaves",
    [
        [],
        [b"a", bytes(65_536)],
        [b""] * (APPEND_LEAVES_MAX + 1),
        [bytes(65_535)] * (APPEND_BYTES_MAX // 65_535 + 1),
    ],
    ids=["none", "too large", "too many", "too large together"],
)
def test_a_bad_append_changes_nothing(path, leaves):
    with opened(path) as ledger:
        before = {each for each in path.rglob("*") if each.is_file()}
        with pytest.raises(InputError):
            ledger.append(leaves, seal)
        assert {each for each in path.rglob("*") if each.is_file()} == before
        assert ledger.size == 600


def test_verifying_tells_how_far_it_is(path):
    seen = []
    opened(path, writer=False).verify_all(lambda done, total: seen.append((done, total)))
    assert seen == [(256, 600), (512, 600), (600, 600)]


# Readers beside a writer.


def test_a_reader_keeps_its_tree_while_the_writer_goes_on(path):
    reader = opened(path, writer=False)
    with opened(path) as ledger:
        ledger.append([b"more"] * 400, seal)
        assert not (path / "tile/entries/002.p").exists()
        assert not (path / "tile/0/002.p").exists()
        assert reader.size == 600
        assert list(reader.entries(0, 600)) == LEAVES
        reader.verify_all()
        reader.receipt(599)


def test_readers_open_at_any_moment_of_a_writers_work(tmp_path):
    with opened(tmp_path) as ledger:
        ledger.append([b"first"], seal)
        writer = threading.Thread(
            target=lambda: [ledger.append([b"entry"] * 37, seal) for _ in range(40)]
        )
        writer.start()
        sizes = set()
        while writer.is_alive():
            reader = opened(tmp_path, writer=False)
            assert len(list(reader.entries(0, reader.size))) == reader.size
            sizes.add(reader.size)
        writer.join()
        assert ledger.size == 1 + 40 * 37
    assert sizes


def test_a_reader_cannot_append(path):
    with pytest.raises(ConflictError, match="for reading only"):
        opened(path, writer=False).append([b"entry"], seal)


def test_reading_where_there_is_no_ledger_makes_none(tmp_path):
    with pytest.raises(NotFoundError, match="no ledger"):
        opened(tmp_path / "none", writer=False)
    assert not (tmp_path / "none").exists()


def test_a_second_writer_is_told_who_is_writing(path):
    with opened(path):
        with pytest.raises(ConflictError, match=f"written by process {os.getpid()}") as caught:
            opened(path)
        assert caught.value.data["pid"] == os.getpid()
    opened(path).close()


# Damage.


def flip(file, at, bit=0):
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


FILES = [
    "tile/0/000",
    "tile/0/001",
    "tile/0/002.p/88",
    "tile/1/000.p/2",
    "tile/entries/000",
    "tile/entries/001",
    "tile/entries/002.p/88",
]


def read_everything(path):
    ledger = opened(path, writer=False)
    list(ledger.entries(0, ledger.size))


def verify_everything(path):
    opened(path, writer=False).verify_all()


@pytest.mark.parametrize("use", [read_everything, verify_everything])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_its_file_named(path, name, use):
    file, dice = path / name, random.Random(name)
    whole = file.read_bytes()
    for _ in range(20):
        flip(file, dice.randrange(len(whole)), dice.randrange(8))
        with pytest.raises(IntegrityError, match=name) as caught:
            use(path)
        assert caught.value.data["problem"] in {"altered", "cut", "too long"}
        file.write_bytes(whole)
    use(path)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_a_lengthened_and_a_lost_file_are_named(path, name):
    file, dice = path / name, random.Random(name)
    whole = file.read_bytes()
    for data, problem in (
        (whole[:-1], "cut"),
        (whole[: dice.randrange(len(whole))], "cut"),
        (b"", "cut"),
        (whole + b"\x00", "too long"),
    ):
        file.write_bytes(data)
        with pytest.raises(IntegrityError, match=name) as caught:
            verify_everything(path)
        assert caught.value.data["problem"] in {problem, "too large"}
    file.unlink()
    with pytest.raises(IntegrityError, match=name) as caught:
        verify_everything(path)
    assert caught.value.data["problem"] == "missing"


def test_a_flipped_bit_anywhere_in_the_checkpoint_keeps_the_ledger_shut(path):
    file, dice = path / "checkpoint", random.Random(2)
    whole, problems = file.read_bytes(), set()
    for at in range(len(whole)):
        flip(file, at, dice.randrange(8))
        with pytest.raises(IntegrityError) as caught:
            opened(path)
        problems.add(caught.value.data["problem"])
        file.write_bytes(whole)
    assert problems == {"malformed", "bad signature", "other key"}


@pytest.mark.parametrize("name", FILES)
def test_verifying_reads_every_file_again_whatever_is_in_memory(path, name):
    ledger = opened(path, writer=False)
    list(ledger.entries(0, 600))
    ledger.verify_all()
    flip(path / name, 5)
    with pytest.raises(IntegrityError, match=name):
        ledger.verify_all()


def test_damage_found_by_a_proof_is_named(path):
    flip(path / "tile/0/001", 3)
    ledger = opened(path, writer=False)
    ledger.receipt(3)
    with pytest.raises(IntegrityError, match="tile/0/001 was altered"):
        ledger.receipt(300)


def test_entries_before_the_damage_are_given_and_none_after(path):
    flip(path / "tile/entries/001", 3)
    ledger, got = opened(path, writer=False), []
    with pytest.raises(IntegrityError, match="entry 256 hashes") as caught:
        got.extend(ledger.entries(0, 600))
    assert caught.value.data["index"] == 256
    assert got == LEAVES[:256]


def test_a_checkpoint_by_another_key_is_refused(path):
    other = PrivateKey.generate()
    checkpoint = Checkpoint(ORIGIN, 600, root_of(LEAVES))
    note = sign_checkpoint(checkpoint, VerifierKey(ORIGIN, other.public_key), other.sign)
    (path / "checkpoint").write_bytes(note)
    with pytest.raises(IntegrityError, match="not signed by") as caught:
        opened(path)
    assert caught.value.data["problem"] == "other key"


def test_a_ledger_of_another_origin_is_refused(path):
    with pytest.raises(IntegrityError, match="is of the log") as caught:
        opened(path, origin="example.org/other")
    assert caught.value.data["problem"] == "other origin"


def test_a_signed_checkpoint_over_other_tiles_is_refused(path):
    (path / "checkpoint").write_bytes(seal(Checkpoint(ORIGIN, 600, root_of(LEAVES[::-1]))))
    with pytest.raises(IntegrityError, match="the checkpoint of size 600 says"):
        opened(path)


def test_a_checkpoint_larger_than_any_note_is_refused_unread(path):
    with (path / "checkpoint").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(IntegrityError, match="larger than"):
        opened(path)


def test_a_lost_checkpoint_never_starts_a_second_history(path):
    (path / "checkpoint").unlink()
    for writer in (True, False):
        with pytest.raises(IntegrityError, match="would fork the ledger"):
            opened(path, writer=writer)


# Appending over what is not what this object knows.


def test_a_rolled_back_ledger_is_refused(path):
    old = (path / "checkpoint").read_bytes()
    with opened(path) as ledger:
        ledger.append([b"newer"], seal)
        newer = ledger.checkpoint_note
        (path / "checkpoint").write_bytes(old)
        for call in (lambda: ledger.append([b"next"], seal), ledger.verify_all):
            with pytest.raises(IntegrityError, match="rolled back to size 600") as caught:
                call()
            assert (caught.value.data["expected"], caught.value.data["got"]) == (601, 600)
        assert (path / "checkpoint").read_bytes() == old
        (path / "checkpoint").write_bytes(newer)
        ledger.append([b"next"], seal)


@pytest.mark.parametrize("size", [600, 601])
def test_a_checkpoint_that_somebody_else_wrote_is_refused(path, size):
    with opened(path) as ledger:
        (path / "checkpoint").write_bytes(seal(Checkpoint(ORIGIN, size, bytes(32))))
        with pytest.raises(IntegrityError, match="changed by somebody else"):
            ledger.append([b"next"], seal)
        (path / "checkpoint").unlink()
        with pytest.raises(IntegrityError, match="was removed"):
            ledger.append([b"next"], seal)


def not_called(_checkpoint):
    raise AssertionError("nothing must be signed")


class LyingFiles(TileFiles):
    """A disk that takes everything and gives back one flipped bit."""

    liar = "tile/entries/"

    def read_back(self, tile):
        data = super().read_back(tile)
        if tile.path.startswith(self.liar):
            data = bytes([data[0], data[1], data[2] ^ 1]) + data[3:]
        return data


@pytest.mark.parametrize("liar", ["tile/entries/", "tile/0/"])
def test_what_the_disk_does_not_give_back_is_not_signed(path, liar):
    with opened(path) as ledger:
        honest = ledger._files
        ledger._files = LyingFiles(path)
        ledger._files.liar = liar
        with pytest.raises(IntegrityError, match=f"{liar}002.p/89 was altered"):
            ledger.append([b"next"], not_called)
        assert ledger.size == 600
        ledger._files = honest
        ledger.append([b"next"], seal)
        ledger.verify_all()


def test_a_bit_flipped_in_memory_is_not_signed(path):
    with opened(path) as ledger:
        edge = ledger._state[0].edge
        tile = bytes([edge.tiles[0][0] ^ 1]) + edge.tiles[0][1:]
        ledger._state[0].edge = RightEdge(edge.size, (tile, *edge.tiles[1:]), edge.bundle)
        with pytest.raises(IntegrityError, match="in memory was altered"):
            ledger.append([b"next"], not_called)


def test_an_old_entry_flipped_in_memory_is_not_signed(path):
    with opened(path) as ledger:
        edge = ledger._state[0].edge
        bundle = edge.bundle[:5] + bytes([edge.bundle[5] ^ 1]) + edge.bundle[6:]
        ledger._state[0].edge = RightEdge(edge.size, edge.tiles, bundle)
        with pytest.raises(IntegrityError, match="entry 512 hashes to"):
            ledger.append([b"next"], not_called)


def test_a_signer_that_fails_leaves_the_ledger_as_it_was(path):
    def away(_checkpoint):
        raise UnavailableError("the signer is away", advice="Start it.")

    with opened(path) as ledger:
        with pytest.raises(UnavailableError, match="signer is away"):
            ledger.append([b"lost"], away)
        assert ledger.size == 600
        ledger.append([b"kept"], seal)
    assert list(opened(path, writer=False).entries(600, 601)) == [b"kept"]


# Replicas.


def test_a_replica_takes_the_entries_and_the_note_of_the_log(path, tmp_path):
    source = opened(path, writer=False)
    with opened(tmp_path / "replica") as replica:
        replica.append(list(source.entries(0, 600)), received(source.checkpoint_note))
        assert replica.checkpoint_note == source.checkpoint_note
        replica.verify_all()


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (LEAVES[:599], "the entries give size 599"),
        ([*LEAVES[:599], b"forged"], "the signed checkpoint is of size 600 and root"),
        (LEAVES[1:], "the entries give size 599"),
        ([*LEAVES, b"unsigned"], "the entries give size 601"),
    ],
)
def test_a_replica_refuses_entries_that_are_not_the_logs(path, tmp_path, entries, reason):
    source = opened(path, writer=False)
    with opened(tmp_path / "replica") as replica:
        with pytest.raises(IntegrityError, match=reason) as caught:
            replica.append(entries, received(source.checkpoint_note))
        assert caught.value.data["problem"] == "another tree"
        assert replica.size == 0
        replica.append(LEAVES, received(source.checkpoint_note))
    assert opened(tmp_path / "replica", writer=False).root == source.root


def test_a_replica_refuses_a_checkpoint_by_another_key(tmp_path):
    other = PrivateKey.generate()
    checkpoint = Checkpoint(ORIGIN, 1, root_of([b"entry"]))
    note = sign_checkpoint(checkpoint, VerifierKey(ORIGIN, other.public_key), other.sign)
    with opened(tmp_path) as replica:
        with pytest.raises(IntegrityError, match="not signed by"):
            replica.append([b"entry"], received(note))
        assert not (tmp_path / "checkpoint").exists()


# Durability.


def name_of(descriptor):
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def test_everything_is_synced_before_it_is_signed_and_the_checkpoint_before_it_is_answered(
    path, monkeypatch
):
    synced, fsync = [], os.fsync

    def recording(descriptor):
        fsync(descriptor)
        synced.append(name_of(descriptor))

    monkeypatch.setattr(os, "fsync", recording)

    def signing(checkpoint):
        assert sorted(synced) == [
            f"{path}/tile/0/002.p",
            f"{path}/tile/0/002.p/90",
            f"{path}/tile/entries/002.p",
            f"{path}/tile/entries/002.p/90",
        ]
        return seal(checkpoint)

    with opened(path) as ledger:
        ledger._files._make(path / "tile/entries/002.p")
        ledger._files._make(path / "tile/0/002.p")
        synced.clear()
        ledger.append([b"one", b"two"], signing)
        assert synced[4:] == [f"{path}/.checkpoint.tmp", f"{path}"]


def test_directories_that_a_killed_writer_made_are_synced_too(path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), synced.append(name_of(fd))))
    with opened(path) as ledger:
        ledger.append([b"one"], seal)
    # The directory's own name stands in its parent, up to the ledger's.
    assert {f"{path}/tile/entries", f"{path}/tile/0", f"{path}/tile", f"{path}"} <= set(synced)


def test_after_a_fault_in_placing_the_checkpoint_nothing_is_appended_until_reopened(
    path, monkeypatch
):
    fsync = os.fsync

    def failing(descriptor):
        if name_of(descriptor) == str(path):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with opened(path) as ledger:
        ledger.append([b"fine"], seal)
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match="cannot sync"):
            ledger.append([b"in doubt"], seal)
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(UnavailableError, match="may or may not be on the disk"):
            ledger.append([b"another entry at that index"], not_called)
        assert ledger.size == 601
    # A reader may have seen the new checkpoint, so it counts.
    with opened(path) as ledger:
        assert list(ledger.entries(600, 602)) == [b"fine", b"in doubt"]


@pytest.mark.parametrize("failing_name", [".checkpoint.tmp", "/89", "002.p"])
def test_after_a_fault_before_the_checkpoint_the_next_append_goes_on(
    path, monkeypatch, failing_name
):
    fsync = os.fsync

    def failing(descriptor):
        if name_of(descriptor).endswith(failing_name):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    with opened(path) as ledger:
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match="Input/output error"):
            ledger.append([b"lost"], seal)
        monkeypatch.setattr(os, "fsync", fsync)
        assert not list(path.rglob("*.tmp"))
        ledger.append([b"kept"], seal)
        ledger.verify_all()
        assert list(ledger.entries(600, 601)) == [b"kept"]


def test_partial_files_that_a_killed_writer_left_go_when_the_ledger_opens(path):
    with opened(path) as ledger:
        ledger.append([b"more"] * 168, seal)
    leftover = path / "tile/entries/002.p"
    leftover.mkdir()
    (leftover / "88").write_bytes(b"old")
    (leftover / ".89.tmp").write_bytes(b"half")
    (path / ".checkpoint.tmp").write_bytes(seal(Checkpoint(ORIGIN, 1000, bytes(32))))
    opened(path).close()
    assert not leftover.exists()
    assert not (path / ".checkpoint.tmp").exists()


def test_opening_finishes_what_a_writer_killed_at_its_first_checkpoint_left(path, monkeypatch):
    (path / "begun").unlink()
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(name_of(fd)), fsync(fd)))
    opened(path).close()
    assert synced[:2] == [f"{path}/checkpoint", f"{path}"]
    assert (path / "begun").exists()


def test_partial_files_stay_until_the_checkpoint_that_needs_them_is_replaced(path, monkeypatch):
    fsync = os.fsync

    def failing(descriptor):
        if name_of(descriptor).endswith(".checkpoint.tmp"):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with opened(path) as ledger:
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(UnavailableError, match="No space left"):
            ledger.append([b"more"] * 168, seal)
        assert (path / "tile/entries/002.p/88").exists()
        assert (path / "tile/0/002.p/88").exists()
        monkeypatch.setattr(os, "fsync", fsync)
        ledger.append([b"more"] * 168, seal)
        assert not (path / "tile/entries/002.p").exists()


def run_scenario(path, scenario, *arguments, before=()):
    path.mkdir(exist_ok=True)
    script = Path(__file__).with_name("ledger_scenarios.py")
    done = subprocess.run(
        [*before, sys.executable, script, scenario, path, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_writers_killed_at_random_moments_lose_nothing_that_they_answered(tmp_path):
    assert run_scenario(tmp_path, "kill_at_random", 20, 20).startswith("20 kills")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_writers_killed_hundreds_of_times_lose_nothing_that_they_answered(tmp_path, seed):
    assert run_scenario(tmp_path, "kill_at_random", seed, 100).startswith("100 kills")


def test_a_writer_killed_at_any_step_loses_nothing_that_it_answered(tmp_path):
    steps = int(run_scenario(tmp_path, "kill_at_each_step").split()[0])
    assert steps > 100


def test_a_control_plane_killed_in_a_group_of_acts_lost_none_that_it_answered(tmp_path):
    steps = int(run_scenario(tmp_path, "kill_in_a_group").split()[-2])
    assert steps > 20


def test_a_limit_on_file_sizes_is_an_error_with_a_remedy(tmp_path):
    run_scenario(tmp_path, "file_limit")


def in_a_mount_namespace():
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting a small filesystem needs root and mount namespaces")
    return ("unshare", "-m")


@pytest.mark.root
def test_a_full_disk_is_an_error_with_a_remedy_and_loses_nothing(tmp_path):
    run_scenario(tmp_path, "full_disk", before=in_a_mount_namespace())


@pytest.mark.root
def test_a_ledger_opens_for_reading_where_nothing_can_be_written(tmp_path):
    run_scenario(tmp_path, "read_only_disk", before=in_a_mount_namespace())
