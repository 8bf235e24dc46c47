"""Both ends of a query on loopback: a resolver that knows every name, and clients that ask."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from dnslib import EDNS0, QTYPE, RCODE, RR, A, DNSRecord, EDNSOption

EDE_OPTION = 15  # RFC 8914 §2
CLIENT_HOST = "127.53.53.53"
"""Where clients are, and no program: what writes it down has written down a client."""
ANSWER_SECONDS_MAX = 8.0
"""Longer than the gate waits for its upstream: what comes later was lost."""


def address_of(qname: str) -> str:
    """Return the address that the upstream gives a name: the same each time, in 192.0.2.0/24."""
    return f"192.0.2.{sha256(qname.lower().rstrip('.').encode()).digest()[0] % 254 + 1}"


class Upstream:
    """The resolver behind the gate: one A record for every name, nothing of any other type."""

    def __init__(self) -> None:
        self.unanswered: set[str] = set()
        """Names that it says nothing to; nobody but them."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="upstream")

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._is_ending.is_set():
            with suppress(TimeoutError):
                data, client = self._socket.recvfrom(65_535)
                with suppress(Exception):  # hostile packets may get this far
                    query = DNSRecord.parse(data)
                    if str(query.q.qname).rstrip(".") not in self.unanswered:
                        self._socket.sendto(self._answer(query), client)

    def _answer(self, query: DNSRecord) -> bytes:
        reply = query.reply(ra=1, aa=0)
        if query.q.qtype == QTYPE.A:
            reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(address_of(str(query.q.qname)))))
        return reply.pack()


@dataclass(frozen=True)
class Soa:
    owner: str
    mname: str
    ttl: int
    minimum: int


@dataclass(frozen=True)
class Answer:
    """What a client got to see."""

    rcode: str
    addresses: tuple[str, ...] = ()
    soa: Soa | None = None
    extended_errors: tuple[tuple[int, str], ...] = ()

    @property
    def is_blocked(self) -> bool:
        return any(code in (15, 16) for code, _ in self.extended_errors)

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        reply = DNSRecord.parse(data)
        soa = next((rr for rr in reply.auth if rr.rtype == QTYPE.SOA), None)
        return cls(
            RCODE[reply.header.rcode],
            tuple(str(rr.rdata) for rr in reply.rr if rr.rtype == QTYPE.A),
            Soa(str(soa.rname), str(soa.rdata.mname), soa.ttl, soa.rdata.times[4]) if soa else None,
            tuple(
                (struct.unpack("!H", option.data[:2])[0], option.data[2:].decode())
                for rr in reply.ar
                if rr.rtype == QTYPE.OPT
                for option in rr.rdata
                if isinstance(option, EDNSOption) and option.code == EDE_OPTION
            ),
        )


def query(qname: str, qtype: str = "A", identity: int | None = None) -> bytes:
    """Return a query with EDNS, as stub resolvers send it."""
    question = DNSRecord.question(qname, qtype)
    question.add_ar(EDNS0(udp_len=1_232))
    if identity is not None:
        question.header.id = identity
    return question.pack()


def ask(port: int, qname: str, qtype: str = "A", seconds: float = ANSWER_SECONDS_MAX) -> Answer:
    """Ask the gate at `port` once; no second try.

    Raises:
        TimeoutError: no answer.
        ConnectionRefusedError: nobody is there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.bind((CLIENT_HOST, 0))
        client.connect(("127.0.0.1", port))
        data = query(qname, qtype)
        client.send(data)
        while True:
            reply = client.recv(65_535)
            if reply[:2] == data[:2]:
                return Answer.parse(reply)


@dataclass(frozen=True)
class Asked:
    """One query of a stream of them: when it was sent, and what came back, if anything."""

    qname: str
    at: float
    answer: Answer | None


@dataclass
class Questions:
    """A client in a thread of its own that asks at a steady rate, and never asks twice.

    `names` may be replaced while it runs. Leave it as a context manager: it then waits for the
    answers that are still to come.
    """

    port: int
    names: Sequence[str]
    per_second: int = 100
    on_answer: Callable[[str, Answer], None] | None = None
    asked: list[Asked] = field(default_factory=list)
    _is_ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="questions")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        assert self._thread is not None
        self._thread.join()

    @property
    def unanswered(self) -> list[Asked]:
        return [each for each in self.asked if each.answer is None]

    def count(self) -> Counter[str]:
        """Return how many were answered with which rcode, or not at all."""
        return Counter(each.answer.rcode if each.answer else "UNANSWERED" for each in self.asked)

    def _run(self) -> None:
        waiting: dict[int, tuple[str, float]] = {}
        sent = 0
        begin = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.bind((CLIENT_HOST, 0))
            gate = ("127.0.0.1", self.port)  # not connected, so that a dead gate is mere silence
            while not self._is_ending.is_set() or waiting:
                now = time.monotonic()
                if not self._is_ending.is_set() and now >= begin + sent / self.per_second:
                    qname = self.names[sent % len(self.names)]
                    waiting[sent & 0xFFFF] = (qname, now)
                    client.sendto(query(qname, identity=sent & 0xFFFF), gate)
                    sent += 1
                    continue
                select.select(
                    [client], [], [], max(0.0, begin + sent / self.per_second - now, 0.002)
                )
                self._receive(client, waiting)
                self._give_up(waiting)

    def _receive(self, client: socket.socket, waiting: dict[int, tuple[str, float]]) -> None:
        with suppress(BlockingIOError):
            while True:
                data = client.recv(65_535)
                if (question := waiting.pop(struct.unpack("!H", data[:2])[0], None)) is not None:
                    answer = Answer.parse(data)
                    self.asked.append(Asked(*question, answer))
                    if self.on_answer is not None:
                        self.on_answer(question[0], answer)

    def _give_up(self, waiting: dict[int, tuple[str, float]]) -> None:
        late = time.monotonic() - ANSWER_SECONDS_MAX
        for identity in [key for key, (_, at) in waiting.items() if at < late]:
            self.asked.append(Asked(*waiting.pop(identity), None))
