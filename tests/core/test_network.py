"""Addresses and prefixes have one spelling, and never say more than they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.network import parse_address, parse_network
from enforcer.errors import InputError


@given(st.ip_addresses())
def test_canonical_spelling_is_read_back_as_itself(address):
    if address.version == 6 and address.ipv4_mapped is not None:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        " 192.0.2.1",
        "192.0.2.1\n",
        "example.org",
        "1",
        "2001:DB8::1",
        "2001:db8:0:0:0:0:0:1",
        "2001:db8::0:1",
        "::ffff:192.0.2.1",
        "fe80::1%eth0",
        "192.0.2.1/32",
        "[2001:db8::1]",
        "::ffff:c000:201",
    ],
)
def test_no_other_spelling_of_an_address_is_taken(text: str):
    with pytest.raises(InputError):
        parse_address(text)


@pytest.mark.parametrize("text", ["192.0.2.0/24", "10.0.0.0/16", "192.0.2.0/31", "2001:db8::/32"])
def test_prefixes_are_read(text: str):
    assert str(parse_network(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("192.0.2.1/24", "is written '192.0.2.0/24'"),
        ("192.0.2.0", "no prefix length"),
        ("192.0.2.0/", "no IP prefix"),
        ("192.0.2.0/33", "no IP prefix"),
        ("192.0.2.0/255.255.255.0", "is written '192.0.2.0/24'"),
        ("192.0.2.0/0.0.0.255", "is written"),
        ("192.0.2.0/024", "is written|no IP prefix"),
        ("0.0.0.0/0", "shorter than /16"),
        ("::/0", "shorter than /32"),
        ("192.0.2.1/32", "write it as 'ip'"),
        ("2001:db8::1/128", "write it as 'ip'"),
        ("2001:DB8::/32", "is written '2001:db8::/32'"),
        ("::ffff:192.0.2.0/120", "inside IPv6"),
        ("fe80::%eth0/64", "."),
    ],
)
def test_a_prefix_that_is_wider_or_spelt_otherwise_is_refused(text: str, words: str):
    with pytest.raises(InputError, match=words):
        parse_network(text)
