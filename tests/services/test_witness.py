"""A witness's memory: on the disk before it signs, one lock, no way back, split views kept."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.cosignature import CosignerKey, Witnesses, cosign, cosigned_at, with_lines
from enforcer.core.note import Note, SignatureLine, VerifierKey
from enforcer.core.witness import AddCheckpoint, log_name
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from tests.witnesses import forked, open_witness

LOG_KEY = PrivateKey.generate()
LOG = VerifierKey("example.org/ledger", LOG_KEY.public_key)
KEY = PrivateKey.generate()
HONEST, FORKED = forked(LOG, LOG_KEY)


@pytest.fixture
def witness(tmp_path):
    return open_witness(tmp_path / "w1", LOG, KEY)


def line_of(answer: bytes) -> SignatureLine:
    text = answer.decode()
    assert text.endswith("\n")
    return SignatureLine.parse(text.removesuffix("\n"))


def cosigned(history, size, *answers) -> Note:
    return with_lines(Note.parse(history.note(size)), map(line_of, answers))


def test_a_witness_follows_a_log_and_its_lines_verify(witness):
    for old, size in ((0, 3), (3, 3), (3, 17), (17, 40)):
        answer = witness.add_checkpoint(HONEST.request(old, size))
        note = cosigned(HONEST, size, answer)
        assert cosigned_at(note, witness.key, verify) == 1_790_000_000
    assert witness.latest(LOG.name) == HONEST.checkpoint(40)


def test_of_a_split_view_shown_to_two_witnesses_at_most_one_gets_a_quorum(tmp_path):
    keys = [PrivateKey.generate() for _ in range(3)]
    three = [open_witness(tmp_path / str(at), LOG, key, f"w{at}") for at, key in enumerate(keys)]
    trusted = Witnesses(tuple(each.key for each in three), 2)
    for each in three:
        each.add_checkpoint(HONEST.request(0, 5))  # what both histories have in common
    got = {"honest": [], "forked": []}
    for each, first, second in (
        (three[0], HONEST, FORKED),
        (three[1], FORKED, HONEST),
        (three[2], HONEST, FORKED),
    ):
        name, other = ("honest", "forked") if first is HONEST else ("forked", "honest")
        got[name].append(each.add_checkpoint(first.request(5, 9)))
        for request in (second.request(5, 9), second.request(9, 9), second.request(9, 12)):
            with pytest.raises((ConflictError, IntegrityError)):
                got[other].append(each.add_checkpoint(request))
    assert trusted.has_quorum(cosigned(HONEST, 9, *got["honest"]), verify)
    assert not trusted.has_quorum(cosigned(FORKED, 9, *got["forked"]), verify)
    for each in three:  # the conflict is shown, with both notes, each signed by the log
        (shown, *_) = [pair for pair in json.loads(each.split_views()) if pair["is_proven"]]
        sizes = {
            Checkpoint.parse(Note.parse(shown[at].encode()).text) for at in ("cosigned", "offered")
        }
        assert sizes == {HONEST.checkpoint(9), FORKED.checkpoint(9)}


def test_what_is_not_shown_to_extend_is_kept_but_only_the_last_of_it(witness):
    witness.add_checkpoint(HONEST.request(0, 9))
    for size in (12, 13):
        with pytest.raises(IntegrityError):
            witness.add_checkpoint(FORKED.request(9, size))
    (shown,) = json.loads(witness.split_views())
    assert not shown["is_proven"]
    assert shown["offered"].encode() == FORKED.note(13)
    assert shown["cosigned"].encode() == HONEST.note(9)


def test_a_restart_loses_nothing(witness, tmp_path):
    witness.add_checkpoint(HONEST.request(0, 9))
    again = open_witness(tmp_path / "w1", LOG, KEY)
    assert again.latest(LOG.name) == HONEST.checkpoint(9)
    with pytest.raises(ConflictError):
        again.add_checkpoint(FORKED.request(9, 9))
    again.add_checkpoint(HONEST.request(9, 12))


def test_what_the_disk_did_not_take_is_not_signed(witness, monkeypatch):
    def full(self, name, data):
        raise UnavailableError("the disk is full", advice="Free some.")

    monkeypatch.setattr(KeptFiles, "write", full)
    with pytest.raises(UnavailableError):
        witness.add_checkpoint(HONEST.request(0, 9))
    monkeypatch.undo()
    assert witness.latest(LOG.name) is None
    witness.add_checkpoint(FORKED.request(0, 9))  # nothing was promised to the other


def test_the_memory_is_written_before_the_signature_is_made(witness, tmp_path):
    class Signer:
        """It looks at the disk when it is asked to sign, as a kill at this moment would."""

        public_key = KEY.public_key

        def sign(self, message):
            found = open_witness(tmp_path / "w1", LOG, KEY).latest(LOG.name)
            assert found == HONEST.checkpoint(9)
            return KEY.sign(message)

    witness._signer = Signer()
    witness.add_checkpoint(HONEST.request(0, 9))


def test_a_witness_restarted_with_older_state_refuses_what_shows_it(witness, tmp_path):
    witness.add_checkpoint(HONEST.request(0, 5))
    shutil.copytree(tmp_path / "w1", tmp_path / "backup")
    answer = witness.add_checkpoint(HONEST.request(5, 9))
    shown = cosigned(HONEST, 9, answer).format()

    older = open_witness(tmp_path / "backup", LOG, KEY)
    with pytest.raises(ConflictError) as caught:  # the log says 9, and it remembers 5
        older.add_checkpoint(HONEST.request(9, 12))
    assert caught.value.data["size"] == 5
    body = AddCheckpoint(5, HONEST.proof(5, 9), shown).format()
    with pytest.raises(UnavailableError) as refused:  # then the log shows its own line
        older.add_checkpoint(body)
    assert refused.value.data["problem"] == "outdated"
    again = open_witness(tmp_path / "backup", LOG, KEY)  # and no restart forgets that
    for request in (FORKED.request(5, 9), HONEST.request(5, 9), FORKED.request(0, 9)):
        with pytest.raises(UnavailableError):
            again.add_checkpoint(request)
    witness.add_checkpoint(
        body.replace(b"old 5", b"old 9", 1).partition(b"\n")[0] + b"\n\n" + shown
    )


def test_it_shows_what_it_cosigned_last_signed_anew(witness, tmp_path):
    name = log_name(LOG.name)
    for wrong in (name, "", name.upper()):
        with pytest.raises(NotFoundError):
            witness.latest_note(wrong)
    witness.add_checkpoint(HONEST.request(0, 5))
    body = HONEST.request(5, 9)
    other = CosignerKey("other.example.org", KEY.public_key)
    foreign = cosign(HONEST.checkpoint(9).text, other, KEY.sign, 1)
    witness.add_checkpoint(body + foreign.text.encode())
    witness._clock.advance(60_000)
    note = Note.parse(witness.latest_note(name))
    assert open_checkpoint(note.format(), LOG.name, LOG, verify) == HONEST.checkpoint(9)
    assert cosigned_at(note, witness.key, verify) == witness._clock.now_ms() // 1_000
    assert len(note.signatures) == 2
    with pytest.raises(IntegrityError):
        witness.add_checkpoint(FORKED.request(9, 12))
    assert witness.latest_note(name) == note.format()


def test_requests_at_once_go_one_after_the_other(witness):
    witness.add_checkpoint(HONEST.request(0, 5))
    start = threading.Barrier(8)

    def ask(at):
        history = HONEST if at % 2 else FORKED
        start.wait()
        try:
            return history, witness.add_checkpoint(history.request(5, 6 + at // 2))
        except EnforcerError:
            return None

    with ThreadPoolExecutor(8) as threads:
        answers = [each for each in threads.map(ask, range(8)) if each]
    assert len(answers) == 1  # all came from size 5; who was first has left it
    assert (
        witness.latest(LOG.name).root
        == answers[0][0].checkpoint(witness.latest(LOG.name).size).root
    )


def test_an_unknown_log_is_not_found(witness):
    other = VerifierKey("example.com/other", LOG_KEY.public_key)
    with pytest.raises(NotFoundError):
        witness.add_checkpoint(forked(other, LOG_KEY)[0].request(0, 3))


def test_a_memory_that_is_no_checkpoint_stops_the_start(witness, tmp_path):
    witness.add_checkpoint(HONEST.request(0, 9))
    (file,) = (tmp_path / "w1" / "latest").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(IntegrityError):
        open_witness(tmp_path / "w1", LOG, KEY)


def test_every_witness_has_its_own_key(witness):
    assert isinstance(witness.key, CosignerKey)
    assert witness.key.public_key == KEY.public_key
