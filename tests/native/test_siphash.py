"""SipHash-2-4-128 against the reference implementation's vectors."""

from pathlib import Path

import pytest

from enforcer._native.probe import siphash128

VECTORS = Path(__file__).parent.parent / "vectors" / "siphash" / "siphash-2-4-128.txt"
KEY = bytes(range(16))


def test_the_reference_vectors_of_every_length_to_63_come_out():
    expected = VECTORS.read_text().split()
    assert len(expected) == 64
    assert [siphash128(KEY, bytes(range(size))).hex() for size in range(64)] == expected


def test_the_key_matters_in_every_octet():
    digests = {siphash128(KEY, b"label")}
    digests |= {siphash128(KEY[:at] + b"\xff" + KEY[at + 1 :], b"label") for at in range(16)}
    assert len(digests) == 17


def test_zero_octets_at_the_end_change_the_digest():
    assert len({siphash128(KEY, bytes(size)) for size in range(64)}) == 64


def test_a_key_of_another_size_is_refused():
    with pytest.raises(ValueError, match="16 octets"):
        siphash128(b"short", b"")
