"""Addresses as the kernel gives them, and who is in a set of prefixes."""

import ipaddress
import socket
import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native import probe_net

FAMILY4, FAMILY6 = 4, 6
NETWORKS = st.builds(
    lambda address, bits: ip_network((address, bits % (address.max_prefixlen + 1)), strict=False),
    st.ip_addresses(),
    st.integers(0, 128),
)


def sockaddr4(address: str, port: int) -> bytes:
    packed = socket.inet_aton(address)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + packed + bytes(8)


def sockaddr6(address: str, port: int, *, flow: int = 0, scope: int = 0) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, address)
    front = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, flow)
    return front + packed + struct.pack("=I", scope)


def allowed(*networks: str) -> probe_net.AccessSet:
    return probe_net.AccessSet([ip_network(each) for each in networks])


def test_an_ipv4_address_comes_from_the_kernel_and_goes_back_to_it():
    wire = sockaddr4("192.0.2.7", 5300)
    assert probe_net.through_kernel(wire) == (("192.0.2.7", 5300), 0, wire)


def test_an_ipv6_address_keeps_its_interface_and_loses_its_flow():
    wire = sockaddr6("fe80::1", 53, flow=0x12345, scope=3)
    kept = sockaddr6("fe80::1", 53, scope=3)
    assert probe_net.through_kernel(wire) == (("fe80::1", 53), 3, kept)


def test_a_mapped_address_is_an_ipv4_address():
    wire = sockaddr6("::ffff:192.0.2.7", 53, scope=3)
    place = ("192.0.2.7", 53)
    assert probe_net.through_kernel(wire) == (place, 0, sockaddr4("192.0.2.7", 53))


@pytest.mark.parametrize("address", ["::ff00:c000:207", "::ff:c000:207", "1::ffff:c000:207"])
def test_what_is_not_quite_mapped_stays_an_ipv6_address(address):
    wire = sockaddr6(address, 53)
    assert probe_net.through_kernel(wire) == ((str(ip_address(address)), 53), 0, wire)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\2",
        struct.pack("=H", socket.AF_UNIX) + bytes(26),
        sockaddr4("192.0.2.7", 53)[:15],
        sockaddr6("2001:db8::1", 53)[:27],
        bytes(28),
    ],
)
def test_what_is_no_address_of_the_internet_is_nobodys(wire):
    assert probe_net.through_kernel(wire) == (None, 0, b"")


def test_an_empty_set_serves_nobody():
    nobody = allowed()
    assert not any(nobody.allows(each) for each in ("127.0.0.1", "::1", "0.0.0.0", "::", None))


def test_an_address_of_no_family_is_in_no_set():
    assert not allowed("0.0.0.0/0", "::/0").allows(None)


def test_a_prefix_holds_its_first_and_last_address_and_no_other():
    set4, set6 = allowed("192.0.2.64/26"), allowed("2001:db8:8000::/33")
    for address, is_in in [
        ("192.0.2.63", False), ("192.0.2.64", True), ("192.0.2.127", True), ("192.0.2.128", False),
    ]:  # fmt: skip
        assert set4.allows(address) == is_in
    for address, is_in in [
        ("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", False), ("2001:db8:8000::", True),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", True), ("2001:db9::", False),
    ]:  # fmt: skip
        assert set6.allows(address) == is_in


def test_everything_of_one_family_is_nothing_of_the_other():
    assert not allowed("0.0.0.0/0").allows("::1")
    assert not allowed("::/0").allows("127.0.0.1")
    assert not allowed("::/0").allows("::ffff:127.0.0.1")
    assert allowed("0.0.0.0/0").allows("::ffff:127.0.0.1")


def test_prefixes_that_lie_in_one_another_become_one():
    joined = allowed("10.1.0.0/16", "10.0.0.0/8", "10.255.255.255/32", "10.0.0.0/8", "fd00::/8")
    assert len(joined) == 2
    assert joined.allows("10.200.0.1")


@given(st.lists(NETWORKS, max_size=40), st.lists(st.ip_addresses(), max_size=10))
def test_a_set_answers_as_looking_at_every_prefix_does(networks, addresses):
    sealed = probe_net.AccessSet(networks)
    edges = [each[0] for each in networks] + [each[-1] for each in networks]
    beside = [
        type(each)(number)
        for each in edges
        for number in (int(each) - 1, int(each) + 1)
        if 0 <= number < 1 << each.max_prefixlen
    ]
    for address in [*addresses, *edges, *beside]:
        seen = getattr(address, "ipv4_mapped", None) or address
        assert sealed.allows(str(address)) == any(seen in network for network in networks)


def test_a_set_is_full_at_its_bound_and_works_there():
    many = [ip_network((number << 12, 24)) for number in range(probe_net.PREFIXES_MAX)]
    full = probe_net.AccessSet(many)
    assert all(full.allows(str(network[255])) for network in many)
    assert not any(full.allows(str(network[255] + 1)) for network in many)
    with pytest.raises(ValueError, match="not taken"):
        probe_net.AccessSet([*many, ip_network("192.0.2.0/24")])


@pytest.mark.parametrize(
    ("family", "address", "bits"),
    [
        (0, "::", 0),
        (5, "::", 0),
        (FAMILY4, "::", 33),
        (FAMILY6, "::", 129),
        (FAMILY4, "c000:0201::", 24),
        (FAMILY6, "2001:db8::1", 127),
        (FAMILY6, "2001:db8:0:1::", 63),
    ],
)
def test_a_malformed_prefix_is_not_taken(family, address, bits):
    assert not probe_net.takes_prefix(family, ip_address(address).packed, bits)


def test_a_set_that_is_not_sealed_serves_nobody():
    everybody = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    for address in ("127.0.0.1", "::1"):
        assert not probe_net.AccessSet(everybody, is_sealed=False).allows(address)


def test_a_sealed_set_takes_no_more():
    packed = ipaddress.ip_address("::").packed
    assert probe_net.takes_prefix(FAMILY6, packed, 0)
    assert not probe_net.takes_prefix(FAMILY6, packed, 0, is_sealed=True)
