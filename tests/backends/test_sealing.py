"""Sealed lists and wraps: who opens what, and what is said of everything else."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import pytest

from enforcer.backends import sealing
from enforcer.core import age
from enforcer.errors import InputError, IntegrityError, UnavailableError
from tests.backends import age_reader

SALT = bytes(range(sealing.SALT_OCTETS))
LIST = SALT + b"exact marker.example.org\n"
LONG = SALT + b"exact marker.example.org\n" * 9_000  # four chunks


@pytest.fixture
def identity() -> tuple[str, str]:
    return sealing.new_identity()


@pytest.mark.parametrize("plaintext", [b"", LIST, LONG, bytes(1 << 16)])
def test_who_has_the_key_opens_what_was_sealed(identity, plaintext):
    secret, recipient = identity
    assert sealing.open_sealed(sealing.seal(plaintext, recipient), secret) == plaintext


@pytest.mark.parametrize("plaintext", [LIST, LONG, bytes(1 << 16)])
def test_another_reader_of_age_files_opens_it_too(identity, plaintext):
    secret, recipient = identity
    assert age_reader.read(sealing.seal(plaintext, recipient), secret) == plaintext


def test_a_wrap_is_an_age_file_too(identity):
    secret, recipient = identity
    list_secret, _ = sealing.new_identity()
    assert age_reader.read(sealing.wrap(list_secret, recipient), secret).decode() == list_secret


def test_sealing_twice_never_gives_the_same(identity):
    assert sealing.seal(LIST, identity[1]) != sealing.seal(LIST, identity[1])


def test_what_was_sealed_does_not_show(identity):
    _, recipient = identity
    sealed = sealing.seal(LIST, recipient)
    assert b"marker" not in sealed
    assert SALT not in sealed
    assert recipient.encode() not in sealed


def test_the_secret_of_an_identity_gives_its_recipient(identity):
    secret, recipient = identity
    assert sealing.recipient_of(secret) == recipient
    sealing.check_recipient(recipient)


def test_another_key_opens_nothing(identity):
    other, _ = sealing.new_identity()
    with pytest.raises(IntegrityError, match="cannot open a sealed list"):
        sealing.open_sealed(sealing.seal(LIST, identity[1]), other)


def test_no_octet_can_be_changed(identity):
    secret, recipient = identity
    sealed = sealing.seal(LIST, recipient)
    for at in range(0, len(sealed), 7):
        altered = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(IntegrityError):
            sealing.open_sealed(altered, secret)


@pytest.mark.parametrize("kept", [0, 1, 20, 100, 300, -70_000, -65_552, -17, -16, -1])
def test_what_was_cut_is_refused(identity, kept):
    secret, recipient = identity
    with pytest.raises(IntegrityError):
        sealing.open_sealed(sealing.seal(LONG, recipient)[:kept], secret)


def test_what_is_appended_is_refused(identity):
    secret, recipient = identity
    with pytest.raises(IntegrityError):
        sealing.open_sealed(sealing.seal(LIST, recipient) + b"\n", secret)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 4096,
        b"exact marker.example.org\n",
        b"age-encryption.org/v1\n",
        b"age-encryption.org/v2\n-> X25519 AAAA\n\n--- AAAA\n",
        b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 40\n" + b"A" * 43 + b"\n--- AA\n",
    ],
)
def test_garbage_is_refused_at_once(identity, garbage):
    with pytest.raises(IntegrityError):
        sealing.open_sealed(garbage, identity[0])
    with pytest.raises(IntegrityError):
        sealing.unwrap(garbage, identity[0])


def test_no_error_says_anything_of_what_was_sealed(identity):
    secret, recipient = identity
    sealed = sealing.seal(LONG, recipient)
    with pytest.raises(IntegrityError) as caught:
        sealing.open_sealed(sealed[:-1], secret)
    said = f"{caught.value.diagnostics()} {caught.value.data} {caught.value.__cause__}"
    assert "marker" not in said
    assert secret not in said


def test_what_is_over_the_bound_is_neither_sealed_nor_read(identity, monkeypatch):
    secret, recipient = identity
    sealed = sealing.seal(LONG, recipient)
    monkeypatch.setattr(sealing, "PLAINTEXT_BYTES_MAX", len(LONG) - 1)
    monkeypatch.setattr(sealing, "SEALED_BYTES_MAX", len(sealed) - 1)
    with pytest.raises(InputError, match="to be sealed, over"):
        sealing.seal(LONG, recipient)
    with pytest.raises(IntegrityError, match="bytes, over"):
        sealing.open_sealed(sealed, secret)


def test_the_longest_list_fits_sealed():
    chunks = sealing.PLAINTEXT_BYTES_MAX // (1 << 16) + 1
    overhead = len(sealing.seal(b"", sealing.new_identity()[1]))
    assert sealing.PLAINTEXT_BYTES_MAX + 16 * chunks + overhead <= sealing.SEALED_BYTES_MAX


def test_a_full_disk_is_not_the_authors_fault(identity):
    class Full(BytesIO):
        def write(self, _octets):
            raise OSError(28, "No space left on device")

    secret, recipient = identity
    with pytest.raises(UnavailableError, match="No space left"):
        sealing.open_sealed_into(BytesIO(sealing.seal(LIST, recipient)), Full(), secret)


def test_a_wrap_is_for_one_receiver(identity):
    secret, recipient = identity
    list_secret, _ = sealing.new_identity()
    document = sealing.wrap(list_secret, recipient)
    assert sealing.unwrap(document, secret) == list_secret
    assert len(document) < sealing.WRAP_BYTES_MAX // 4
    with pytest.raises(IntegrityError, match="cannot open a wrap"):
        sealing.unwrap(document, list_secret)


def test_no_octet_of_a_wrap_can_be_changed_or_cut(identity):
    secret, recipient = identity
    document = sealing.wrap(sealing.new_identity()[0], recipient)
    for at in range(len(document)):
        altered = document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]
        for wrong in (altered, document[:at]):
            with pytest.raises(IntegrityError):
                sealing.unwrap(wrong, secret)


@pytest.mark.parametrize("content", [b"", b"AGE-SECRET-KEY-1", b"\xff", b"x" * 3_000, None])
def test_a_wrap_of_anything_else_is_refused(identity, content):
    secret, recipient = identity
    if content is None:
        content = f"{sealing.new_identity()[0]}\n".encode()
    with pytest.raises(IntegrityError, match="it holds no list identity"):
        sealing.unwrap(sealing.seal(content, recipient), secret)


def test_a_long_wrap_is_not_read(identity):
    with pytest.raises(IntegrityError, match="over 4096"):
        sealing.unwrap(sealing.seal(LONG, identity[1]), identity[0])


@pytest.mark.parametrize("text", ["", "AGE-SECRET-KEY-1", "age1", "\xe9", "a\0b"])
def test_what_is_no_key_is_refused(identity, text):
    secret, recipient = identity
    for call in (
        lambda: sealing.recipient_of(text),
        lambda: sealing.open_sealed(b"", text),
        lambda: sealing.wrap(text, recipient),
        lambda: sealing.wrap(secret, text),
        lambda: sealing.unwrap(b"", text),
        lambda: sealing.seal(b"", text),
        lambda: sealing.check_recipient(text),
    ):
        with pytest.raises(InputError):
            call()


def test_a_key_has_one_spelling(identity):
    secret, recipient = identity
    with pytest.raises(InputError):
        sealing.recipient_of(secret.lower())
    for other in (recipient.upper(), f" {recipient}", secret):
        with pytest.raises(InputError):
            sealing.check_recipient(other)


def headed(stanzas: list[bytes]) -> bytes:
    mac = b64encode(bytes(32)).rstrip(b"=")
    return b"age-encryption.org/v1\n" + b"".join(stanzas) + b"\n--- " + mac + b"\n" + bytes(64)


@pytest.mark.parametrize(
    "bomb",
    [
        headed([b"-> grease %d\n\n" % number for number in range(60_000)]),
        headed([b"-> grease\n", *[b"A" * 64 + b"\n"] * 16_000]),
        headed([b"-> " + b"a" * 1_000_000 + b"\n"]),
    ],
    ids=["many stanzas", "a long one", "a long line"],
)
def test_a_header_without_end_is_not_read_on(identity, bomb, monkeypatch):
    def never(*_):
        raise AssertionError("it was given to the library")

    monkeypatch.setattr(sealing, "decrypt_io", never)
    with pytest.raises(IntegrityError, match="its header is over 4096 octets"):
        sealing.open_sealed(bomb, identity[0])
    with pytest.raises(IntegrityError):
        sealing.unwrap(bomb[:4_096], identity[0])
    assert not sealing.is_for(bomb, identity[0])


def test_the_beginning_of_a_sealed_list_tells_whom_it_is_for(identity):
    secret, recipient = identity
    other, _ = sealing.new_identity()
    for text in (LIST, LONG):
        head = sealing.seal(text, recipient)[: sealing.HEADER_BYTES_MAX]
        assert sealing.is_for(head, secret)
        assert not sealing.is_for(head, other)
    assert not sealing.is_for(b"", secret)


def test_nothing_is_sealed_for_a_point_of_low_order(identity):
    recipient = age.encode("age", bytes(32))
    for call in (
        lambda: sealing.check_recipient(recipient),
        lambda: sealing.seal(LIST, recipient),
        lambda: sealing.wrap(identity[0], recipient),
    ):
        with pytest.raises(InputError, match="low order"):
            call()


def test_a_panic_of_the_library_is_an_input_error(identity, monkeypatch):
    monkeypatch.setattr(age, "check_recipient", lambda _text: None)
    recipient = age.encode("age", bytes(32))
    with pytest.raises(InputError, match="nothing can be sealed"):
        sealing.seal(LIST, recipient)
    with pytest.raises(InputError, match="nothing can be sealed"):
        sealing.wrap(identity[0], recipient)


def test_no_salt_is_the_beginning_of_a_list():
    drawn = [sealing.new_salt() for _ in range(200)]
    assert all(len(each) == 32 and each[0] >= 0x80 and sealing.has_salt(each) for each in drawn)
    assert len({each[0] for each in drawn}) > 32
    assert not any(map(sealing.has_salt, (b"", b"\xff" * 31, bytes(32), b"\x7f" + b"\xff" * 31)))
