"""One flow of packets, and what it shows of a block: nothing, an attempt, or that it leaks.

A flow that an exporter tells of was seen, not let through: it may have been dropped behind the
exporter. Proof that packets got through is what only the other end can have caused: an answer
inside an established TCP connection, or octets of the way back. Decides nothing about targets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address
from typing import Final

from enforcer.core.network import Address, plain_address

FORMAT: Final = "<16s16sQQQQQQIHHBBBB4x"
"""A packed flow, as `_native/flows.pyi` describes it."""
FLOW_OCTETS: Final = struct.calcsize(FORMAT)

PROTOCOL_TCP: Final = 6

TCP_FIN: Final = 0x01
TCP_SYN: Final = 0x02
TCP_RST: Final = 0x04
TCP_ACK: Final = 0x10

MARK_TCP_FLAGS: Final = 1
MARK_DENIED: Final = 2
MARK_TIMED: Final = 4
MARK_EGRESS: Final = 8
MARK_BACK: Final = 16


class Passage(IntEnum):
    """What a flow shows of whether packets pass."""

    UNSPECIFIED = 0
    ATTEMPT = 1
    """Somebody tried; nothing shows that anything came back."""
    STOPPED = 2
    """The exporter says that it dropped it, or it was reset at once."""
    THROUGH = 3
    """Both ends have been heard."""
    UNPROVEN = 4
    """The other end sends, and nothing shows that anybody got it or asked for it."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow; times are Unix time in milliseconds."""

    source: bytes
    """16 octets, IPv4 mapped; zeros for none."""
    target: bytes
    first_ms: int
    last_ms: int
    octets: int
    packets: int
    octets_back: int
    packets_back: int
    sampling: int
    """One packet of so many was looked at."""
    source_port: int
    target_port: int
    protocol: int
    tcp_flags: int
    tcp_flags_back: int
    marks: int

    @classmethod
    def at(cls, packed: bytes, number: int) -> Flow:
        """Unpack one of a run of packed flows."""
        return cls(*struct.unpack_from(FORMAT, packed, number * FLOW_OCTETS))

    def pack(self) -> bytes:
        """Return it as exporters' flows come from the decoder."""
        return struct.pack(
            FORMAT,
            self.source,
            self.target,
            self.first_ms,
            self.last_ms,
            self.octets,
            self.packets,
            self.octets_back,
            self.packets_back,
            self.sampling,
            self.source_port,
            self.target_port,
            self.protocol,
            self.tcp_flags,
            self.tcp_flags_back,
            self.marks,
        )


def address_octets(address: Address) -> bytes:
    """Return an address as 16 octets, IPv4 mapped (RFC 4291 §2.5.5.2)."""
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def address_of(octets: bytes) -> Address:
    """Return the address of 16 octets."""
    return plain_address(IPv6Address(octets))


def passage(flow: Flow, *, is_from_target: bool) -> Passage:
    """Tell what a flow from (else to) a blocked address shows."""
    if flow.marks & MARK_DENIED:
        return Passage.STOPPED
    if flow.marks & MARK_BACK and flow.octets_back and flow.octets:
        is_reset = _is_only_reset(flow.tcp_flags_back) or _is_only_reset(flow.tcp_flags)
        return Passage.STOPPED if is_reset else Passage.THROUGH
    has_flags = flow.protocol == PROTOCOL_TCP and bool(flow.marks & MARK_TCP_FLAGS)
    if not is_from_target:
        # Nobody acknowledges in the flow that he begins unless he was answered.
        both = TCP_SYN | TCP_ACK
        is_answered = has_flags and flow.tcp_flags & both == both and flow.octets > 0
        return Passage.THROUGH if is_answered else Passage.ATTEMPT
    if flow.octets == 0:
        return Passage.ATTEMPT
    if has_flags and _is_only_reset(flow.tcp_flags):
        return Passage.STOPPED
    if has_flags and flow.tcp_flags & TCP_ACK:
        return Passage.THROUGH
    if has_flags and flow.tcp_flags & TCP_SYN:
        return Passage.ATTEMPT
    return Passage.THROUGH if flow.marks & MARK_EGRESS else Passage.UNPROVEN


def _is_only_reset(flags: int) -> bool:
    return bool(flags & TCP_RST) and not flags & ~(TCP_RST | TCP_ACK)
