"""A scripted resolver for the gate to ask, over UDP and TCP, built on dnspython.

Each name says what its test wrote for it; one that no test wrote for has one A record and
nothing else. Every query that arrives is kept, so that a test can tell what the gate asked.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.ports import bound_pair

OUR_OCTETS: Final = 1_232
ADDRESS: Final = "192.0.2.1"
SOA: Final = "ns.example. hostmaster.example. 1 3600 600 86400 60"

Script = Callable[[dns.message.Message, bool], Iterable[dns.message.Message | bytes]]


@dataclass(frozen=True)
class Seen:
    """One query that the gate sent, and how."""

    message: dns.message.Message
    wire: bytes
    is_tcp: bool
    port: int


def records(*lines: str) -> list[dns.rrset.RRset]:
    """Return RRsets from lines ``owner TTL type rdata``; equal owners and types share a set."""
    sets: dict[tuple[str, str], list[str]] = {}
    ttls: dict[tuple[str, str], int] = {}
    for line in lines:
        owner, ttl, rdtype, rdata = line.split(maxsplit=3)
        sets.setdefault((owner, rdtype), []).append(rdata)
        ttls[owner, rdtype] = int(ttl)
    return [
        dns.rrset.from_text_list(owner, ttls[owner, rdtype], "IN", rdtype, rdatas)
        for (owner, rdtype), rdatas in sets.items()
    ]


def reply(
    query: dns.message.Message,
    *lines: str,
    authority: Iterable[str] = (),
    additional: Iterable[str] = (),
    rcode: int = dns.rcode.NOERROR,
    flags: int = 0,
    options: Iterable[dns.edns.Option] = (),
) -> dns.message.Message:
    """Return a resolver's answer to `query`: RA set, EDNS where the query had it."""
    made = dns.message.make_response(query, recursion_available=True, our_payload=OUR_OCTETS)
    made.flags |= flags
    if query.edns >= 0:
        made.use_edns(0, query.ednsflags, OUR_OCTETS, options=list(options))
    made.set_rcode(rcode)
    made.answer = records(*lines)
    made.authority = records(*authority)
    made.additional = records(*additional)
    return made


def ordinary(query: dns.message.Message, is_tcp: bool) -> Iterator[dns.message.Message]:
    """Answer as for a name with one A record; the other types have none."""
    question = query.question[0]
    if question.rdtype == dns.rdatatype.A:
        yield reply(query, f"{question.name} 60 A {ADDRESS}")
    else:
        yield reply(query, authority=[f"{question.name} 60 SOA {SOA}"])


@dataclass
class Upstream:
    """The resolver; use it as a context manager."""

    seen: list[Seen] = field(default_factory=list)
    is_silent: bool = False
    """While true it hears and keeps every query, and answers none."""
    otherwise: Script = field(default=ordinary)
    """What answers for names that no test wrote for."""

    def __post_init__(self) -> None:
        self._scripts: dict[tuple[dns.name.Name, dns.rdatatype.RdataType | None], Script] = {}
        self._udp, self._tcp = bound_pair()
        self._tcp.listen(128)
        self.place: tuple[str, int] = self._udp.getsockname()
        self._is_ending = threading.Event()
        self._work = ThreadPoolExecutor(max_workers=16)
        self._streams: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=run) for run in (self._hear_udp, self._hear_tcp)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.place)
        self._tcp.shutdown(socket.SHUT_RDWR)
        for stream in list(self._streams):
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._work.shutdown(cancel_futures=True)
        self._udp.close()
        self._tcp.close()

    # What a test writes and reads.

    def script(self, name: str, script: Script, rdtype: str | None = None) -> None:
        """Let `script` answer what is asked for `name`, of one type or of all."""
        key = dns.rdatatype.from_text(rdtype) if rdtype else None
        self._scripts[dns.name.from_text(name), key] = script

    def says(self, name: str, rdtype: str, *lines: str, **more: object) -> None:
        """Let `name` answer for `rdtype` with these records; `more` goes to `reply`."""
        self.script(name, lambda query, is_tcp: [reply(query, *lines, **more)], rdtype)

    def asked(self, name: str, rdtype: str | None = None) -> list[Seen]:
        """Return what was asked for `name`, in order."""
        wanted = dns.name.from_text(name)
        return [
            each
            for each in list(self.seen)
            if each.message.question[0].name == wanted
            and rdtype in (None, dns.rdatatype.to_text(each.message.question[0].rdtype))
        ]

    # Its life.

    def _answers(self, wire: bytes, is_tcp: bool, port: int) -> Iterator[bytes]:
        try:
            query = dns.message.from_wire(wire)
            question = query.question[0]
        except (dns.exception.DNSException, IndexError):
            return
        self.seen.append(Seen(query, wire, is_tcp, port))
        if self.is_silent:
            return
        for key in (question.rdtype, None):
            if (script := self._scripts.get((question.name, key))) is not None:
                break
        else:
            script = self.otherwise
        room = 65_535 if is_tcp else max(query.payload, 512)
        for each in script(query, is_tcp):
            yield each if isinstance(each, bytes) else fitted(each, room)

    def _hear_udp(self) -> None:
        while True:
            wire, client = self._udp.recvfrom(65_535)
            if self._is_ending.is_set():
                return
            self._work.submit(self._serve_udp, wire, client)

    def _serve_udp(self, wire: bytes, client: tuple[str, int]) -> None:
        for answer in self._answers(wire, False, client[1]):
            self._udp.sendto(answer, client)

    def _hear_tcp(self) -> None:
        threads = []
        while True:
            try:
                stream, client = self._tcp.accept()
            except OSError:
                break
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._streams.add(stream)
            threads.append(threading.Thread(target=self._serve_tcp, args=(stream, client[1])))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve_tcp(self, stream: socket.socket, port: int) -> None:
        """Answer each query of one connection as soon as its script does, in whatever order."""
        lock = threading.Lock()

        def serve(wire: bytes) -> None:
            with suppress(OSError):
                for answer in self._answers(wire, True, port):
                    with lock:
                        stream.sendall(struct.pack("!H", len(answer)) + answer)

        with stream, suppress(OSError), stream.makefile("rb") as octets:
            while len(length := octets.read(2)) == 2:
                self._work.submit(serve, octets.read(struct.unpack("!H", length)[0]))
        self._streams.discard(stream)


def fitted(message: dns.message.Message, room: int) -> bytes:
    """Return the message's wire form; with TC=1 and no records where that exceeds `room`."""
    with suppress(dns.exception.TooBig):
        return message.to_wire(max_size=room)
    message.answer, message.authority, message.additional = [], [], []
    message.flags |= dns.flags.TC
    return message.to_wire()
