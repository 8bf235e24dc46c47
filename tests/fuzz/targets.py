"""What hostile octets are given to, and what must hold whatever they are.

Each target takes any octets and returns; an AssertionError is a finding, as is a crash or what a
sanitiser says. The properties are checked by other code than the gate's: by dnspython, or by
a few lines that read the wire form afresh.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.svcbbase import ParamKey

from enforcer._native import packets, probe, probe_cache, probe_message, probe_net
from enforcer._native.compiler import scan
from enforcer._native.conntrack import connections_hit
from enforcer._native.flows import Decoder
from enforcer._native.nft_elements import SHARD_COUNT, SetReader
from enforcer.core.firewall import pack_pieces, unpack_pieces
from enforcer.errors import EnforcerError
from tests.flows import FLOW_OCTETS, FORMAT
from tests.netlink import DONE, connection, element, told
from tests.tables import compile_bytes, order_row

CORPUS: Final = Path(__file__).parent / "corpus"
VECTORS: Final = Path(__file__).parent.parent / "vectors" / "packets"
ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(os.environ.get("ENFORCER_DATA") or ROOT.parent / "shared" / "data")
"""More of real exporters' packets, where it is there."""
TARGETS: Final = b"ip 198.51.100.66\nnet 2001:db8:bad::/48\nsubtree blocked.example\n"
BLOCKED_NAME: Final = dns.name.from_text("blocked.example")
BLOCKED_NETWORKS: Final = (ip_network("198.51.100.66/32"), ip_network("2001:db8:bad::/48"))
DNS64: Final = IPv6Network("64:ff9b::/96")
NOW_MS: Final = 1_800_000_000_000
ROOM: Final = 1_232


def table_bytes() -> bytes:
    row = order_row(1, TARGETS, until_ms=NOW_MS * 2)
    return compile_bytes([(row, TARGETS)])


WORLD: Final = probe_message.World(table_bytes(), [DNS64])
CACHE: Final = probe_cache.AnswerCache(1 << 20, bytes(range(16)))


def question_of(wire: bytes) -> tuple[bytes, int, int, int]:
    """Return name in lower case, type, class, and where the question ends."""
    at = 12
    while wire[at]:
        assert wire[at] <= 63
        at += wire[at] + 1
    assert at + 1 - 12 <= 255
    return wire[12 : at + 1].lower(), *struct.unpack_from("!HH", wire, at + 1), at + 5


def lowered(wire: bytes) -> bytes:
    """Return an uncompressed name in lower case; lengths stay, whatever letters they look like."""
    out, at = bytearray(wire), 0
    while wire[at]:
        out[at + 1 : at + 1 + wire[at]] = wire[at + 1 : at + 1 + wire[at]].lower()
        at += wire[at] + 1
    return bytes(out)


def query(wire: bytes) -> None:
    """A client's datagram is read as it stands, and every answer to it is a good message."""
    reading, fields = packets.read(wire)
    if len(wire) < 12:
        assert reading == "RUNT"
        return
    assert (reading == "RESPONSE") == bool(wire[2] & 0x80)
    if reading == "RESPONSE":
        return
    refused = packets.error(wire, {"FORMERR": 1, "NOTIMP": 4, "BADVERS": 16}.get(reading, 5))
    checked(refused, wire)
    if reading != "QUERY":
        return
    assert wire[2] & 0x78 == 0
    assert wire[4:6] == b"\0\1"
    name, rdtype, rdclass, end = question_of(wire)
    assert fields["name"] == lowered(wire[12 : end - 4])
    assert len(fields["name"]) == len(name)
    assert (fields["qtype"], fields["qclass"]) == (rdtype, rdclass)
    for page in (b"", b"\xc0\0\2\x50", bytes(16)):
        blocked = packets.block(
            wire, rcode=0 if page else 3, zone_at=0, info_code=16, is_block_page=bool(page),
            page=page, order_id=b"XX-2026-000001", register_domain=b"\7example\0",
            register_url=b"https://example.org/", ttl_seconds=30, serial=1,
        )  # fmt: skip
        assert blocked[12:end] == wire[12:end]
        checked(blocked, wire)


def checked(reply: bytes, wire: bytes) -> dns.message.Message:
    """Return our own reply, read by a strict reader."""
    read = dns.message.from_wire(reply)
    assert reply[:2] == wire[:2]
    assert read.flags & dns.flags.QR
    return read


def response(wire: bytes) -> None:
    """An upstream's message that passes leads to nothing blocked, and comes out as a good one."""
    kind, fields = probe_message.read(wire)
    if kind != "WHOLE":
        assert not fields
        return
    end = 12 + fields["question_octets"]
    assert 17 <= end <= fields["octets"] <= len(wire)
    assert end <= fields["starts"][0] <= fields["starts"][1] <= fields["starts"][2]
    assert fields["starts"][2] <= fields["octets"]
    assert fields["ttl_at"] == sorted(set(fields["ttl_at"]))
    assert all(end < at <= fields["octets"] - 6 for at in fields["ttl_at"])
    asked = wire[:2] + b"\1\0\0\1\0\0\0\0\0\0" + wire[12:end]
    if packets.read(asked)[0] != "QUERY":
        return
    for room in (512, ROOM, 65_535):
        relayed = probe_cache.relay(asked, wire, room=room)
        assert len(relayed) <= room
        good(relayed, asked)
    inspection, found = WORLD.inspect(asked, wire, NOW_MS, room=ROOM)
    if inspection in ("PASS", "TRIM"):
        harmless(wire[: fields["octets"]])
    elif inspection == "BLOCK":
        good(found["answer"], asked)
        harmless(found["answer"], is_block=True)
    CACHE.put(asked, wire, NOW_MS)
    if (cached := CACHE.answer(asked, NOW_MS + 1_500, room=ROOM)) is not None:
        good(cached, asked)


def good(reply: bytes, asked: bytes) -> None:
    """Hold that a reply repeats the question and reads whole again."""
    assert reply[:2] == asked[:2]
    assert reply[12 : len(asked)] == asked[12:]
    assert probe_message.read(reply)[0] == "WHOLE"


def harmless(wire: bytes, *, is_block: bool = False) -> None:
    """Hold that no address in the answer section is blocked, and no name that it leads to.

    The chain of a block ends at the blocked name, which has nothing.
    """
    try:
        read = dns.message.from_wire(wire, one_rr_per_rrset=True, ignore_trailing=True)
    except dns.exception.DNSException:
        return  # it has what dnspython refuses in records that nobody has to read here
    if not read.question or read.question[0].rdclass != 1:
        return
    for rrset in read.answer:
        (rdata,) = rrset
        if rrset.rdclass != dns.rdataclass.IN:
            continue
        if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            assert not is_blocked_address(rdata.address), wire.hex()
            assert not rrset.name.is_subdomain(BLOCKED_NAME), wire.hex()
        elif rrset.rdtype in (dns.rdatatype.SVCB, dns.rdatatype.HTTPS):
            assert not rdata.target.is_subdomain(BLOCKED_NAME), wire.hex()
            for key in (ParamKey.IPV4HINT, ParamKey.IPV6HINT):
                hints = getattr(rdata.params.get(key), "addresses", ())
                assert not any(map(is_blocked_address, hints)), wire.hex()
        elif rrset.rdtype == dns.rdatatype.CNAME and not is_block:
            assert not rdata.target.is_subdomain(BLOCKED_NAME), wire.hex()


def is_blocked_address(text: str) -> bool:
    """Tell whether an address is blocked as it stands, or by the IPv4 address that it carries."""
    address = ip_address(text)
    if address in DNS64:
        return is_blocked_address(str(ip_address(address.packed[12:])))
    return any(address in network for network in BLOCKED_NETWORKS)


def proxy(wire: bytes) -> None:
    """A PROXY header is inside its octets, or there is none."""
    kind, client, local, octets = probe_net.read_proxy(wire)
    assert 0 <= octets <= len(wire)
    assert kind in probe_net.PROXIED
    assert (client is None) == (local is None)


def table(wire: bytes) -> None:
    """A table that is not whole is refused; one that is judges every name within bounds."""
    if len(wire) < probe.HEADER_BYTES:
        region = wire
    else:  # so that more than the digest is checked
        at = probe.BODY_SHA256_AT
        blank = wire[:at] + bytes(32) + wire[at + 32 :]
        region = wire[:at] + bytes.fromhex(probe.body_sha256(blank)) + wire[at + 32 :]
    try:
        opened = probe.Table(region)
    except (EnforcerError, ValueError):
        return
    for name in ("blocked.example", "a.b.blocked.example", ".".join("a" * 120), "example"):
        opened.decide(dns.name.from_text(name).to_wire(), 1, NOW_MS)
    for address in ("198.51.100.66", "2001:db8:bad::1"):
        opened.decide_address(ip_address(address), NOW_MS)


def targets(wire: bytes) -> None:
    """A target list is taken or refused."""
    with suppress(EnforcerError):
        scan(wire)


def flows(wire: bytes) -> None:
    """An export is read within its octets, whole flows come out, and time goes forward in each."""
    decoder = Decoder(templates_max=4)
    at = 0
    while at < len(wire):
        packed, octets = decoder.decode(wire[at:], b"one")
        assert 0 < octets <= len(wire) - at
        assert len(packed) % FLOW_OCTETS == 0
        assert len(packed) // FLOW_OCTETS <= octets // 4
        for flow in struct.iter_unpack(FORMAT, packed):
            assert flow[2] <= flow[3]
            assert flow[8] > 0
        at += octets
    assert decoder.template_count <= 4


def exports_of(*folders: Path) -> list[bytes]:
    """Return the flow exports in folders, in order; what is not there has none."""
    paths = {path.name: path for folder in folders for path in sorted(folder.glob("*.dat"))}
    return [path.read_bytes() for path in paths.values()]


def packets_of(*folders: Path) -> list[bytes]:
    """Return the files in these folders, in order."""
    paths = [path for folder in folders for path in sorted(folder.glob("*.*"))]
    return [path.read_bytes() for path in paths if path.suffix in (".bin", ".pkt")]


def netlink(wire: bytes) -> None:
    """What a kernel tells of sets and connections: pieces stay in order, and within the dump."""
    for bucket in (0, SHARD_COUNT):
        reader = SetReader(4)
        reader.begin(bucket)
        with suppress(EnforcerError):
            reader.feed(wire)
        reader.end()
        pieces = list(unpack_pieces(reader.pieces(), 4))
        assert len(pieces) <= len(wire) // 8
        assert all(first <= last and row for first, last, row in pieces)
        assert [first for first, _, _ in pieces] == sorted(first for first, _, _ in pieces)
    blocked = pack_pieces([(BLOCKED_NETWORKS[0], 1), (BLOCKED_NETWORKS[1], 1)])
    hits = connections_hit(wire, blocked.ipv4, blocked.ipv6)
    assert sum(map(len, hits)) <= len(wire)


def dumps_by_hand() -> list[bytes]:
    here, there = b"\x0a\0\0\7", BLOCKED_NETWORKS[0].network_address.packed
    six = BLOCKED_NETWORKS[1].network_address.packed
    return [
        told(element(here, "reject1"), element(b"\x0a\0\0\x09", "reject22")) + DONE,
        told(element(here, "reject1"), element(b"\x0a\0\0\x09", is_end=True)) + DONE,
        connection(here, there) + connection(there, here) + connection(here, here) + DONE,
        connection(six, bytes(16), family=10) + DONE,
    ]


ALL: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "query": (query, lambda: packets_of(CORPUS / "query", VECTORS)),
    "response": (response, lambda: packets_of(CORPUS / "response", VECTORS)),
    "proxy": (proxy, lambda: packets_of(CORPUS / "proxy")),
    "table": (table, lambda: [table_bytes()]),
    "targets": (targets, lambda: [TARGETS]),
    "netlink": (netlink, dumps_by_hand),
    "flows": (flows, lambda: exports_of(VECTORS.parent / "netflow", DATA / "netflow")),
}
"""Each target with its corpus."""
