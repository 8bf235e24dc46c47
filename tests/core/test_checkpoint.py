"""Checkpoints (C2SP tlog-checkpoint): what opens, and each way in which one does not."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from enforcer.core.merkle import EMPTY_ROOT, SIZE_MAX
from enforcer.core.note import VerifierKey, sign_note
from enforcer.errors import InputError, IntegrityError

ORIGIN = "example.org/ledger"
KEY = PrivateKey.generate()
VKEY = VerifierKey(ORIGIN, KEY.public_key)
ROOT = bytes(range(32))
GOOD = Checkpoint(ORIGIN, 20852163, ROOT)
ROOT_TEXT = b64encode(ROOT).decode()


def problem_of(note, origin=ORIGIN, vkey=VKEY):
    with pytest.raises(IntegrityError) as caught:
        open_checkpoint(note, origin, vkey, verify)
    return caught.value.data["problem"]


def test_a_checkpoint_is_three_lines_and_a_signature():
    note = sign_checkpoint(GOOD, VKEY, KEY.sign)
    text = f"{ORIGIN}\n20852163\n{ROOT_TEXT}\n\n— {ORIGIN} "
    assert note.startswith(text.encode())
    assert open_checkpoint(note, ORIGIN, VKEY, verify) == GOOD


@given(st.integers(1, SIZE_MAX), st.binary(min_size=32, max_size=32))
def test_text_reads_back(size, root):
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert Checkpoint.parse(checkpoint.text) == checkpoint


def test_another_origin_is_refused_though_the_key_is_right():
    other = Checkpoint("example.org/other", 5, ROOT)
    note = sign_checkpoint(other, VKEY, KEY.sign)
    assert problem_of(note) == "other origin"


def test_another_key_is_refused_though_the_origin_is_right():
    other = PrivateKey.generate()
    note = sign_checkpoint(GOOD, VerifierKey(ORIGIN, other.public_key), other.sign)
    assert problem_of(note) == "other key"


def test_a_bad_signature_is_refused():
    note = sign_checkpoint(GOOD, VKEY, KEY.sign).replace(b"20852163", b"20852164")
    assert problem_of(note) == "bad signature"


def test_nothing_unsigned_is_believed_not_even_to_complain_about_its_origin():
    other = PrivateKey.generate()
    elsewhere = Checkpoint("example.org/other", 5, ROOT)
    note = sign_checkpoint(elsewhere, VerifierKey(ORIGIN, other.public_key), other.sign)
    assert problem_of(note) == "other key"


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n5\n",
        f"{ORIGIN}\n5\n{ROOT_TEXT}\nextension\n",
        f"\n5\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n05\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-5\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+5\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n5_0\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\u0665\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{SIZE_MAX + 1}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n5\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n5\n{b64encode(ROOT[:31]).decode()}\n",
        f"{ORIGIN}\n0\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n5\n{b64encode(EMPTY_ROOT).decode()}\n",
        "not a checkpoint\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_malformed(text):
    assert problem_of(sign_note(text, VKEY, KEY.sign)) == "malformed"


def test_the_empty_tree_has_a_checkpoint():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert Checkpoint.parse(empty.text) == empty


@pytest.mark.parametrize(
    ("origin", "size", "root", "field"),
    [
        ("", 1, ROOT, "origin"),
        ("two\nlines", 1, ROOT, "origin"),
        (ORIGIN, -1, ROOT, "size"),
        (ORIGIN, SIZE_MAX + 1, ROOT, "size"),
        (ORIGIN, 1, ROOT[:31], "root"),
        (ORIGIN, 0, ROOT, "root"),
    ],
)
def test_an_impossible_checkpoint_cannot_be_made(origin, size, root, field):
    with pytest.raises(InputError) as caught:
        Checkpoint(origin, size, root)
    assert caught.value.data["field"] == field
