"""Flow exports made by hand, and a slow and obvious reader of what comes out."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

FORMAT = "<16s16sQQQQQQIHHBBBB4x"
FLOW_OCTETS = struct.calcsize(FORMAT)
SENT_S = 1_800_000_000
UPTIME_MS = 5_000_000
VARIABLE = 0xFFFF

# Fields by their names in the IANA registry.
OCTETS, PACKETS, PROTOCOL, TCP_FLAGS, SOURCE_PORT, SOURCE4, TARGET_PORT, TARGET4 = (
    1, 2, 4, 6, 7, 8, 11, 12,
)  # fmt: skip
LAST_UP, FIRST_UP, SOURCE6, TARGET6, SAMPLING, DIRECTION = 21, 22, 27, 28, 34, 61
FORWARDING, FIRST_MS, LAST_MS, USER_NAME = 89, 152, 153, 371
PLAIN = ((SOURCE4, 4), (TARGET4, 4), (SOURCE_PORT, 2), (TARGET_PORT, 2), (PROTOCOL, 1),
         (TCP_FLAGS, 1), (OCTETS, 4), (PACKETS, 4), (FIRST_UP, 4), (LAST_UP, 4))  # fmt: skip


@dataclass(frozen=True)
class Flow:
    source: str | None
    target: str | None
    first_ms: int
    last_ms: int
    octets: int
    packets: int
    octets_back: int
    packets_back: int
    sampling: int
    source_port: int
    target_port: int
    protocol: int
    tcp_flags: int
    tcp_flags_back: int
    marks: int


def text(octets: bytes) -> str | None:
    if not any(octets):
        return None
    address = IPv6Address(octets)
    return str(address.ipv4_mapped or address)


def octets_of(address: str) -> bytes:
    parsed = ip_address(address)
    return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed


def read(packed: bytes) -> list[Flow]:
    return [Flow(text(a), text(b), *rest) for a, b, *rest in struct.iter_unpack(FORMAT, packed)]


def pack(source: str, target: str, first_ms: int, last_ms: int | None = None, **values) -> bytes:
    """Return one packed flow; what is not named is that of a small TCP connection."""
    got = {
        "octets": 1000, "packets": 5, "octets_back": 0, "packets_back": 0, "sampling": 1,
        "source_port": 40_000, "target_port": 443, "protocol": 6, "tcp_flags": 0x1B,
        "tcp_flags_back": 0, "marks": 5, **values,
    }  # fmt: skip
    end_ms = first_ms if last_ms is None else last_ms
    return struct.pack(
        FORMAT, octets_of(source), octets_of(target), first_ms, end_ms, *got.values()
    )


def decode_all(decoder, data: bytes, exporter: bytes = b"one") -> list[Flow]:
    """Read a run of messages."""
    flows, at = [], 0
    while at < len(data):
        packed, octets = decoder.decode(data[at:], exporter)
        flows += read(packed)
        at += octets
    return flows


def flow_set(number: int, body: bytes) -> bytes:
    return struct.pack("!HH", number, len(body) + 4) + body


def template(number: int, fields) -> bytes:
    """Return a template's record; a field's third item is its enterprise number."""
    wire = struct.pack("!HH", number, len(fields))
    for kind, octets, *enterprise in fields:
        wire += struct.pack("!HH", kind | (0x8000 if enterprise else 0), octets)
        wire += struct.pack("!I", *enterprise) if enterprise else b""
    return wire


def v9(*sets: bytes, sequence: int = 1, domain: int = 7, sent_s: int = SENT_S) -> bytes:
    head = struct.pack("!HHIIII", 9, len(sets), UPTIME_MS, sent_s, sequence, domain)
    return head + b"".join(sets)


def ipfix(*sets: bytes, sequence: int = 1, domain: int = 7, sent_s: int = SENT_S) -> bytes:
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), sent_s, sequence, domain) + body


def v5(*records: bytes, sequence: int = 1, sampling: int = 0) -> bytes:
    head = struct.pack(
        "!HHIIIIBBH", 5, len(records), UPTIME_MS, SENT_S, 0, sequence, 0, 0, sampling
    )
    return head + b"".join(records)


def v5_record(source: str, target: str, *, octets=1000, packets=5, ago_ms=1000) -> bytes:
    at = UPTIME_MS - ago_ms
    return struct.pack(
        "!4s4sIHHIIIIHHBBBBHHBBH", IPv4Address(source).packed, IPv4Address(target).packed, 0, 1, 2,
        packets, octets, at, at, 40_000, 443, 0, 0x1B, 6, 0, 0, 0, 24, 24, 0,
    )  # fmt: skip


def plain_record(
    source: str = "192.0.2.1", target: str = "198.51.100.7", *, octets: int = 1000,
    flags: int = 0x1B, ago_ms: int = 1000, protocol: int = 6,
) -> bytes:  # fmt: skip
    """Return a record of the PLAIN template."""
    addresses = IPv4Address(source).packed + IPv4Address(target).packed
    numbers = (40_000, 443, protocol, flags, octets, 5, UPTIME_MS - ago_ms, UPTIME_MS)
    return addresses + struct.pack("!HHBBIIII", *numbers)
