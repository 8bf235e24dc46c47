"""A strict client of the gate, on dnspython: it takes no answer that a resolver would not take."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Self

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdataclass
import dns.rdatatype

from tests.waiting import WAIT_SECONDS


def question(
    name: str,
    rdtype: str | int = "A",
    *,
    rdclass: str | int = "IN",
    flags: int = dns.flags.RD,
    edns: bool = True,
    octets: int = 1_232,
    dnssec_ok: bool = False,
    options: Iterable[dns.edns.Option] = (),
) -> dns.message.QueryMessage:
    """Return a query with an id of its own; `octets` is the size that EDNS announces."""
    made = dns.message.make_query(name, rdtype, rdclass, flags=flags)
    if edns:
        made.use_edns(0, dns.flags.DO if dnssec_ok else 0, octets, options=list(options))
    return made


def read_reply(
    query: dns.message.Message | bytes, wire: bytes, *, octets_max: int = 65_535
) -> dns.message.Message:
    """Return the reply once it has passed what every careful client checks (RFC 5452 §9.1)."""
    asked = query if isinstance(query, bytes) else query.to_wire()
    read = dns.message.from_wire(wire)  # refuses trailing octets, bad counts, bad pointers
    assert len(wire) <= octets_max, f"{len(wire)} octets, where the client takes {octets_max}"
    assert wire[:2] == asked[:2], "the id is another"
    assert read.flags & dns.flags.QR
    assert read.opcode() == 0
    end = asked.index(b"\0", 12) + 5
    assert wire[4:6] == b"\0\1"
    assert wire[12:end] == asked[12:end], "the question is not echoed as it was spelt"
    return read


class Client:
    """Asks the gate at `place`, each time from a new socket; no second try, no fallback."""

    def __init__(self, place: tuple[str, int], source: str | None = None) -> None:
        self.place = place
        self._source = source

    def ask(
        self, name: str, rdtype: str | int = "A", *, tcp: bool = False, **more: object
    ) -> dns.message.Message:
        """Ask by `question(name, rdtype, **more)` and return the strictly read reply."""
        query = question(name, rdtype, **more)
        return self.send(query, tcp=tcp)

    def send(self, query: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
        """Ask this query and return the strictly read reply."""
        octets = max(query.payload, 512) if query.edns >= 0 else 512
        reply = self.exchange(query.to_wire(), tcp=tcp)
        return read_reply(query, reply, octets_max=65_535 if tcp else octets)

    def exchange(self, wire: bytes, *, tcp: bool = False) -> bytes:
        """Send these octets and return whatever comes back."""
        if tcp:
            with Stream(self.place, self._source) as stream:
                stream.send(wire)
                return stream.receive()
        with self.socket() as udp:
            udp.send(wire)
            return udp.recv(65_535)

    def socket(self) -> socket.socket:
        """Return a UDP socket that hears the gate alone."""
        family = socket.AF_INET6 if ":" in self.place[0] else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.settimeout(WAIT_SECONDS)
        if self._source is not None:
            udp.bind((self._source, 0))
        udp.connect(self.place)
        return udp


class Stream(AbstractContextManager["Stream"]):
    """One TCP connection to the gate, with the length before each message (RFC 1035 §4.2.2)."""

    def __init__(self, place: tuple[str, int], source: str | None = None) -> None:
        bound = (source, 0) if source is not None else None
        self.socket = socket.create_connection(place, WAIT_SECONDS, source_address=bound)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._octets = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._octets.close()
        self.socket.close()

    def send(self, *wires: bytes) -> None:
        """Send these messages in one segment."""
        self.socket.sendall(b"".join(framed(wire) for wire in wires))

    def receive(self) -> bytes:
        """Return the next message.

        Raises:
            EOFError: the gate has closed the connection.
        """
        head = self._octets.read(2)
        if len(head) < 2:
            raise EOFError
        wire = self._octets.read(struct.unpack("!H", head)[0])
        assert len(wire) == struct.unpack("!H", head)[0], "the connection ended in a message"
        return wire

    def ask(self, *queries: dns.message.Message) -> list[dns.message.Message]:
        """Send all, and return the replies in the order of the queries, however they came."""
        for number, query in enumerate(queries):  # drawn ones may meet
            query.id = (queries[0].id + number) % 65_536
        self.send(*(query.to_wire() for query in queries))
        wires = {wire[:2]: wire for wire in (self.receive() for _ in queries)}
        return [read_reply(query, wires[query.to_wire()[:2]]) for query in queries]


def framed(wire: bytes) -> bytes:
    """Return `wire` with its length before it."""
    return struct.pack("!H", len(wire)) + wire


def mixed_case(name: str) -> str:
    """Return `name` spelt as clients do that put randomness into the case (0x20)."""
    bits = int.from_bytes(os.urandom(32), "big") | 1
    return "".join(
        letter.upper() if bits >> at & 1 else letter.lower() for at, letter in enumerate(name)
    )


def extended_errors(reply: dns.message.Message) -> list[tuple[int, str]]:
    """Return the extended errors of a reply: (info code, text), RFC 8914."""
    return [
        (int(option.code), option.text or "")
        for option in reply.options
        if isinstance(option, dns.edns.EDEOption)
    ]


def answers(reply: dns.message.Message) -> list[str]:
    """Return the answer section as sorted lines ``owner type rdata``, without TTLs."""
    return sorted(
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
        for rrset in reply.answer
        for rdata in rrset
    )
