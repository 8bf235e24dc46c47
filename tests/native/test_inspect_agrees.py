"""Law 9: the gate finds in a response what a plain walker finds, and decides as the oracle."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from enforcer._native import probe_message
from enforcer.core.name import ROOT, Name
from enforcer.core.network import Address
from enforcer.core.response import ResponseVerdict, decide_response
from enforcer.core.verdict import Action, Rules
from enforcer.errors import InputError
from tests.messages import AAAA, ANY, CNAME, DNAME, DO_OPT, HTTPS, MX, A, query
from tests.tables import compile_bytes, order_row, target_list

T_MS = 1500
DNS64 = [IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8::/40")]


@dataclass(frozen=True)
class Record:
    """A record as the walker sees it."""

    owner: Name
    rrtype: int
    target: Name = ROOT
    addresses: tuple[Address, ...] = ()


@dataclass
class Walk:
    """Where an answer section leads: the names of the chain, and the records that took a hop."""

    links: list[Name] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    is_broken: bool = False


def walk(qname: Name, answers: list[Record]) -> Walk:
    """Follow CNAME and DNAME records from `qname`, sixteen hops at most."""
    found, name = Walk(), qname
    while True:
        leads = set()
        for number, one in enumerate(answers):
            if one.rrtype == CNAME and one.owner == name:
                leads.add(one.target)
            elif one.rrtype == DNAME and name != one.owner and name.is_at_or_below(one.owner):
                kept = name.wire[: len(name.wire) - len(one.owner.wire)]
                try:
                    leads.add(Name.from_wire(kept + one.target.wire))
                except InputError:
                    found.is_broken = True  # over 255 octets
            else:
                continue
            found.taken.add(number)
        found.is_broken |= len(leads) > 1 or (len(leads) == 1 and len(found.links) == 16)
        if found.is_broken or not leads:
            return found
        name = leads.pop()
        found.links.append(name)


def beside(found: Walk, end: Name, answers: list[Record]) -> list[Name]:
    """Return the names that the answer section holds besides the chain's."""
    names = []
    for number, one in enumerate(answers):
        if one.rrtype in (A, AAAA, HTTPS, CNAME) and number not in found.taken:
            names += [one.owner] if one.owner != end else []
            names += [one.target] if one.rrtype in (CNAME, HTTPS) else []
    return names


def addresses(records: list[Record]) -> list[Address]:
    return [address for one in records for address in one.addresses]


def expected(
    rules: Rules, qname: Name, qtype: int, answers: list[Record], additionals: list[Record]
) -> tuple[str, dict[str, object]]:
    """Return what is to become of a response, by the walker above and the oracle."""

    def decided(names: list[Name], given_: list[Address]) -> ResponseVerdict:
        return decide_response(rules, names, given_, qtype, T_MS, dns64=DNS64)

    found = walk(qname, answers)
    end = found.links[-1] if found.links else qname
    others = [] if found.is_broken else beside(found, end, answers)
    result = decided(found.links + others, [] if found.is_broken else addresses(answers))
    verdict = result.verdict
    if verdict.action is Action.BLOCK:
        fields = {"order": verdict.order.index, "is_address": result.address is not None}
        if result.link is not None and result.link < len(found.links):
            denied = found.links[result.link]
            fields |= {"links": result.link + 1, "name": denied.wire, "zone": verdict.zone.wire}
            return "BLOCK", fields | {"denial": verdict.denial}
        return "BLOCK", fields | {
            "links": len(found.links), "name": end.wire, "zone": end.wire, "denial": 2
        }  # fmt: skip
    if found.is_broken:
        return "BROKEN", {}
    seen = [one for one in additionals if one.rrtype in (A, AAAA, HTTPS, CNAME, DNAME)]
    names = [name for one in seen for name in (one.owner, one.target)]
    is_cut = decided(names, addresses(seen)).verdict.action is Action.BLOCK
    return ("TRIM" if is_cut else "PASS"), {}


class Writer:
    """Writes a response, with as much compression as it is told to use."""

    def __init__(self, qname: Name, qtype: int, is_compressed: bool) -> None:
        self.wire = bytearray(12)
        self.is_compressed = is_compressed
        self.places: dict[bytes, int] = {}
        self.put_name(qname)
        self.wire += struct.pack("!HH", qtype, 1)

    def put_name(self, name: Name) -> None:
        rest = name.wire
        while len(rest) > 1:
            if self.is_compressed and rest in self.places:
                self.wire += struct.pack("!H", 0xC000 | self.places[rest])
                return
            if len(self.wire) < 0x4000:
                self.places.setdefault(rest, len(self.wire))
            self.wire += rest[: 1 + rest[0]]
            rest = rest[1 + rest[0] :]
        self.wire += b"\0"

    def put(self, one: Record) -> None:
        self.put_name(one.owner)
        self.wire += struct.pack("!HHIH", one.rrtype, 1, 300, 0)
        start = len(self.wire)
        if one.rrtype == HTTPS:
            self.wire += b"\0\1" + one.target.wire
            for key, kind in ((6, IPv6Address), (4, IPv4Address)):  # unsorted
                packed = b"".join(x.packed for x in one.addresses if isinstance(x, kind))
                self.wire += struct.pack("!HH", key, len(packed)) + packed
        elif one.rrtype == MX:
            self.wire += b"\0\1"
            self.put_name(one.target)
        elif one.rrtype in (CNAME, DNAME):
            self.put_name(one.target)
        else:
            self.wire += one.addresses[0].packed
        struct.pack_into("!H", self.wire, start - 2, len(self.wire) - start)


def written(
    qname: Name, qtype: int, answers: list[Record], additionals: list[Record], *, packed: bool
) -> bytes:
    writer = Writer(qname, qtype, packed)
    for one in answers + additionals:
        writer.put(one)
    struct.pack_into("!6H", writer.wire, 0, 0x1234, 0x8180, 1, len(answers), 0, len(additionals))
    return bytes(writer.wire)


# Few labels, so that names meet; one long enough for expansions to pass 255 octets.
labels = st.sampled_from(["a", "b", "n" * 60])
names = st.builds(
    lambda inner, top: Name.from_text(".".join([*inner, top])),
    st.lists(labels, max_size=3),
    st.sampled_from(["x.t", "y.t", "z.t"]),
)
v4 = st.sampled_from(["192.0.2.1", "192.0.2.2", "198.51.100.7"]).map(IPv4Address)
v6 = st.sampled_from(
    ["2001:db8::1", "2001:db8:1::7", "64:ff9b::c000:202", "2001:db8:c0:2:2::", "::ffff:192.0.2.2"]
).map(IPv6Address)
# As they are written: first the IPv6 hints.
hints = st.builds(
    lambda six, four: (*six, *four), st.lists(v6, max_size=2), st.lists(v4, max_size=2)
)
records = st.one_of(
    st.builds(Record, names, st.just(CNAME), names),
    st.builds(Record, names, st.just(DNAME), names),
    st.builds(Record, names, st.just(MX), names),
    st.builds(Record, names, st.just(A), addresses=st.tuples(v4)),
    st.builds(Record, names, st.just(AAAA), addresses=st.tuples(v6)),
    st.builds(Record, names, st.just(HTTPS), st.one_of(names, st.just(ROOT)), hints),
)
lines = st.one_of(
    names.map(lambda name: f"exact {name}"),
    names.map(lambda name: f"subtree {name}"),
    st.sampled_from(["ip 192.0.2.2", "net 192.0.2.0/24", "net 2001:db8:1::/48", "ip 2001:db8::1"]),
)
lists = st.lists(lines, max_size=3).map(lambda chosen: target_list(*chosen))


@st.composite
def chains(draw: st.DrawFn, qname: Name) -> list[Record]:
    """Draw CNAME records that do lead on from `qname`, in any order, perhaps too many."""
    hops = draw(st.lists(names, max_size=4))
    if draw(st.integers(0, 9)) == 0:
        hops += [Name.from_text(f"h{i}.z.t") for i in range(draw(st.integers(10, 18)))]
    made = [
        Record(owner, CNAME, target) for owner, target in zip([qname, *hops], hops, strict=False)
    ]
    return draw(st.permutations(made))


@given(st.data(), names, st.sampled_from([A, AAAA, HTTPS, CNAME, MX, ANY, 43]), lists, lists)
def test_a_response_is_judged_as_the_walker_and_the_oracle_judge_it(
    data, qname, qtype, first, second
):
    answers = data.draw(chains(qname)) + data.draw(st.lists(records, max_size=4))
    additionals = data.draw(st.lists(records, max_size=2))
    protected = data.draw(lists)
    orders = [(order_row(3, first), first), (order_row(5, second), second)]
    table = compile_bytes(orders, protected=protected)
    rules = Rules(orders, protected=protected)

    wire = written(qname, qtype, answers, additionals, packed=data.draw(st.booleans()))
    found, fields = probe_message.World(table, DNS64).inspect(
        query(str(qname), qtype, opt=DO_OPT), wire, T_MS, room=data.draw(rooms)
    )
    answer = fields.pop("answer", None)
    assert (found, fields) == expected(rules, qname, qtype, answers, additionals)
    if answer is not None:
        assert_denies(answer, wire, fields["links"])


rooms = st.sampled_from([512, 700, 1232, 65535])


def assert_denies(answer: bytes, wire: bytes, links: int) -> None:
    """Check that `answer` is whole, to the same question, and leads no further than it may."""
    kind, fields = probe_message.read(answer)
    assert kind == "WHOLE"
    DNSRecord.parse(answer)
    question = fields["question_octets"]
    assert answer[12 : 12 + question] == wire[12 : 12 + question]
    if fields["sort"] == "CUT":
        assert fields["counts"] == (0, 0, 0)
        return
    assert fields["sort"] in ("NODATA", "NXDOMAIN", "DATA")
    aliases, authorities, additionals = fields["counts"]
    assert links <= aliases <= 2 * links
    assert (authorities, additionals) == (1, 0)
    assert fields["is_cacheable"]
