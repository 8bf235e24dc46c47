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
        opened(killed, writer=False)
    assert caught.value.data["path"] == str(tail)


@pytest.mark.parametrize("zeros", [0, 36, 100, 250])
def test_zeros_where_a_power_cut_took_the_data_end_the_tail(path, zeros):
    """A filesystem may have the new size before what was written."""
    killed, leaves = grown(path)
    tail = killed / "tail"
    whole = tail.read_bytes()
    length = len(whole) // 3
    for kept in (0, 2, 20, 90):
        tail.write_bytes(whole[: 2 * length + kept] + bytes(length - kept + zeros))
        with opened(killed, writer=False) as ledger:
            assert ledger.root == root_of(leaves[:-1])
    with copied(killed) as ledger:
        ledger.append([b"instead"], seal)
        assert ledger.root == root_of([*leaves[:-1], b"instead"])
    assert not (killed / "tail.damaged").exists()


def spoiled(killed, at=0.5):
    """Damage a tail of three records in the second one, and say that witnesses saw all three."""
    tail = killed / "tail"
    (killed / "cosigned").write_bytes(TailFile(killed).read()[-1].note)
    data = bytearray(tail.read_bytes())
    data[int(len(data) * at)] ^= 1
    tail.write_bytes(data)


def test_a_copy_with_a_damaged_tail_opens_and_takes_its_history_again_and_no_other(path):
    killed, leaves = grown(path)
    spoiled(killed)
    damaged = (killed / "tail").read_bytes()
    with copied(killed) as ledger:
        assert (ledger.root, ledger.cosigned_note) == (root_of(leaves[:-2]), None)
        assert (killed / "tail.damaged").read_bytes() == damaged
    with copied(killed) as ledger:
        ledger.append([b"another"], seal)  # of this size nothing is known
    shutil.copytree(killed, path.with_name("forked"))
    with copied(path.with_name("forked")) as ledger:
        for leaves_of_another in ([b"more 2"], [b"x"], [b"x"] * 100):
            with pytest.raises(IntegrityError, match="another history of 603") as caught:
                ledger.append(leaves_of_another, seal)
            assert caught.value.data["problem"] == "split view"
        assert ledger.size == 602


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_copy_forgot_it_has_again_and_goes_on(path, at_once):
    killed, leaves = grown(path)
    spoiled(killed)
    cosigned = (killed / "cosigned").read_bytes()
    with copied(killed) as ledger:
        for part in [leaves[-2:]] if at_once else [leaves[-2:-1], leaves[-1:]]:
            ledger.append(part, seal)
        ledger.keep_cosigned(cosigned)
        ledger.append([b"goes on"] * 70, seal)
        assert ledger.root == root_of([*leaves, *[b"goes on"] * 70])
    assert not (killed / "cosigned.ahead").exists()


def test_a_copy_that_lost_its_tail_opens_though_witnesses_saw_more(path):
    killed, leaves = grown(path)
    spoiled(killed)
    (killed / "tail").unlink()
    with pytest.raises(IntegrityError, match="proves that there were 603") as caught:
        opened(killed, writer=False)
    assert "copied while its node wrote" in caught.value.advice
    with copied(killed) as ledger:
        assert ledger.root == root_of(LEAVES)
        ledger.append(leaves[600:], seal)


def test_the_last_records_note_behind_damage_says_which_history_it_is_without_witnesses(path):
    killed, _ = grown(path)
    spoiled(killed)
    (killed / "cosigned").unlink()
    with copied(killed) as ledger, pytest.raises(IntegrityError, match="another history of 603"):
        ledger.append([b"x"] * 3, seal)


def beside_a_writer(path, monkeypatch, name, meanwhile):
    """Call `meanwhile` once, when a reader has read the checkpoint and is to read the tail."""
    read_file = durable.read_file
    calls = [meanwhile]

    def reading(file, **bound):
        if file.name == name and calls:
            calls.pop()()
        return read_file(file, **bound)

    monkeypatch.setattr(durable, "read_file", reading)


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_reader_beside_a_writer_that_lays_its_tail_finds_no_rollback(path, monkeypatch, rounds):
    with copied(path) as ledger:
        ledger.append([b"in the tail"], seal)

        def more(count):
            for _ in range(count):
                ledger.append([b"more"], seal)

        ledger.keep_cosigned(ledger.checkpoint_note)
        beside_a_writer(path, monkeypatch, "tail", lambda: more(rounds * (TAIL_LEAVES_MAX + 1)))
        with opened(path, writer=False) as reader:
            assert reader.size > 600
            beside_a_writer(path, monkeypatch, "tail", lambda: more(rounds * TAIL_LEAVES_MAX + 9))
            reader.verify_all()


def test_a_copy_made_while_the_tail_was_laid_has_all_that_its_cosigned_names(path):
    before = path.with_name("before")
    with copied(path) as ledger:
        for _ in range(TAIL_LEAVES_MAX):
            ledger.append([b"in the tail"], seal)
        shutil.copytree(path, before)
        ledger.append([b"laid with it"], seal)
        ledger.append([b"in the next"], seal)
        ledger.keep_cosigned(ledger.checkpoint_note)
        (before / "tail").unlink()
        for name in ("cosigned", "tail", "tail.laid"):
            shutil.copy(path / name, before / name)
        with opened(before, writer=False) as reader:
            assert reader.root == ledger.root
            reader.verify_all()


def test_a_tail_that_the_log_did_not_sign_is_refused(path):
    killed, _ = grown(path)
    (part, *_) = TailFile(killed).read()
    (killed / "tail").unlink()
    forged = TailFile(killed)
    forged.add(TailPart(part.first_index, (b"another",), part.note))
    forged.close()
    with pytest.raises(IntegrityError, match="tail was altered"):
        opened(killed, writer=False)
    with copied(killed) as ledger:
        assert ledger.root == root_of(LEAVES)


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
