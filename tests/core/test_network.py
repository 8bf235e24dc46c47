"""Addresses and prefixes have one spelling, and never say more than they mean."""

from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.network import (
    embedded_ipv4,
    network_around,
    parse_address,
    parse_network,
    plain_address,
)
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


# RFC 6052 §2.4, table 2
@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
    ],
)
def test_the_ipv4_address_behind_a_dns64_prefix_is_found(prefix: str, address: str):
    assert embedded_ipv4(IPv6Address(address), IPv6Network(prefix)) == ip_address("192.0.2.33")
    assert embedded_ipv4(IPv6Address("2001:db9::1"), IPv6Network(prefix)) is None


def test_an_ipv4_address_is_behind_no_dns64_prefix():
    assert embedded_ipv4(ip_address("192.0.2.33"), IPv6Network("64:ff9b::/96")) is None


def test_an_ipv4_mapped_address_is_plainly_the_ipv4_one():
    assert plain_address(ip_address("::ffff:192.0.2.1")) == ip_address("192.0.2.1")
    for text in ("192.0.2.1", "2001:db8::1", "::192.0.2.1"):
        assert plain_address(ip_address(text)) == ip_address(text)


def test_the_prefix_around_an_address_has_no_host_bits():
    assert network_around(ip_address("192.0.2.7"), 30) == ip_network("192.0.2.4/30")
    assert network_around(ip_address("2001:db8::7"), 128) == ip_network("2001:db8::7/128")
