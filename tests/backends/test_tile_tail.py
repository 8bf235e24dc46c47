"""A copy's tail: small appends are one write, and everybody who opens the copy reads them."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from enforcer.backends import durable
from enforcer.backends.keys import verify
from enforcer.backends.tile_tail import TAIL_LEAVES_MAX, TailFile, TailPart
from enforcer.backends.tiles import TileLedger
from enforcer.errors import IntegrityError, UnavailableError
from tests.backends.tile_world import LEAVES, ORIGIN, VKEY, opened, root_of, seal


def copied(path):
    return TileLedger.open(path, origin=ORIGIN, vkey=VKEY, verify=verify, writer=True, is_copy=True)


def grown(path, count=3):
    """Leave a copy as a killed process does: with `count` entries in its tail."""
    with copied(path) as ledger:
        for number in range(count):
            ledger.append([b"more %d" % number], seal)
        killed = path.with_name("killed")
        shutil.copytree(path, killed)
    return killed, [*LEAVES, *(b"more %d" % number for number in range(count))]


def test_a_small_append_to_a_copy_is_one_file_synced_once(path, monkeypatch):
    synced = []

    def recording(sync):
        def synchronise(descriptor):
            sync(descriptor)
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

        return synchronise

    with copied(path) as ledger:
        ledger.append([b"first"], seal)
        monkeypatch.setattr(os, "fsync", recording(os.fsync))
        monkeypatch.setattr(os, "fdatasync", recording(os.fdatasync))
        ledger.append([b"second", b"third"], seal)
        assert synced == [f"{path}/tail"]
        assert ledger.root == root_of([*LEAVES, b"first", b"second", b"third"])


def test_a_ledger_that_is_no_copy_has_no_tail(path):
    with opened(path) as ledger:
        ledger.append([b"an approval"], seal)
        assert not (path / "tail").exists()


@pytest.mark.parametrize("open_again", [copied, opened, lambda path: opened(path, writer=False)])
def test_whoever_opens_a_copy_has_its_tail(path, open_again):
    killed, leaves = grown(path)
    with open_again(killed) as ledger:
        assert ledger.root == root_of(leaves)
        assert list(ledger.entries(590, 603)) == leaves[590:]
        ledger.verify_all()
        assert ledger.receipt(602).index == 602


def test_a_copy_that_is_closed_has_all_in_tiles(path):
    _, leaves = grown(path)
    assert not (path / "tail").exists()
    with opened(path, writer=False) as ledger:
        assert ledger.root == root_of(leaves)


def test_tiles_are_written_before_a_tail_is_long_and_when_a_tile_is_full(path):
    leaves = list(LEAVES)
    with copied(path) as ledger:
        for number in range(2 * TAIL_LEAVES_MAX + 300):
            ledger.append([b"%d" % number], seal)
            leaves.append(b"%d" % number)
            assert ledger.size - ledger._laid[0].size <= TAIL_LEAVES_MAX
        assert ledger.root == root_of(leaves)
        assert list(ledger.entries(0, ledger.size)) == leaves
        ledger.verify_all()
        proof = ledger.consistency_proof(599, ledger.size)
        assert proof


def test_a_record_that_a_crash_cut_ends_the_tail(path):
    killed, leaves = grown(path)
    tail = killed / "tail"
    whole = tail.read_bytes()
    for cut in (1, 40, 200):
        tail.write_bytes(whole[:-cut])
        with opened(killed, writer=False) as ledger:
            assert ledger.root == root_of(leaves[:-1])
    with copied(killed) as ledger:
        ledger.append([b"instead"], seal)
        assert ledger.root == root_of([*leaves[:-1], b"instead"])


def test_a_damaged_record_with_others_behind_it_is_told(path):
    killed, _ = grown(path)
    tail = killed / "tail"
    data = bytearray(tail.read_bytes())
    data[100] ^= 1
    tail.write_bytes(data)
    with pytest.raises(IntegrityError, match="altered") as caught:
        copied(killed)
    assert caught.value.data["path"] == str(tail)


def test_a_tail_that_the_log_did_not_sign_is_refused(path):
    killed, _ = grown(path)
    (part, *_) = TailFile(killed).read()
    (killed / "tail").unlink()
    forged = TailFile(killed)
    forged.add(TailPart(part.first_index, (b"another",), part.note))
    forged.close()
    with pytest.raises(IntegrityError, match="tail was altered"):
        copied(killed)


def test_a_tail_from_before_the_tiles_counts_for_nothing(path):
    killed, leaves = grown(path)
    shutil.copy(killed / "tail", path / "tail")
    with copied(path) as ledger:
        assert ledger.root == root_of(leaves)
        ledger.append([b"goes on"], seal)
        assert ledger.root == root_of([*leaves, b"goes on"])


def test_a_tail_that_lost_its_tiles_is_no_gap_that_anybody_believes(path):
    shutil.copytree(path, path.with_name("before"))
    killed, _ = grown(path)
    with copied(killed) as ledger:
        ledger.append([b"laid"] * 100, seal)
        ledger.append([b"in the tail"], seal)
        shutil.copy(killed / "tail", path.with_name("before") / "tail")
    with opened(path.with_name("before"), writer=False) as ledger:
        assert ledger.root == root_of(LEAVES)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_after_a_fault_in_the_tail_the_next_append_writes_tiles(path, monkeypatch, fault):
    def failing(descriptor):
        raise OSError(fault, os.strerror(fault))

    with copied(path) as ledger:
        ledger.append([b"kept"], seal)
        monkeypatch.setattr(os, "fdatasync", failing)
        with pytest.raises(UnavailableError, match="cannot sync"):
            ledger.append([b"in doubt"], seal)
        assert ledger.size == 601
        ledger.append([b"instead"], seal)
        assert ledger._laid[0].size == 602
        assert not (path / "tail").exists()
        monkeypatch.undo()
        ledger.append([b"goes on"], seal)
        assert ledger.root == root_of([*LEAVES, b"kept", b"instead", b"goes on"])


def test_a_tail_is_cut_while_the_copy_is_open_and_that_is_told(path):
    with copied(path) as ledger:
        ledger.append([b"one"], seal)
        os.truncate(path / "tail", 10)
        with pytest.raises(IntegrityError, match="is cut"):
            ledger.verify_all()


def test_a_copy_whose_disk_is_full_opens_and_writes_tiles_later(path, monkeypatch):
    killed, leaves = grown(path)

    def full(files, **_):
        raise UnavailableError("the disk is full", advice="Free space.")

    monkeypatch.setattr(durable, "write_unread", full)
    with copied(killed) as ledger:
        assert ledger.root == root_of(leaves)
        with pytest.raises(UnavailableError, match="full"):
            ledger.append([b"no room"], seal)
        assert ledger.root == root_of(leaves)
        monkeypatch.undo()
        ledger.append([b"room"], seal)
        assert ledger.root == root_of([*leaves, b"room"])


def test_staged_entries_go_on_from_the_tail(path):
    with copied(path) as ledger:
        ledger.append([b"one"], seal)
        ledger.stage([b"two"])
        ledger.append([b"three"], seal)
        assert ledger.root == root_of([*LEAVES, b"one", b"two", b"three"])
        ledger.verify_all()
