"""The demo's DNS: an upstream resolver that answers everything, and questions to the gate.

The upstream gives each name an address of 192.0.2.0/24; it keeps and prints nothing.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from dnslib import EDNS0, OPCODE, QTYPE, RCODE, RR, A, DNSRecord
from dnslib.dns import DNSError

from enforcer.errors import UnavailableError

QUERY_TIMEOUT_SECONDS: Final = 2.0
WATCH_INTERVAL_SECONDS: Final = 0.002
UDP_BYTES_MAX: Final = 1_232
ANSWER_TTL_SECONDS: Final = 60
EDE_OPTION: Final = 15  # RFC 8914
EDE_NAMES: Final = {4: "Forged Answer", 15: "Blocked", 16: "Censored"}


class Upstream:
    """A resolver on a loopback port of its own; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()
        self._thread.join(QUERY_TIMEOUT_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                data, client = self._socket.recvfrom(UDP_BYTES_MAX)
                if not data:
                    return
                self._socket.sendto(_reply(data), client)
            except DNSError:
                continue
            except OSError:
                return


def _reply(data: bytes) -> bytes:
    query = DNSRecord.parse(data)
    reply = query.reply()
    if query.header.opcode == OPCODE.QUERY and query.q.qtype == QTYPE.A:
        octet = hashlib.sha256(str(query.q.qname).lower().encode()).digest()[0] or 1
        address = A(f"192.0.2.{octet}")
        reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=address, ttl=ANSWER_TTL_SECONDS))
    packed: bytes = reply.pack()
    return packed


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one question, and how long it took."""

    record: DNSRecord
    milliseconds: float

    @property
    def is_blocked(self) -> bool:
        """Tell whether an order stands behind the answer (an EDE says so)."""
        return bool(self.extended_errors)

    @property
    def addresses(self) -> list[str]:
        """The addresses in the answer."""
        return [str(each.rdata) for each in self.record.rr]

    @property
    def extended_errors(self) -> list[tuple[int, str]]:
        """(info code, text) of each EDE option (RFC 8914 §2)."""
        found = []
        for extra in self.record.ar:
            for option in extra.rdata if extra.rtype == QTYPE.OPT else ():
                if option.code == EDE_OPTION:
                    (code,) = struct.unpack_from("!H", option.data)
                    found.append((code, option.data[2:].decode("utf-8", "replace")))
        return found

    def as_dig(self) -> str:
        """Return it as dig(1) would print it, in short."""
        header = self.record.header
        lines = [f";; status: {RCODE[header.rcode]}, {self.milliseconds:.1f} ms"]
        lines += [
            f";; EDE: {code} ({EDE_NAMES.get(code, '?')}): ({text})"
            for code, text in self.extended_errors
        ]
        lines.append(f";{self.record.q.qname}\tIN\t{QTYPE[self.record.q.qtype]}")
        lines += [
            f"{each.rname}\t{each.ttl}\tIN\t{QTYPE[each.rtype]}\t{each.rdata}"
            for each in (*self.record.rr, *self.record.auth)
        ]
        return "\n".join(lines)


def ask(port: int, name: str, qtype: str = "A") -> Answer:
    """Ask the gate at a loopback port, with EDNS.

    Raises:
        UnavailableError: no answer in time.
    """
    question = DNSRecord.question(name, qtype)
    question.add_ar(EDNS0(udp_len=UDP_BYTES_MAX))
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(QUERY_TIMEOUT_SECONDS)
        asking.connect(("127.0.0.1", port))
        asking.send(question.pack())
        try:
            while True:
                record = DNSRecord.parse(asking.recv(UDP_BYTES_MAX))
                if record.header.id == question.header.id:
                    return Answer(record, (time.monotonic() - began) * 1_000)
        except OSError as error:
            raise UnavailableError(
                f"nobody answers DNS at 127.0.0.1:{port}",
                advice="See the gate's log.",
            ) from error


class Watch:
    """Asks for one name again and again, to catch the moment when its answer changes."""

    def __init__(self, port: int, name: str, *, until_blocked: bool) -> None:
        self._port, self._name, self._until_blocked = port, name, until_blocked
        self._ended = threading.Event()
        self._changed_ms: int | None = None
        self.asked = 0
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(QUERY_TIMEOUT_SECONDS)

    def changed_ms(self, timeout_seconds: float) -> int:
        """Return the Unix time in milliseconds at which the first changed answer came.

        Raises:
            UnavailableError: the answer did not change in that time.
        """
        self._thread.join(timeout_seconds)
        if self._changed_ms is None:
            wanted = "blocked" if self._until_blocked else "released"
            raise UnavailableError(
                f"{self._name} was not {wanted} within {timeout_seconds} s",
                advice="See the logs of the node and the gate.",
            )
        return self._changed_ms

    def _run(self) -> None:
        while not self._ended.wait(WATCH_INTERVAL_SECONDS):
            try:
                answer = ask(self._port, self._name)
            except UnavailableError:
                continue
            self.asked += 1
            if answer.is_blocked == self._until_blocked:
                self._changed_ms = time.time_ns() // 1_000_000
                return
