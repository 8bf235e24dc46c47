"""Cosignatures: made and verified, counted by distinct named witnesses, and nothing else counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.core.cosignature import (
    CosignerKey,
    Witnesses,
    cosign,
    cosigned_at,
    cosigned_message,
    with_lines,
)
from enforcer.core.merkle import leaf_hash
from enforcer.core.note import Note, SignatureLine, VerifierKey, open_note
from enforcer.errors import InputError, IntegrityError

LOG = PrivateKey.generate()
LOG_KEY = VerifierKey("example.org/ledger", LOG.public_key)
CHECKPOINT = Checkpoint("example.org/ledger", 1, leaf_hash(b"one"))
NOTE = Note.parse(sign_checkpoint(CHECKPOINT, LOG_KEY, LOG.sign))
KEYS = [PrivateKey.generate() for _ in range(3)]
COSIGNERS = tuple(
    CosignerKey(f"witness.example.org/w{at}", key.public_key) for at, key in enumerate(KEYS)
)


def line(at, t_seconds=1_790_000_000, text=CHECKPOINT.text):
    return cosign(text, COSIGNERS[at], KEYS[at].sign, t_seconds)


def test_a_cosignature_says_who_saw_the_checkpoint_and_when():
    note = Note.parse(with_lines(NOTE, [line(0)]).format())
    assert cosigned_at(note, COSIGNERS[0], verify) == 1_790_000_000
    assert cosigned_at(note, COSIGNERS[1], verify) is None
    open_note(note.format(), LOG_KEY, verify)  # the log's own signature is untouched


def test_what_is_signed_is_what_the_document_shows():
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert cosigned_message(text, 1679315147) == (
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    example = SignatureLine.parse(
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlr"
        "DJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    assert int.from_bytes(example.signature[:8], "big") == 1679315147
    assert len(example.signature) == 72


def test_a_cosigner_and_a_signer_of_one_key_are_two_keys():
    cosigner = CosignerKey("example.org/both", KEYS[0].public_key)
    signer = VerifierKey("example.org/both", KEYS[0].public_key)
    assert cosigner.key_id != signer.key_id
    assert CosignerKey.parse(cosigner.text) == cosigner
    with pytest.raises(InputError, match="0x04"):
        CosignerKey.parse(signer.text)
    with pytest.raises(InputError, match="0x01"):
        VerifierKey.parse(cosigner.text)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: replace(made, signature=bytes(8) + made.signature[8:]),
        lambda made: replace(made, signature=made.signature[:-1]),
        lambda made: replace(made, signature=made.signature[:-1] + bytes([made.signature[-1] ^ 1])),
        lambda made: replace(made, signature=b"\xff" * 8 + made.signature[8:]),
    ],
)
def test_an_altered_cosignature_of_a_named_witness_spoils_the_note(change):
    note = with_lines(NOTE, [line(1), change(line(0))])
    with pytest.raises(IntegrityError) as caught:
        Witnesses(COSIGNERS, 2).has_quorum(note, verify)
    assert caught.value.data["problem"] == "bad signature"


def test_a_cosignature_of_another_checkpoint_does_not_hold():
    other = replace(CHECKPOINT, root=leaf_hash(b"two"))
    with pytest.raises(IntegrityError):
        cosigned_at(with_lines(NOTE, [line(0, text=other.text)]), COSIGNERS[0], verify)


def test_lines_of_strangers_are_kept_and_count_for_nothing():
    note = with_lines(NOTE, [line(0), line(1), line(2)])
    only_two = Witnesses(COSIGNERS[:2], 2)
    assert set(only_two.cosigned(note, verify)) == set(COSIGNERS[:2])
    assert len(note.signatures) == 4
    assert not Witnesses(COSIGNERS, 2).has_quorum(with_lines(NOTE, [line(2)]), verify)


def test_a_witness_counts_once_however_often_it_signs():
    twice = with_lines(NOTE, [line(0, 5), line(0, 9)])
    assert len(twice.signatures) == 2  # the log's, and the newer one
    by_hand = replace(NOTE, signatures=(*NOTE.signatures, line(0, 9), line(0, 5)))
    assert cosigned_at(by_hand, COSIGNERS[0], verify) == 9
    assert not Witnesses(COSIGNERS, 2).has_quorum(by_hand, verify)


def test_without_a_quorum_every_note_has_it():
    assert Witnesses().has_quorum(NOTE, verify)
    assert Witnesses(COSIGNERS, 0).has_quorum(NOTE, verify)


@pytest.mark.parametrize(
    ("keys", "quorum", "words"),
    [
        (COSIGNERS, 1, "more than half"),
        (COSIGNERS[:2], 1, "more than half"),
        (COSIGNERS, 4, "above the number"),
        (COSIGNERS, -1, "above the number"),
        ((COSIGNERS[0], COSIGNERS[0]), 2, "twice"),
        ((COSIGNERS[0], CosignerKey("other", COSIGNERS[0].public_key)), 2, "key stands twice"),
        ((COSIGNERS[0], CosignerKey(COSIGNERS[0].name, KEYS[1].public_key)), 2, "name stands"),
    ],
)
def test_a_quorum_that_two_histories_could_have_is_refused(keys, quorum, words):
    with pytest.raises(ValueError, match=words):
        Witnesses(keys, quorum)
