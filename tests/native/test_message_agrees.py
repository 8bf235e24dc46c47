"""The gate reads an upstream's message, however broken, as a plain reader in Python does."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from enforcer._native import probe_message
from tests.messages import (
    AAAA,
    ANY,
    CNAME,
    DNAME,
    HTTPS,
    MX,
    NS,
    NSEC,
    OPT,
    PTR,
    QNAME,
    ROOT,
    ROOT_OPT,
    RRSIG,
    SOA,
    SRV,
    SVCB,
    TXT,
    A,
    chain,
    name,
    record,
    response,
    soa,
    svcb,
)

INSPECTED = (CNAME, DNAME, SVCB, HTTPS, A, AAAA)
# type -> (octets before the first name, names, may more follow)
NAMES = {
    **dict.fromkeys((NS, CNAME, PTR, DNAME, 3, 4, 7, 8, 9), (0, 1, False)),
    **dict.fromkeys((14, 17), (0, 2, False)),
    **dict.fromkeys((MX, 18, 21, 36), (2, 1, False)),
    SOA: (0, 2, True),
    SRV: (6, 1, False),
    RRSIG: (18, 1, True),
    NSEC: (0, 1, True),
    SVCB: (2, 1, True),
    HTTPS: (2, 1, True),
}


class BadError(Exception):
    """The message is malformed."""


def need(truth: bool) -> None:
    if not truth:
        raise BadError


@dataclass
class Reader:
    """Reads one response, slowly; raises BadError where the gate must say MALFORMED."""

    wire: bytes
    starts: set[int] = field(default_factory=set)
    is_plain: bool = True

    def number(self, at: int, octets: int = 2) -> int:
        return int.from_bytes(self.wire[at : at + octets], "big")

    def name(self, at: int, stop: int) -> tuple[int, bool]:
        """Return where the name at `at` ends and whether it is written out."""
        run, size, end, pointers = at, 0, None, 0
        while True:
            need(at < stop)
            if end is None:
                self.starts.add(at)
            octet = self.wire[at]
            if octet == 0:
                return (at + 1, True) if end is None else (end, False)
            if octet >= 0xC0:
                need(at + 2 <= stop)
                target = self.number(at) & 0x3FFF
                pointers += 1
                need(12 <= target < run and pointers <= 127)
                self.is_plain &= target in self.starts
                if end is None:
                    end = stop = at + 2
                at = run = target
            else:
                size += octet + 1
                need(octet < 0x40 and size + 1 <= 255)
                at += octet + 1

    def rdata(self, rrtype: int, rrclass: int, at: int, stop: int) -> None:
        if rrtype in (A, AAAA):
            need(rrclass != 1 or stop - at == (4 if rrtype == A else 16))
        if rrtype not in NAMES:
            return
        skipped, count, may_follow = NAMES[rrtype]
        at += skipped
        is_written_out = True
        for _ in range(count):
            at, is_written_out = self.name(at, stop)
        need(may_follow or at == stop)
        if rrtype == SOA:
            need(stop - at == 20)
        if rrtype in (SVCB, HTTPS):
            need(is_written_out)
            while at < stop:
                need(at + 4 <= stop)
                at += 4 + self.number(at + 2)
            need(at == stop)

    def read(self) -> dict[str, object]:
        need(len(self.wire) <= 65535 and self.number(4) == 1)
        flags = self.number(2)
        question, _ = self.name(12, len(self.wire))
        at = question + 4
        need(at <= len(self.wire))
        out: dict[str, object] = {
            "question_octets": at - 12,
            "flags": flags,
            "rcode": flags & 15,
            "qtype": self.number(question),
            "qclass": self.number(question + 2),
        }
        nothing = {"octets": at, "counts": (0, 0, 0), "starts": (at, at, at), "ttl_at": []}
        nothing |= {"ttl_seconds": 0, "has_links": False, "errors": b"", "is_cacheable": False}
        if flags & 0x0200:
            return out | nothing | {"sort": "CUT"}

        starts, sections, opt = [], [], None
        for number in range(3):
            starts.append(at)
            sections.append([])
            for _ in range(self.number(6 + 2 * number)):
                owner = at
                at, _ = self.name(at, len(self.wire))
                need(at + 10 <= len(self.wire))
                fixed, rrtype, octets = at, self.number(at), self.number(at + 8)
                at += 10 + octets
                need(at <= len(self.wire))
                if rrtype == OPT:
                    need(opt is None and number == 2 and self.wire[owner] == 0)
                    opt = owner
                    out["rcode"] |= self.wire[fixed + 4] << 4
                    out["errors"] = errors(self.wire[fixed + 10 : at])
                    continue
                self.rdata(rrtype, self.number(fixed + 2), fixed + 10, at)
                if opt is None:
                    sections[number].append((fixed, rrtype, at))
        need(at == len(self.wire))
        out = nothing | out
        return out | self.sorted(out, starts, sections, at if opt is None else opt)

    def sorted(self, out, starts, sections, octets) -> dict[str, object]:
        answers, authorities, _ = sections
        kept = [one for section in sections for one in section]
        ttls = [self.number(fixed + 4, 4) for fixed, _, _ in kept]
        seconds = [0 if ttl >= 2**31 else ttl for ttl in ttls]
        soas = [self.number(stop - 4, 4) for _, rrtype, stop in authorities if rrtype == SOA]
        seconds += soas
        least = min([*seconds, 2**31 - 1])
        out = {
            "octets": octets,
            "counts": tuple(map(len, sections)),
            "starts": tuple(starts),
            "ttl_at": [fixed + 4 for fixed, _, _ in kept][:512],
            "has_links": any(rrtype in INSPECTED for _, rrtype, _ in answers + sections[2]),
            "rcode": out["rcode"],
            "qtype": out["qtype"],
        }
        if out["rcode"] == 3:
            sort, ttl = "NXDOMAIN", least if soas else 0
        elif out["rcode"]:
            end = starts[0]
            sort, ttl = "ERROR", 5 if out["rcode"] == 2 else 0
            out |= {"octets": end, "counts": (0, 0, 0), "starts": (end, end, end)}
            out |= {"ttl_at": [], "has_links": False}
        elif any(rrtype == out["qtype"] or out["qtype"] == ANY for _, rrtype, _ in answers):
            sort, ttl = "DATA", least
        elif soas:
            sort, ttl = "NODATA", least
        else:
            has_ns = any(rrtype == NS for _, rrtype, _ in authorities)
            sort, ttl = ("REFERRAL" if has_ns else "NODATA"), 0
        if not self.is_plain or len(kept) > 512:
            ttl = 0
        return out | {"sort": sort, "ttl_seconds": ttl, "is_cacheable": ttl > 0}


def errors(options: bytes) -> bytes:
    """Return the EDE options of an OPT; the text of one that does not fit is left off."""
    kept, at = b"", 0
    while at < len(options):
        need(at + 4 <= len(options))
        code, octets = struct.unpack_from("!HH", options, at)
        data = options[at + 4 : at + 4 + octets]
        need(len(data) == octets)
        if code == 15 and octets >= 2:
            for one in (data, data[:2]):
                if len(kept) + 4 + len(one) <= 128:
                    kept += struct.pack("!HH", 15, len(one)) + one
                    break
        at += 4 + octets
    return kept


def expected(wire: bytes) -> tuple[str, dict[str, object]]:
    if len(wire) < 12:
        return "RUNT", {}
    if not wire[2] & 0x80 or wire[2] & 0x78:
        return "QUERY", {}
    try:
        return "WHOLE", Reader(wire).read()
    except BadError:
        return "MALFORMED", {}


def opt(*options: tuple[int, bytes], rcode: int = 0) -> bytes:
    rdata = b"".join(struct.pack("!HH", code, len(data)) + data for code, data in options)
    return b"\0" + struct.pack("!HHBBHH", OPT, 1232, rcode, 0, 0x8000, len(rdata)) + rdata


def far(octets: int) -> bytes:
    return record(QNAME, TXT, bytes(octets))


MESSAGES = [
    response(),
    response([record(QNAME, A, bytes(4)), record(QNAME, A, b"\xc0\0\2\1")], [], [ROOT_OPT]),
    response(chain("a.example", "b.a.example"), [soa()], [opt((15, b"\0\3stale"))], flags=0x8183),
    response([], [soa(), record(QNAME, RRSIG, bytes(18) + name("example.org") + bytes(64))]),
    response([], [record(QNAME, NS, b"\2ns" + QNAME)], [record(b"\2ns" + QNAME, A, bytes(4))]),
    response([], [], [opt((15, b"\0\6" + bytes(200)), (15, b"\0\x16"), (10, bytes(8)), rcode=1)]),
    response([record(QNAME, A, bytes(4), ttl=ttl) for ttl in (0, 2**31, 2**32 - 1)]),
    response(
        [svcb(QNAME, name("svc.example"), (1, b"\2h2"), (4, bytes(8)), (6, bytes(16)))],
        [],
        [record(name("svc.example"), AAAA, bytes(16)), ROOT_OPT, far(3)],
        qtype=HTTPS,
    ),
    response(
        [
            record(QNAME, MX, b"\0\1\4mail" + QNAME),
            record(QNAME, SRV, bytes(6) + b"\4mail" + QNAME),
            record(name("example.org"), DNAME, name("example.net")),
            record(QNAME, NSEC, name("z.example.org") + b"\0\1\x40"),
            record(QNAME, PTR, ROOT),
        ],
        qtype=ANY,
    ),
    response([far(17000), record(name("late.example"), CNAME, QNAME), record(QNAME, A, bytes(4))]),
    response([record(QNAME, A, bytes(4))] * 513),
    response([record(QNAME, A, bytes(4))], flags=0x8380),
    response([record(QNAME, A, bytes(5), rrclass=3)], qclass=3),
    response([], qname="."),
]
POINTERS = [0, 11, 12, 13, 29, 33, 37, 39, 40, 45, 0x3FFF]
words = st.one_of(
    st.sampled_from([0xC000 | at for at in POINTERS] + [0, 1, 41, 255, 0xFFFF]),
    st.integers(0, 0xFFFF),
).map(lambda word: struct.pack("!H", word))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a message and damage it: words written over, cut out, put in, taken from another."""
    wire = bytearray(draw(st.sampled_from(MESSAGES)))
    for _ in range(draw(st.integers(0, 4))):
        # Mostly near the front, where the names are.
        at = draw(st.integers(0, min(len(wire), draw(st.sampled_from([12, 120, len(wire)])))))
        how = draw(st.sampled_from(["over", "over", "over", "out", "in", "end", "splice"]))
        if how == "over":
            word = draw(words)
            wire[at : at + 2] = word
        elif how == "out":
            del wire[at : at + draw(st.integers(1, 12))]
        elif how == "in":
            wire[at:at] = draw(st.one_of(words, st.binary(max_size=8)))
        elif how == "end":
            del wire[at:]
        else:
            other = draw(st.sampled_from(MESSAGES))
            wire[at:] = other[at:]
    return bytes(wire)


@given(mutated())
@example(b"")
def test_a_message_is_read_as_the_plain_reader_reads_it(wire):
    assert probe_message.read(wire) == expected(wire)


def test_every_whole_message_and_every_cut_of_it_is_read_alike():
    for wire in MESSAGES:
        assert expected(wire)[0] == "WHOLE"
        for end in (*range(min(len(wire), 300)), len(wire)):
            assert probe_message.read(wire[:end]) == expected(wire[:end])


@given(st.binary(max_size=80))
def test_any_octets_behind_a_header_are_read_alike(octets):
    wire = struct.pack("!6H", 1, 0x8180, 1, 1, 0, 1) + octets
    assert probe_message.read(wire) == expected(wire)
