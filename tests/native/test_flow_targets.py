"""Which lists a flow's ends are in, against ipaddress."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native.flow_targets import SOURCE, TARGET, FlowTargets
from tests.flows import octets_of, pack


def built(*texts):
    index = FlowTargets()
    for owner, text in enumerate(texts):
        index.add(owner, text)
    return index


def test_every_list_that_an_end_is_in_is_told_with_its_prefix():
    index = built(
        b"ip 192.0.2.1\nnet 192.0.2.0/24\nsubtree example.org\n",
        b"ip 192.0.2.1\n",
        b"net 2001:db8::/32\n",
    )
    assert len(index) == 4
    flows = pack("192.0.2.1", "2001:db8:5::1", 1) + pack("203.0.113.9", "192.0.2.2", 1)
    assert index.match(flows) == [
        (0, SOURCE, 0, 128), (0, SOURCE, 1, 128), (0, SOURCE, 0, 120), (0, TARGET, 2, 32),
        (1, TARGET, 0, 120),
    ]  # fmt: skip


def test_no_address_is_in_no_list():
    index = built(b"net 2001:db8::/32\n")
    assert index.find(bytes(16)) == []
    assert built().find(octets_of("192.0.2.1")) == []
    assert built(b"exact example.org\n").match(pack("192.0.2.1", "192.0.2.2", 1)) == []


def test_what_is_no_whole_flow_or_address_is_refused():
    index = built()
    with pytest.raises(ValueError, match="whole number"):
        index.match(bytes(95))
    with pytest.raises(ValueError, match="16 octets"):
        index.find(bytes(4))
    index.find(bytes(16))
    with pytest.raises(ValueError, match="before the first lookup"):
        index.add(1, b"ip 192.0.2.1\n")


ADDRESSES = st.builds(
    lambda host, is_v6: str(
        IPv6Address((0x20010DB8 << 96) | host) if is_v6 else IPv4Address((10 << 24) | host)
    ),
    st.integers(0, 15),
    st.booleans(),
)
LENGTHS = st.integers(0, 5)


@st.composite
def networks(draw):
    address, wider = draw(ADDRESSES), draw(LENGTHS)
    length = (128 if ":" in address else 32) - wider
    return ip_network(f"{address}/{length}", strict=False)


def line_of(network):
    if network.prefixlen == network.max_prefixlen:
        return f"ip {network.network_address}\n"
    return f"net {network}\n"


@given(st.lists(st.sets(networks(), max_size=6), max_size=4), ADDRESSES)
def test_it_finds_what_ipaddress_finds(lists, address):
    texts = ["".join(sorted(map(line_of, nets))).encode() for nets in lists]
    wanted = sorted(
        (owner, net.prefixlen + (96 if net.version == 4 else 0))
        for owner, nets in enumerate(lists)
        for net in nets
        if address in [str(one) for one in net]
    )
    found = built(*texts).find(octets_of(address))
    assert sorted(found) == wanted
    assert [length for _, length in found] == sorted((length for _, length in found), reverse=True)
