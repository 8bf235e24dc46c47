"""DSSE: what is signed, and the one spelling of an envelope."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.backends.keys import PrivateKey, verify
from enforcer.core.envelope import (
    Envelope,
    Signature,
    format_envelope,
    key_id,
    pae,
    parse_envelope,
    sign,
)
from enforcer.errors import InputError

KEY = PrivateKey.generate()


def test_the_signed_bytes_are_those_of_the_dsse_document():
    # The example of protocol.md.
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_key_id_is_the_hash_of_the_raw_key():
    assert key_id(bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"


@given(st.binary(max_size=300), st.text("abc/+.-", min_size=1, max_size=40))
def test_an_envelope_reads_back_the_same(payload, payload_type):
    if not payload:
        payload = b"{}"
    envelope = sign(payload_type, payload, [(KEY.key_id, KEY.sign)])
    again = parse_envelope(format_envelope(envelope))
    assert again == envelope
    assert verify(KEY.public_key, again.message, again.signatures[0].octets)


def test_neither_payload_nor_type_can_change_under_a_signature():
    envelope = sign("application/x", b"{}", [(KEY.key_id, KEY.sign)])
    octets = envelope.signatures[0].octets
    for other in (Envelope("application/y", b"{}", ()), Envelope("application/x", b"{ }", ())):
        assert not verify(KEY.public_key, other.message, octets)


GOOD = format_envelope(sign("application/x", b"{}", [(KEY.key_id, KEY.sign)]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b'"payload":"e30="', b'"payload":"e30"'),
        lambda data: data.replace(b'"payload":"e30="', b'"payload":"e31="'),
        lambda data: data.replace(b'"payload":"e30="', b'"payload":"e30=\\n"'),
        lambda data: data.replace(b",", b", "),
        lambda data: data + b"\n",
        lambda data: data.replace(b'"payloadType"', b'"payload_type"'),
        lambda data: data.replace(b'"sig":"', b'"sig":"AAAA'),
        lambda data: json.dumps(json.loads(data), sort_keys=True).encode(),
        lambda data: b"",
    ],
)
def test_another_spelling_is_refused(spoil):
    spoilt = spoil(GOOD)
    assert spoilt != GOOD
    with pytest.raises(InputError):
        parse_envelope(spoilt)


def test_one_key_cannot_sign_twice_and_somebody_must_sign():
    twice = Envelope("application/x", b"{}", (Signature("0" * 64, bytes(64)),) * 2)
    with pytest.raises(InputError, match="names a key twice"):
        parse_envelope(format_envelope(twice))
    with pytest.raises(InputError):
        parse_envelope(format_envelope(Envelope("application/x", b"{}", ())))


def test_the_order_of_signatures_is_not_free():
    other = PrivateKey.generate()
    envelope = sign("application/x", b"{}", [(KEY.key_id, KEY.sign), (other.key_id, other.sign)])
    assert parse_envelope(format_envelope(envelope)) == envelope
    turned = Envelope("application/x", b"{}", envelope.signatures[::-1])
    with pytest.raises(InputError, match="ascending order"):
        parse_envelope(format_envelope(turned))


def test_a_payload_that_would_not_fit_an_entry_is_refused():
    envelope = sign("application/x", b"x" * 45_001, [(KEY.key_id, KEY.sign)])
    with pytest.raises(InputError, match="over 45000"):
        parse_envelope(format_envelope(envelope))
