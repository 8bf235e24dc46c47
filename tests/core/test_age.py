"""Age identities and recipients: the encoding, and which belongs to which."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core import age
from enforcer.errors import InputError

# The keys of the examples in https://pkg.go.dev/filippo.io/age, and one of 32 octets 0x42.
PUBLISHED = {
    "AGE-SECRET-KEY-184JMZMVQH3E6U0PSL869004Y3U2NYV7R30EU99CSEDNPH02YUVFSZW44VU": (
        "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm"
    ),
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX": (
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    ),
}
SECRET, RECIPIENT = next(iter(PUBLISHED.items()))
KEYS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(("secret", "recipient"), PUBLISHED.items())
def test_the_recipient_of_a_published_identity_is_the_published_one(secret, recipient):
    assert age.recipient_of(secret) == recipient


@given(KEYS)
def test_x25519_is_that_of_a_library(scalar):
    public = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
    assert age.x25519_base(scalar) == public


@given(KEYS)
def test_what_is_encoded_is_read_back(octets):
    assert age.decode("age", age.encode("age", octets)) == octets


@given(KEYS, st.integers(4, 61), st.integers(1, 31))
def test_a_changed_character_is_noticed(octets, at, by):
    text = age.encode("age", octets)
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    other = alphabet[(alphabet.index(text[at]) + by) % 32]
    with pytest.raises(InputError, match="no age recipient"):
        age.check_recipient(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "age1", RECIPIENT.upper(), RECIPIENT[:-1], RECIPIENT + "q", "bge" + RECIPIENT[3:], SECRET],
)
def test_what_is_no_recipient_is_refused(text):
    with pytest.raises(InputError):
        age.check_recipient(text)


P = 2**255 - 19
TWINS = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)


@pytest.mark.parametrize("point", [0, 1, P - 1, P, P + 1, *TWINS])
@pytest.mark.parametrize("top_bit", [0, 1 << 255])
def test_a_point_of_low_order_is_no_recipient(point, top_bit):
    octets = (point | top_bit).to_bytes(32, "little")
    own = X25519PrivateKey.generate()
    with pytest.raises(ValueError, match="shared key"):  # nothing is shared with it
        own.exchange(X25519PublicKey.from_public_bytes(octets))
    with pytest.raises(InputError, match="low order"):
        age.check_recipient(age.encode("age", octets))


@pytest.mark.parametrize("text", ["", RECIPIENT, SECRET[:-1], SECRET.lower() + " ", SECRET.title()])
def test_what_is_no_identity_is_refused(text):
    with pytest.raises(InputError, match="no age identity"):
        age.recipient_of(text)
