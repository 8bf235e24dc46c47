"""The PROXY protocol, version 2, as the HAProxy project's proxy-protocol.txt §2.2 has it."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native import probe_net

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LOCAL, PROXY = 0x20, 0x21
CLIENT4, SERVER4 = ("192.0.2.7", 40_000), ("192.0.2.53", 53)
CLIENT6, SERVER6 = ("2001:db8::7", 40_000), ("2001:db8::53", 853)
QUERY = b"\x12\x34\x01\x00" + bytes(30)


def header(body: bytes = b"", *, command: int = PROXY, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def places(client: tuple[str, int], server: tuple[str, int]) -> bytes:
    packed = b"".join(ip_address(address).packed for address, _ in (client, server))
    return packed + struct.pack("!HH", client[1], server[1])


def test_who_a_proxy_speaks_for_is_read():
    for family in (0x11, 0x12):  # a TLS client may be told of in a datagram
        wire = header(places(CLIENT4, SERVER4), family=family)
        assert probe_net.read_proxy(wire + QUERY) == ("PROXY", CLIENT4, SERVER4, 28)
    for family in (0x21, 0x22):
        wire = header(places(CLIENT6, SERVER6), family=family)
        assert probe_net.read_proxy(wire + QUERY) == ("PROXY", CLIENT6, SERVER6, 52)


def test_a_mapped_client_is_an_ipv4_client():
    wire = header(places(("::ffff:192.0.2.7", 1), SERVER6), family=0x21)
    assert probe_net.read_proxy(wire)[:3] == ("PROXY", ("192.0.2.7", 1), SERVER6)


def test_extensions_are_skipped_whatever_they_are():
    extensions = b"\x02\x00\x0bexample.org" + b"\xe0\xff\xff"
    wire = header(places(CLIENT4, SERVER4) + extensions)
    assert probe_net.read_proxy(wire + QUERY) == ("PROXY", CLIENT4, SERVER4, len(wire))


def test_a_proxy_that_speaks_for_itself_is_local():
    for wire in (
        header(command=LOCAL, family=0x00),
        header(places(CLIENT4, SERVER4), command=LOCAL, family=0x11),
        header(command=LOCAL, family=0xFF),  # the receiver must ignore the family
        header(family=0x00),
        header(b"\x03\x00\x04abcd", family=0x00),
        header(bytes(216), family=0x31),
        header(bytes(220), family=0x32),
    ):
        assert probe_net.read_proxy(wire + QUERY) == ("LOCAL", None, None, len(wire))


@pytest.mark.parametrize(
    "wire",
    [
        header(places(CLIENT4, SERVER4), command=0x11),  # a version that this is not
        header(places(CLIENT4, SERVER4), command=0x31),
        header(places(CLIENT4, SERVER4), command=0x22),
        header(places(CLIENT4, SERVER4), family=0x10),
        header(places(CLIENT4, SERVER4), family=0x13),
        header(places(CLIENT4, SERVER4), family=0x41),
        header(places(CLIENT4, SERVER4), family=0x01),
        header(places(CLIENT4, SERVER4)[:-1]),
        header(places(CLIENT6, SERVER6)[:-1], family=0x21),
        header(bytes(215), family=0x31),
        header(places(CLIENT4, SERVER4) + bytes(probe_net.HEADER_OCTETS_MAX - 27)),
    ],
)
def test_a_header_that_breaks_the_standard_is_bad(wire):
    assert probe_net.read_proxy(wire + QUERY) == ("BAD", None, None, 0)


def test_the_longest_header_is_read():
    wire = header(places(CLIENT4, SERVER4) + bytes(probe_net.HEADER_OCTETS_MAX - 28))
    assert probe_net.read_proxy(wire)[0] == "PROXY"


def test_every_beginning_of_a_header_is_partial():
    wire = header(places(CLIENT6, SERVER6) + b"\x04\x00\x01x", family=0x21)
    for length in range(len(wire)):
        assert probe_net.read_proxy(wire[:length]) == ("PARTIAL", None, None, 0)
    assert probe_net.read_proxy(wire)[0] == "PROXY"


def test_a_query_is_no_header():
    assert probe_net.read_proxy(QUERY) == ("NONE", None, None, 0)
    assert probe_net.read_proxy(SIGNATURE[:-1] + b"\x0b" + QUERY) == ("NONE", None, None, 0)
    assert probe_net.read_proxy(b"PROXY TCP4 192.0.2.7 192.0.2.53 1 2\r\n")[0] == "NONE"


@given(st.binary(max_size=80), st.integers(0, 255), st.integers(0, 255))
def test_no_octets_are_read_that_are_not_there(body, command, family):
    for wire in (header(body, command=command, family=family), SIGNATURE + body, body):
        for length in range(len(wire) + 1):
            proxied, client, local, octets = probe_net.read_proxy(wire[:length])
            assert octets <= length
            assert (client is not None) == (local is not None) == (proxied == "PROXY")
            assert (octets > 0) == (proxied in ("PROXY", "LOCAL"))


@given(
    st.ip_addresses(), st.ip_addresses(), st.integers(0, 65_535), st.integers(0, 65_535),
    st.booleans(),
)  # fmt: skip
def test_what_is_written_is_read_back(one, other, port, other_port, is_stream):
    client, local = (str(one), port), (str(other), other_port)
    wire = probe_net.write_proxy(client, local, is_stream)
    proxied, read_client, read_local, octets = probe_net.read_proxy(wire + QUERY)
    assert (proxied, octets) == ("PROXY", len(wire))
    for given_place, read_place in ((client, read_client), (local, read_local)):
        address = ip_address(given_place[0])
        seen = getattr(address, "ipv4_mapped", None) or address
        assert read_place == (str(seen), given_place[1])


def test_what_is_written_is_the_standards_header_octet_for_octet():
    four, six = places(CLIENT4, SERVER4), places(CLIENT6, SERVER6)
    assert probe_net.write_proxy(CLIENT4, SERVER4, False) == header(four, family=0x12)
    assert probe_net.write_proxy(CLIENT6, SERVER6, True) == header(six, family=0x21)
    mixed = places(("::ffff:192.0.2.7", 40_000), SERVER6)
    assert probe_net.write_proxy(CLIENT4, SERVER6, True) == header(mixed, family=0x21)


def test_where_nobody_is_known_the_gate_speaks_for_itself():
    for client, local in ((None, SERVER4), (CLIENT4, None), (None, None)):
        wire = probe_net.write_proxy(client, local, False)
        assert wire == header(command=LOCAL, family=0x00)
