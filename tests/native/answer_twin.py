"""The cache and its answers again, slow and plain: a dictionary without a bound, and octets."""

from __future__ import annotations

import struct
from dataclasses import dataclass

DAY, THREE_HOURS = 86_400, 10_800
SOA, OPT = 6, 41
IN = 1


@dataclass(frozen=True)
class Record:
    type: int
    section: int
    ttl: int
    ttl_at: int
    rdata: bytes
    rdata_at: int


@dataclass(frozen=True)
class Message:
    """A well-formed message taken apart; what stands from the OPT on is not in `octets`."""

    octets: bytes
    flags: int
    rcode: int
    question: bytes
    records: list[Record]
    additionals_at: int
    errors: bytes
    opt: Record | None

    @classmethod
    def read(cls, wire: bytes) -> Message:
        _, flags, _, *counts = struct.unpack_from("!6H", wire)
        at = name_end(wire, 12) + 4
        question, records, opt, end, additionals_at = wire[12:at], [], None, None, at
        for section, count in enumerate(counts):
            if section == 2:
                additionals_at = at
            for _ in range(count):
                start, at = at, name_end(wire, at)
                kind, _, ttl, size = struct.unpack_from("!HHIH", wire, at)
                rdata_at, at = at + 10, at + 10 + size
                record = Record(kind, section, ttl, rdata_at - 6, wire[rdata_at:at], rdata_at)
                if kind == OPT:
                    opt, end = record, start
                elif opt is None:
                    records.append(record)
        if flags & 0x0200:  # nobody knows what of it is there
            opt = None
        rcode = flags & 15 | ((opt.ttl >> 24) << 4 if opt else 0)
        errors = b"".join(
            data for data in (options(opt.rdata) if opt else []) if data[:2] == b"\0\x0f"
        )
        octets = wire[: len(wire) if end is None else end]
        if flags & 0x0200 or rcode not in (0, 3):
            records, octets, additionals_at = [], octets[: 12 + len(question)], 12 + len(question)
        counts = [sum(record.section == number for record in records) for number in range(3)]
        octets = octets[:6] + struct.pack("!3H", *counts) + octets[12:]
        return cls(octets, flags, rcode, question, records, additionals_at, errors, opt)

    def seconds(self) -> int:
        """Return how long it may be kept: the least of every TTL, and of what RFC 2308 says."""
        qtype, qclass = struct.unpack("!2H", self.question[-4:])
        answers = [record for record in self.records if record.section == 0]
        soas = [record for record in self.records if (record.type, record.section) == (SOA, 1)]
        if self.flags & 0x0200 or qclass != IN or 128 <= qtype <= 255:
            return 0
        if self.rcode == 2:
            return 5
        if self.rcode not in (0, 3):
            return 0
        ttls = [0 if record.ttl >> 31 else record.ttl for record in self.records]
        ttls += [struct.unpack("!I", soa.rdata[-4:])[0] for soa in soas]
        if self.rcode == 0 and any(record.type == qtype for record in answers):
            return min([DAY, *ttls])
        return min([THREE_HOURS, *ttls]) if soas else 0


@dataclass(frozen=True)
class Asked:
    """A well-formed query taken apart."""

    id: int
    flags: int
    question: bytes
    opt: Record | None

    @classmethod
    def read(cls, wire: bytes) -> Asked:
        message = Message.read(wire)
        return cls(struct.unpack_from("!H", wire)[0], message.flags, message.question, message.opt)

    @property
    def dnssec_ok(self) -> bool:
        return self.opt is not None and bool(self.opt.ttl & 0x8000)

    @property
    def key(self) -> tuple[bytes, bytes, bool, bool]:
        name, rest = self.question[:-4], self.question[-4:]
        return name.lower(), rest, self.dnssec_ok, bool(self.flags & 0x0010)


class CacheTwin:
    """Keeps every answer for ever."""

    def __init__(self) -> None:
        self.answers: dict[object, tuple[Message, int, int]] = {}
        self.errors: dict[object, tuple[Message, int, int]] = {}

    def put(self, query: bytes, response: bytes, now_ms: int) -> bool:
        message = Message.read(response)
        seconds = message.seconds()
        if seconds == 0 or len(message.octets) > 8192:
            return False
        kept = self.errors if message.rcode == 2 else self.answers
        kept[Asked.read(query).key] = (message, now_ms, seconds)
        return True

    def answer(self, query: bytes, now_ms: int, room: int) -> bytes | None:
        key = Asked.read(query).key
        for kept in (self.answers, self.errors):
            if key in kept:
                message, stored_ms, seconds = kept[key]
                left_ms = seconds * 1000 - (now_ms - stored_ms)
                if left_ms > 0:
                    return answer(Asked.read(query), message, max(1, left_ms // 1000), room)
        return None


def relay(query: bytes, response: bytes, room: int) -> bytes:
    """Return what a client that asked `query` gets of an upstream's `response`."""
    message = Message.read(response)
    return answer(Asked.read(query), message, message.seconds() or None, room)


def answer(asked: Asked, message: Message, ttl: int | None, room: int) -> bytes:
    """Return the answer with this TTL on every record, or with each as it came."""
    rcode = message.rcode
    if asked.opt is None and rcode > 15:
        rcode = 2
    flags = 0x8080 | asked.flags & 0x0110 | rcode & 15
    if message.flags & 0x0020 and (asked.dnssec_ok or asked.flags & 0x0020):
        flags |= 0x0020
    octets = bytearray(message.octets)
    octets[12 : 12 + len(asked.question)] = asked.question
    for record in message.records:
        if ttl is not None:
            struct.pack_into("!I", octets, record.ttl_at, ttl)
    counts = list(struct.unpack_from("!3H", octets, 6))

    def opt(errors: bytes) -> bytes:
        if asked.opt is None:
            return b""
        ttl = (rcode >> 4) << 24 | asked.dnssec_ok << 15
        return b"\0" + struct.pack("!HHIH", OPT, 1232, ttl, len(errors)) + errors

    def whole(body: bytes, flags: int, counts: list[int], opt: bytes) -> bytes:
        shown = [counts[0], counts[1], counts[2] + bool(opt)]
        return struct.pack("!3H3H", asked.id, flags, 1, *shown) + body + opt

    without = [*counts[:2], 0]
    body, short = bytes(octets[12:]), bytes(octets[12 : message.additionals_at])
    cut = whole(asked.question, flags & ~0x0020 | 0x0200, [0, 0, 0], opt(b""))
    ways = [
        whole(body, flags, counts, opt(message.errors)),
        whole(body, flags, counts, opt(b"")),
        whole(short, flags, without, opt(b"")),
    ]
    if message.flags & 0x0200:
        return cut
    for way in ways:
        if len(way) <= room:
            return way
    return cut


def options(rdata: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(rdata):
        end = at + 4 + struct.unpack_from("!H", rdata, at + 2)[0]
        found.append(rdata[at:end])
        at = end
    return found


def name_end(wire: bytes, at: int) -> int:
    while wire[at]:
        if wire[at] >= 0xC0:
            return at + 2
        at += 1 + wire[at]
    return at + 1
