"""What a flow shows of whether packets pass."""

from ipaddress import ip_address

import pytest

from enforcer.core.flow import Flow, Passage, address_octets, address_of, passage
from tests.flows import pack

SYN, RST, PSH, ACK, FIN = 2, 4, 8, 16, 1
TCP, UDP = 6, 17
FLAGS, DENIED, EGRESS, BACK = 1, 2, 8, 16


def flow(**values):
    return Flow.at(pack("192.0.2.1", "198.51.100.7", 1, **values), 0)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"tcp_flags": SYN | ACK}, Passage.THROUGH),
        ({"tcp_flags": ACK | PSH}, Passage.THROUGH),
        ({"tcp_flags": ACK | PSH | RST}, Passage.THROUGH),
        ({"tcp_flags": RST | ACK}, Passage.STOPPED),
        ({"tcp_flags": RST}, Passage.STOPPED),
        ({"tcp_flags": SYN}, Passage.ATTEMPT),
        ({"tcp_flags": FIN}, Passage.UNPROVEN),
        ({"tcp_flags": ACK, "octets": 0}, Passage.ATTEMPT),
        ({"tcp_flags": SYN | ACK, "marks": FLAGS | DENIED}, Passage.STOPPED),
        ({"tcp_flags": 0, "marks": 0}, Passage.UNPROVEN),
        ({"protocol": UDP, "tcp_flags": 0}, Passage.UNPROVEN),
        ({"protocol": UDP, "tcp_flags": 0, "marks": EGRESS}, Passage.THROUGH),
        ({"protocol": UDP, "octets_back": 5, "marks": BACK}, Passage.THROUGH),
        ({"protocol": UDP, "octets_back": 0, "marks": BACK}, Passage.UNPROVEN),
    ],
)
def test_flows_from_a_blocked_address(values, shown):
    assert passage(flow(**values), is_from_target=True) is shown


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"tcp_flags": SYN}, Passage.ATTEMPT),
        ({"tcp_flags": SYN | ACK | PSH}, Passage.THROUGH),
        ({"tcp_flags": ACK | PSH}, Passage.ATTEMPT),  # he may go on sending what nobody gets
        ({"tcp_flags": SYN | ACK, "marks": DENIED | FLAGS}, Passage.STOPPED),
        ({"protocol": UDP, "tcp_flags": 0}, Passage.ATTEMPT),
        ({"octets_back": 60, "tcp_flags_back": RST | ACK, "marks": BACK}, Passage.STOPPED),
        ({"octets_back": 900, "tcp_flags_back": ACK, "marks": BACK}, Passage.THROUGH),
    ],
)
def test_flows_to_a_blocked_address(values, shown):
    assert passage(flow(**values), is_from_target=False) is shown


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1"])
def test_addresses_come_back_from_their_octets(text):
    assert str(address_of(address_octets(ip_address(text)))) == text


def test_a_flow_packs_as_the_decoder_does():
    packed = pack("192.0.2.1", "2001:db8::7", 5, octets_back=3)
    assert Flow.at(packed, 0).pack() == packed
