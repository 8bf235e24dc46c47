"""DNS messages made octet by octet, so that tests can write what no library would."""

from __future__ import annotations

import struct

from enforcer.core.name import Name

ROOT_OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
DO_OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0x8000, 0)
QNAME = b"\xc0\x0c"
ROOT = b"\0"
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT, DS, RRSIG, NSEC, SVCB, HTTPS, ANY = (
    1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 43, 46, 47, 64, 65, 255,
)  # fmt: skip


def name(text: str) -> bytes:
    return Name.from_text(text).wire


def record(owner: bytes, rrtype: int, rdata: bytes, *, ttl: int = 300, rrclass: int = 1) -> bytes:
    return owner + struct.pack("!HHIH", rrtype, rrclass, ttl, len(rdata)) + rdata


def soa(owner: bytes = QNAME, *, ttl: int = 900, minimum: int = 60) -> bytes:
    numbers = struct.pack("!5I", 1, 2, 3, 4, minimum)
    return record(owner, SOA, b"\2ns" + QNAME + b"\4host" + QNAME + numbers, ttl=ttl)


def response(
    *sections: list[bytes],
    qname: str = "www.example.org",
    qtype: int = A,
    qclass: int = 1,
    flags: int = 0x8180,
    counts: tuple[int, int, int] | None = None,
) -> bytes:
    """Return a response with these records in its answer, authority and additional sections."""
    parts = [*sections, *[[]] * (3 - len(sections))]
    header = struct.pack("!6H", 0x1234, flags, 1, *(counts or [len(part) for part in parts]))
    question = name(qname) + struct.pack("!HH", qtype, qclass)
    return header + question + b"".join(record for part in parts for record in part)


def query(
    qname: str = "www.example.org",
    qtype: int = A,
    qclass: int = 1,
    *,
    opt: bytes | None = ROOT_OPT,
) -> bytes:
    """Return a client's query, with `opt` as its OPT record."""
    header = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, opt is not None)
    return header + name(qname) + struct.pack("!HH", qtype, qclass) + (opt or b"")


def svcb(owner: bytes, target: bytes, *params: tuple[int, bytes], priority: int = 1) -> bytes:
    """Return an HTTPS record; `params` stand as they are given, sorted or not."""
    rdata = struct.pack("!H", priority) + target
    for key, value in params:
        rdata += struct.pack("!HH", key, len(value)) + value
    return record(owner, HTTPS, rdata)


def chain(*names: str) -> list[bytes]:
    """Return the CNAME records that lead from the qname along `names`."""
    owners = [QNAME, *map(name, names)]
    return [
        record(owner, CNAME, name(target)) for owner, target in zip(owners, names, strict=False)
    ]
