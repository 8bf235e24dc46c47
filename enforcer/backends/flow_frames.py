"""Frames of captures: what IP packet is in one, and what it shows of a flow.

Ethernet with VLAN tags and PPPoE, Linux cooked, loopback and raw frames; IPv4 and IPv6 with their
extension headers. A later fragment has no ports. Reads headers only, and the payload of UDP and
TCP for whoever looks for DNS or exports in it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINKS_RAW: Final = frozenset((12, 14, 101, 228, 229))
LINK_LOOP: Final = 108
LINK_COOKED: Final = 113
LINK_COOKED2: Final = 276

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPES_TAG: Final = frozenset((0x8100, 0x88A8, 0x9100))
ETHERTYPE_PPPOE: Final = 0x8864
TAGS_MAX: Final = 8

PROTOCOL_TCP: Final = 6
PROTOCOL_UDP: Final = 17
_V6_OPTIONS: Final = frozenset((0, 43, 60))
_V6_FRAGMENT: Final = 44
_V6_AUTHENTICATION: Final = 51
_EXTENSIONS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet; `payload` is what is there of TCP's or UDP's."""

    source: bytes
    """16 octets, IPv4 mapped."""
    target: bytes
    protocol: int
    octets: int
    """Of the whole IP packet, as its header says."""
    source_port: int = 0
    target_port: int = 0
    tcp_flags: int | None = None
    payload: bytes = b""


def packet_of(frame: bytes, link: int) -> Packet | None:
    """Return the IP packet in a frame of link type `link`; None if there is none, or it is cut.

    Link types are those of https://www.tcpdump.org/linktypes.html.
    """
    try:
        found = _network(frame, link)
        if found is None:
            return None
        kind, at = found
        if kind == ETHERTYPE_IPV4:
            return _ipv4(frame, at)
        return _ipv6(frame, at) if kind == ETHERTYPE_IPV6 else None
    except (struct.error, IndexError):
        return None


def knows(link: int) -> bool:
    """Tell whether frames of a link type can be read."""
    known = (LINK_NULL, LINK_ETHERNET, LINK_LOOP, LINK_COOKED, LINK_COOKED2)
    return link in known or link in LINKS_RAW


def _network(frame: bytes, link: int) -> tuple[int, int] | None:
    """Return the EtherType of what a frame carries, and where that begins."""
    if link == LINK_ETHERNET:
        return _untagged(frame, struct.unpack_from("!H", frame, 12)[0], 14)
    if link == LINK_COOKED:
        return _untagged(frame, struct.unpack_from("!H", frame, 14)[0], 16)
    if link == LINK_COOKED2:
        return _untagged(frame, struct.unpack_from("!H", frame)[0], 20)
    at = 4 if link in (LINK_NULL, LINK_LOOP) else 0
    return {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}.get(frame[at] >> 4, 0), at


def _untagged(frame: bytes, kind: int, at: int) -> tuple[int, int] | None:
    for _ in range(TAGS_MAX):
        if kind in ETHERTYPES_TAG:
            (kind,) = struct.unpack_from("!H", frame, at + 2)
            at += 4
        elif kind == ETHERTYPE_PPPOE:
            (inside,) = struct.unpack_from("!H", frame, at + 6)
            return {0x0021: ETHERTYPE_IPV4, 0x0057: ETHERTYPE_IPV6}.get(inside, 0), at + 8
        else:
            return kind, at
    return None


def _ipv4(frame: bytes, at: int) -> Packet | None:
    version, total, fragment, protocol = struct.unpack_from("!BxHxxHxB", frame, at)
    header = (version & 0x0F) * 4
    if version >> 4 != 4 or header < 20 or len(frame) < at + header:
        return None
    octets = total or len(frame) - at  # 0: the sender's network card was to fill it in
    mapped = bytes(10) + b"\xff\xff"
    ends = mapped + frame[at + 12 : at + 16], mapped + frame[at + 16 : at + 20]
    rest = frame[at + header : at + octets]
    return _transport(*ends, protocol, octets, rest, is_first=not fragment & 0x1FFF)


def _ipv6(frame: bytes, at: int) -> Packet | None:
    version, length, protocol = struct.unpack_from("!BxxxHB", frame, at)
    if version >> 4 != 6 or len(frame) < at + 40:
        return None
    octets = 40 + length if length else len(frame) - at
    ends = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    stop, here, is_first = at + octets, at + 40, True
    for _ in range(_EXTENSIONS_MAX):
        if protocol in _V6_OPTIONS:
            size = 8 + 8 * frame[here + 1]
        elif protocol == _V6_FRAGMENT:
            size = 8
            is_first = not struct.unpack_from("!H", frame, here + 2)[0] & 0xFFF8
        elif protocol == _V6_AUTHENTICATION:
            size = 8 + 4 * frame[here + 1]
        else:
            break
        protocol = frame[here]
        here += size
    return _transport(*ends, protocol, octets, frame[here:stop], is_first=is_first)


def _transport(
    source: bytes, target: bytes, protocol: int, octets: int, rest: bytes, *, is_first: bool
) -> Packet:
    if is_first and protocol == PROTOCOL_TCP and len(rest) >= 20:
        source_port, target_port, offset, flags = struct.unpack_from("!HH8xBB", rest)
        payload = rest[(offset >> 4) * 4 :]
        return Packet(source, target, protocol, octets, source_port, target_port, flags, payload)
    if is_first and protocol == PROTOCOL_UDP and len(rest) >= 8:
        source_port, target_port = struct.unpack_from("!HH", rest)
        return Packet(source, target, protocol, octets, source_port, target_port, None, rest[8:])
    return Packet(source, target, protocol, octets)
