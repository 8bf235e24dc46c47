"""The ledger's files: what is written comes back, with proofs, to readers and to replicas."""

import os
import random
import threading

import pytest

from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tile_growth import APPEND_BYTES_MAX, APPEND_LEAVES_MAX
from enforcer.backends.tile_writer import received
from enforcer.core import merkle
from enforcer.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from enforcer.core.note import VerifierKey
from enforcer.core.receipt import Receipt, verify_receipt
from enforcer.core.tile import BUNDLE, Tile, decode_bundle
from enforcer.errors import ConflictError, InputError, IntegrityError, NotFoundError
from tests.backends.tile_world import LEAVES, ORIGIN, VKEY, opened, root_of, seal

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
