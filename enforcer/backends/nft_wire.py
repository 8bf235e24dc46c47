"""Messages of nfnetlink and their attributes (linux/netfilter/nf_tables.h), made and read.

For what is few: tables, chains, rules, sets, counters. Elements come packed from
``_native.nft_elements``. Reading gives an attribute's type and its octets, and believes no length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

NFPROTO_INET: Final = 1
NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4

BATCH_BEGIN: Final = 0x10
BATCH_END: Final = 0x11
_BATCH_GENID: Final = 1
_SUBSYSTEM: Final = 10  # NFNL_SUBSYS_NFTABLES

_NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF


class Verb(IntEnum):
    """Message types of nf_tables that are used here, with their subsystem."""

    NEW_TABLE = 0xA00
    GET_TABLE = 0xA01
    DELETE_TABLE = 0xA02
    NEW_CHAIN = 0xA03
    GET_CHAIN = 0xA04
    NEW_RULE = 0xA06
    GET_RULE = 0xA07
    NEW_SET = 0xA09
    GET_SET = 0xA0A
    NEW_ELEMENTS = 0xA0C
    GET_ELEMENTS = 0xA0D
    DELETE_ELEMENTS = 0xA0E
    NEW_GENERATION = 0xA0F
    GET_GENERATION = 0xA10
    NEW_COUNTER = 0xA12
    GET_COUNTER = 0xA13
    DELETE_COUNTER = 0xA14


@dataclass(frozen=True, slots=True)
class Message:
    """One message as read: its type and flags, and what follows the nfgenmsg header."""

    type: int
    flags: int
    body: bytes


def attr(kind: int, data: bytes) -> bytes:
    """Return one attribute, aligned."""
    size = 4 + len(data)
    return struct.pack("=HH", size, kind) + data + bytes(-size % 4)


def nest(kind: int, *attrs: bytes) -> bytes:
    """Return an attribute of attributes."""
    return attr(kind | _NESTED, b"".join(attrs))


def u32(kind: int, value: int) -> bytes:
    """Return a number as nf_tables has them, in network order."""
    return attr(kind, struct.pack(">I", value & 0xFFFFFFFF))


def u64(kind: int, value: int) -> bytes:
    """Return a number of eight octets in network order."""
    return attr(kind, struct.pack(">Q", value))


def text(kind: int, value: str) -> bytes:
    """Return a string with its final zero."""
    return attr(kind, value.encode() + b"\0")


def message(verb: int, flags: int, number: int, *attrs: bytes, family: int = NFPROTO_INET) -> bytes:
    """Return one message."""
    body = struct.pack("=BBH", family, 0, 0) + b"".join(attrs)
    return struct.pack("=IHHII", 16 + len(body), verb, flags | NLM_F_REQUEST, number, 0) + body


def batch_edge(kind: int, number: int, generation: int = 0) -> bytes:
    """Return what begins or ends a transaction, valid for one generation; 0: for any."""
    attrs = u32(_BATCH_GENID, generation) if generation else b""
    body = struct.pack(">BBH", 0, 0, _SUBSYSTEM) + attrs
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST, number, 0) + body


def messages(octets: bytes) -> Iterator[Message]:
    """Yield the messages of a datagram; what is cut off is not one.

    The body of a NLMSG_ERROR or NLMSG_DONE begins with the error number.
    """
    at = 0
    while at + 16 <= len(octets):
        size, kind, flags = struct.unpack_from("=IHH", octets, at)
        if size < 16 or at + size > len(octets):
            return
        skip = 16 if kind < 0x10 else 20
        yield Message(kind, flags, octets[at + skip : at + size])
        at += (size + 3) & ~3


def error_number(body: bytes) -> int:
    """Return the errno in a NLMSG_ERROR or NLMSG_DONE; 0: it is well."""
    return -int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0


def attrs(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each whole attribute."""
    at = 0
    while at + 4 <= len(octets):
        size, kind = struct.unpack_from("=HH", octets, at)
        if size < 4 or at + size > len(octets):
            return
        yield kind & _TYPE_MASK, octets[at + 4 : at + size]
        at += (size + 3) & ~3


def fields(octets: bytes) -> dict[int, bytes]:
    """Return the attributes by type; of several of one type the last."""
    return dict(attrs(octets))


def number_of(octets: bytes | None) -> int:
    """Read a number in network order; 0 where there is none."""
    return int.from_bytes(octets or b"", "big")


def text_of(octets: bytes | None) -> str:
    """Read a string."""
    return (octets or b"").rstrip(b"\0").decode("latin-1")
