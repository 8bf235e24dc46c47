"""The cosigned checkpoint beside a ledger: kept, read again, and never of another history."""

from __future__ import annotations

import shutil

import pytest

from enforcer.backends.keys import PrivateKey
from enforcer.core.checkpoint import Checkpoint
from enforcer.core.cosignature import with_lines
from enforcer.core.note import Note, VerifierKey, sign_note
from enforcer.errors import ConflictError, IntegrityError
from tests.backends.tile_world import LEAVES, ORIGIN, opened, root_of, seal

OTHER = [b"other %d" % index for index in range(100)]


def note_of(leaves):
    return seal(Checkpoint(ORIGIN, len(leaves), root_of(leaves)))


@pytest.fixture
def path(tmp_path):
    with opened(tmp_path / "ledger") as ledger:
        ledger.append(LEAVES[:100], seal)
    return tmp_path / "ledger"


def test_it_is_there_again_at_the_next_start_and_may_lag_behind(path):
    with opened(path) as ledger:
        assert ledger.cosigned_note is None
        ledger.keep_cosigned(note_of(LEAVES[:70]))
        ledger.append(LEAVES[100:110], seal)
    for writer in (False, True):
        with opened(path, writer=writer) as ledger:
            assert ledger.cosigned_note == note_of(LEAVES[:70])
            assert ledger.size == 110


def test_receipts_of_what_it_covers_have_it_and_others_the_present_one(path):
    with opened(path) as ledger:
        ledger.keep_cosigned(note_of(LEAVES[:70]))
        assert ledger.receipt(69).checkpoint_note == note_of(LEAVES[:70])
        assert ledger.receipt(70).checkpoint_note == ledger.checkpoint_note


@pytest.mark.parametrize("leaves", [OTHER[:70], OTHER, LEAVES[:101]])
def test_one_of_another_history_or_of_more_is_not_kept(path, leaves):
    with opened(path) as ledger:
        with pytest.raises(IntegrityError):
            ledger.keep_cosigned(note_of(leaves))
        assert ledger.cosigned_note is None


def test_a_reader_keeps_none(path):
    with opened(path, writer=False) as ledger, pytest.raises(ConflictError):
        ledger.keep_cosigned(note_of(LEAVES[:70]))


@pytest.mark.parametrize(
    ("leaves", "problem"), [(OTHER[:70], "split view"), (LEAVES[:120], "rolled back")]
)
def test_a_ledger_that_contradicts_it_is_not_gone_on_from(path, leaves, problem):
    (path / "cosigned").write_bytes(note_of(leaves))
    for writer in (False, True):
        with pytest.raises(IntegrityError) as caught:
            opened(path, writer=writer)
        assert caught.value.data["problem"] == problem
        assert caught.value.data["theirs"].encode() == note_of(leaves)
        assert caught.value.data["ours"].encode() == (path / "checkpoint").read_bytes()


def test_a_ledger_restored_from_a_backup_is_not_gone_on_from(path, tmp_path):
    """What was appended after the backup is gone, but witnesses have seen that it was there."""
    shutil.copytree(path, tmp_path / "backup")
    with opened(path) as ledger:
        ledger.append(LEAVES[100:120], seal)
        ledger.keep_cosigned(note_of(LEAVES[:120]))
    shutil.copy(path / "cosigned", tmp_path / "backup")
    with pytest.raises(IntegrityError, match="proves that there were 120"):
        opened(tmp_path / "backup")


def test_one_by_a_key_that_the_log_no_longer_has_is_passed_over(path):
    with opened(path) as ledger:
        ledger.keep_cosigned(note_of(LEAVES[:70]))
    changed = PrivateKey.generate()
    vkey = VerifierKey(ORIGIN, changed.public_key)
    file = path / "checkpoint"
    note = Note.parse(file.read_bytes())
    (line,) = Note.parse(sign_note(note.text, vkey, changed.sign)).signatures
    file.write_bytes(with_lines(note, [line]).format())  # as while the key is being changed
    with opened(path) as ledger:
        assert ledger.cosigned_note is not None
    with opened(path, vkey=vkey) as ledger:
        assert ledger.cosigned_note is None


def test_garbage_in_its_place_is_found(path):
    (path / "cosigned").write_bytes(b"nonsense")
    with pytest.raises(IntegrityError):
        opened(path)
