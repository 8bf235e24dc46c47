"""Damage to the ledger's files is found, named, and never appended to."""

import random

import pytest

from enforcer.backends.keys import PrivateKey
from enforcer.backends.tile_files import TileFiles
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.edge import RightEdge
from enforcer.core.note import VerifierKey
from enforcer.errors import IntegrityError, UnavailableError
from tests.backends.tile_world import LEAVES, ORIGIN, not_called, opened, root_of, seal


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
