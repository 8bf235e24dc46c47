"""Signed notes and vkeys (C2SP signed-note), with real Ed25519 keys."""

from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.note import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Note,
    SignatureLine,
    VerifierKey,
    open_note,
    sign_note,
)
from enforcer.errors import InputError, IntegrityError

KEY = PrivateKey.generate()
VKEY = VerifierKey("example.org/log", KEY.public_key)
OTHER = PrivateKey.generate()
TEXT = "example.org\nfirst line\n\nsecond paragraph, Ünïcode\n"

# The example of golang.org/x/mod/sumdb/note, so that the format is others' and not ours alone.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
).encode()

names = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="+"), min_size=1)
lines = st.text(st.characters(codec="utf-8", min_codepoint=32), max_size=30)
signatures = st.builds(
    SignatureLine,
    names,
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=1, max_size=100),
)


def problem_of(data, key=VKEY):
    with pytest.raises(IntegrityError) as caught:
        open_note(data, key, verify)
    return caught.value.data["problem"]


def test_a_note_that_another_implementation_signed_opens():
    key = VerifierKey.parse(GO_VKEY)
    assert key.text == GO_VKEY
    assert "cryptography is the answer" in open_note(GO_NOTE, key, verify).text


def test_what_was_signed_opens():
    assert open_note(sign_note(TEXT, VKEY, KEY.sign), VKEY, verify).text == TEXT


@given(st.lists(lines, min_size=1), st.lists(signatures, min_size=1, max_size=5))
def test_parsing_and_formatting_gives_the_same_bytes(text_lines, signature_lines):
    note = Note("".join(f"{line}\n" for line in text_lines), tuple(signature_lines))
    assert Note.parse(note.format()) == note


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_that_formats_to_them_or_are_refused(data):
    with suppress(IntegrityError):
        assert Note.parse(data).format() == data


def test_lines_of_unknown_keys_are_kept_and_ignored():
    signed = sign_note(TEXT, VKEY, KEY.sign)
    unknown = SignatureLine("example.org/witness", b"\x01\x02\x03\x04", b"\x04" + bytes(71))
    note = Note.parse(signed)
    both = Note(note.text, (unknown, *note.signatures)).format()
    assert open_note(both, VKEY, verify).signatures == (unknown, *note.signatures)


def test_another_key_is_named():
    signed = sign_note(TEXT, VerifierKey("example.org/else", OTHER.public_key), OTHER.sign)
    assert problem_of(signed) == "other key"


def test_the_same_name_with_another_key_is_another_key():
    signed = sign_note(TEXT, VerifierKey(VKEY.name, OTHER.public_key), OTHER.sign)
    assert problem_of(signed) == "other key"


def test_an_altered_text_is_a_bad_signature():
    signed = sign_note(TEXT, VKEY, KEY.sign)
    assert problem_of(signed.replace(b"first", b"worst")) == "bad signature"


def test_a_signature_of_another_key_under_this_keys_id_is_a_bad_signature():
    forged = sign_note(TEXT, VKEY, OTHER.sign)
    assert problem_of(forged) == "bad signature"


def test_one_good_line_does_not_excuse_a_bad_one():
    note = Note.parse(sign_note(TEXT, VKEY, KEY.sign))
    bad = Note.parse(sign_note(TEXT, VKEY, OTHER.sign))
    for signature_lines in (note.signatures + bad.signatures, bad.signatures + note.signatures):
        assert problem_of(Note(TEXT, signature_lines).format()) == "bad signature"


def test_a_signature_of_the_wrong_length_never_reaches_the_verifier():
    note = Note(TEXT, (SignatureLine(VKEY.name, VKEY.key_id, bytes(63)),)).format()
    with pytest.raises(IntegrityError, match="does not hold"):
        open_note(note, VKEY, lambda *_: True)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not end with an empty line"),
        (b"text\n", "does not end with an empty line"),
        (b"text\n\n", "does not end with an empty line"),
        (b"text\n\n\xe2\x80\x94 name AAAAAAA=", "does not end with an empty line"),
        (b"text\r\n\n\xe2\x80\x94 name AAAAAAA=\n", "control character"),
        (b"t\xff\n\n\xe2\x80\x94 name AAAAAAA=\n", "byte 1 of the note is not UTF-8"),
        (b"text\n\n-- name AAAAAAA=\n", "not a signature line"),
        (b"text\n\n\xe2\x80\x94 na+me AAAAAAA=\n", "not a signature line"),
        (b"text\n\n\xe2\x80\x94  AAAAAAA=\n", "not a signature line"),
        (b"text\n\n\xe2\x80\x94 name\n", "not a signature line"),
        (b"text\n\n\xe2\x80\x94 name AAAAAA==\n", "signature by name is empty"),
        (b"text\n\n\xe2\x80\x94 name AAAAAAB=\n", "not canonical base64"),
        (b"text\n\n\xe2\x80\x94 name AAAA AAAA\n", "not canonical base64"),
        (b"text\n\n" + b"\xe2\x80\x94 name AAAAAAA=\n" * (SIGNATURES_MAX + 1), "101 signatures"),
        (b"a" * NOTE_BYTES_MAX + b"\n", "more than 1000000"),
    ],
)
def test_a_malformed_note_is_refused_with_the_reason(data, why):
    with pytest.raises(IntegrityError, match=why) as caught:
        Note.parse(data)
    assert caught.value.data["problem"] == "malformed"


def test_sixteen_signatures_are_accepted():
    note = Note.parse(sign_note(TEXT, VKEY, KEY.sign))
    others = tuple(SignatureLine(f"w{n}.example.org", bytes(4), bytes(3000)) for n in range(16))
    assert open_note(Note(TEXT, others + note.signatures).format(), VKEY, verify).text == TEXT


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n"])
def test_a_text_that_cannot_stand_in_a_note_is_not_signed(text):
    with pytest.raises(InputError, match="ends with a newline"):
        sign_note(text, VKEY, KEY.sign)


def spelled(material, name=VKEY.name, key_id=None):
    return f"{name}+{key_id or VKEY.key_id.hex()}+{b64encode(material).decode()}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a vkey"),
        ("example.org", "not a vkey"),
        (VKEY.text + "=", "not a vkey"),
        (spelled(b"\x01" + KEY.public_key, key_id="0000"), "not a vkey"),
        (spelled(b"\x01" + KEY.public_key, key_id=VKEY.key_id.hex()[:7] + "_"), "hexadecimal"),
        (spelled(b"\x04" + KEY.public_key), "not of the type 0x01"),
        (spelled(b"\x01" + OTHER.public_key), "says key id"),
        (spelled(b"\x01" + KEY.public_key, name="example.org/else"), "says key id"),
        (spelled(b"\x01" + KEY.public_key[:31]), "32 bytes, not 31"),
        (spelled(b"\x01" + KEY.public_key, name="two words"), "cannot name a key"),
        (spelled(b"\x01" + KEY.public_key, name=""), "cannot name a key"),
    ],
    ids=range(11),  # the keys are new in every process
)
def test_a_bad_vkey_is_refused_with_the_reason(text, why):
    with pytest.raises(InputError, match=why):
        VerifierKey.parse(text)


def test_a_vkey_reads_back():
    assert VerifierKey.parse(VKEY.text) == VKEY
