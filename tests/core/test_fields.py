"""Strict JSON against its schema: what is refused, and which field the error names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core import fields, key, order, payload, policy
from enforcer.core.key import Category
from enforcer.core.order import OrderProposed
from enforcer.errors import InputError
from tests.people import Land

ORDER = Land().order()
TEXT = fields.dump(ORDER)


def read(data: bytes) -> OrderProposed:
    return fields.read(OrderProposed, fields.load(data, "order"), "order")


def test_what_is_written_reads_back_the_same():
    assert read(TEXT) == ORDER


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (b'"version":1', b'"version":1.0', ""),
        (b'"version":1', b'"version":1e0', ""),
        (b'"version":1', b'"version":NaN', ""),
        (b'"version":1', b'"version":true', "version"),
        (b'"version":1', b'"version":"1"', "version"),
        (b'"version":1', b'"version":0', "version"),
        (b'"version":1', b'"version":99999999999999999999', "version"),
        (b'"version":1', b'"version":1,"version":1', ""),
        (b'"version":1', b'"version":1,"wildcard":1', "wildcard"),
        (b'"version":1,', b"", "version"),
        (b'"PHISHING"', b'"UNSPECIFIED"', "category"),
        (b'"PHISHING"', b'"OPINION"', "category"),
        (b'"PHISHING"', b"1", "category"),
        (b'"dns":"NEGATIVE"', b'"dns":"POISON"', "measure.dns"),
        (b'"provision":"Art. 16"', b'"provision":""', "legal_basis[0].provision"),
        (b'"provision":"Art. 16"', b'"provision":"a\\u0000b"', "legal_basis[0].provision"),
        (b'"provision":"Art. 16"', b'"provision":"\\ud800"', "legal_basis[0].provision"),
        (b'"territory":"VN"', b'"territory":"vn"', "territory"),
        (
            b'"order_id":"VN-2027-',
            b'"order_id":"VN-\xef\xbc\x92\xef\xbc\x90\xef\xbc\x92\xef\xbc\x97-',
            "order_id",
        ),
        (
            b'"provision":"Art. 16"',
            b'"provision":"Art.\xe2\x80\xae 61"',
            "legal_basis[0].provision",
        ),
        (b'"provision":"Art. 16"', b'"provision":"Art.\xe2\x80\x8b16"', "legal_basis[0].provision"),
        (b'"evidence_sha256":[]', b'"evidence_sha256":{}', "evidence_sha256"),
        (
            b'"notifications":[]',
            b'"notifications":' + b'["x"' + b',"x"' * 16 + b"]",
            "notifications",
        ),
        (b'"appeal":{', b'"appeal":[{', ""),
    ],
)
def test_what_is_not_exactly_the_schema_is_refused_and_named(old, new, field):
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        read(TEXT.replace(old, new, 1))
    assert caught.value.data.get("field", "") == field
    assert caught.value.advice


def test_an_expiry_cannot_be_left_out():
    with pytest.raises(InputError, match="'expires_at_ms' is missing"):
        read(TEXT.replace(b'"expires_at_ms":%d,' % ORDER.expires_at_ms, b"", 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1} x',
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b'{"a":"' + b"x" * 70_000 + b'"}',
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_strict_json_object_is_an_input_error(data):
    with pytest.raises(InputError):
        fields.read(OrderProposed, fields.load(data, "order"), "order")


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(data):
    with pytest.raises(InputError):
        read(data)


def test_no_pattern_of_a_schema_means_more_than_ascii():
    """A digit of another script would be a second spelling of the same id."""
    for module in (key, order, payload, policy, fields):
        text = Path(module.__file__).read_text()
        assert not re.search(r"\\[dwsDWS]", text), module.__name__


def test_every_category_has_a_name_and_zero_is_none_of_them():
    assert Category(0).name == "UNSPECIFIED"
    assert len(Category) == 8
