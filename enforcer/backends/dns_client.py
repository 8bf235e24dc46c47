"""Asking a resolver at an address, over UDP or TCP, one question at a time (dnslib).

A stub resolver's query: RD, EDNS, no DO. Takes only what comes from the address that was asked,
with the id and the question of the query; anything else is as if it had not come. Bounded in
octets and time. Never looks up where the system would ask.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from typing import Final

from dnslib import EDNS0, QTYPE, DNSError, DNSHeader, DNSQuestion, DNSRecord
from dnslib.buffer import BufferError as DnsBufferError
from dnslib.label import DNSLabel

from enforcer.core.name import Name
from enforcer.errors import InputError
from enforcer.ports import DnsReply, Silence, Transport

UDP_OCTETS_MAX: Final = 1_232
MESSAGE_OCTETS_MAX: Final = 65_535
UDP_TRIES: Final = 2

UNREADABLE: Final = (
    DNSError,
    DnsBufferError,
    InputError,
    ValueError,
    LookupError,
    AttributeError,
    struct.error,
)
"""What dnslib raises at a message that is malformed."""

_EDE: Final = 15  # RFC 8914 §2


class Resolver:
    """The resolver at an address and port."""

    def __init__(self, host: str, port: int, timeout_ms: int) -> None:
        """Wait `timeout_ms` for each answer; over UDP each question is sent twice at most."""
        self._place = (host, port)
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._timeout_seconds = timeout_ms / 1_000

    def ask(self, name: Name, transport: Transport) -> DnsReply | Silence:
        """Ask for the A records of a name."""
        identity = secrets.randbelow(1 << 16)
        query = _query(name, identity)
        reply: DnsReply | Silence = Silence.TIMEOUT
        try:
            if transport is Transport.TCP:
                return self._ask_tcp(name, query)
            for _ in range(UDP_TRIES):
                reply = self._ask_udp(name, query)
                if reply is not Silence.TIMEOUT:
                    break
        except TimeoutError:
            return Silence.TIMEOUT
        except OSError:
            return Silence.UNREACHABLE
        return reply

    def _ask_udp(self, name: Name, query: bytes) -> DnsReply | Silence:
        until = time.monotonic() + self._timeout_seconds
        is_malformed = False
        with socket.socket(self._family, socket.SOCK_DGRAM) as asking:
            asking.connect(self._place)
            asking.send(query)
            while (left_seconds := until - time.monotonic()) > 0:
                asking.settimeout(left_seconds)
                try:
                    data = asking.recv(MESSAGE_OCTETS_MAX)
                except TimeoutError:
                    break
                if data[:2] == query[:2]:
                    reply = _read(data, name)
                    if isinstance(reply, DnsReply):
                        return reply
                    is_malformed = True
        return Silence.MALFORMED if is_malformed else Silence.TIMEOUT

    def _ask_tcp(self, name: Name, query: bytes) -> DnsReply | Silence:
        until = time.monotonic() + self._timeout_seconds
        with socket.socket(self._family, socket.SOCK_STREAM) as asking:
            asking.settimeout(self._timeout_seconds)
            asking.connect(self._place)
            asking.sendall(struct.pack("!H", len(query)) + query)
            (length,) = struct.unpack("!H", _receive(asking, 2, until))
            data = _receive(asking, length, until)
        return _read(data, name) if data[:2] == query[:2] else Silence.MALFORMED


def _receive(asking: socket.socket, count: int, until: float) -> bytes:
    """Return exactly `count` octets of a stream (RFC 7766 §8)."""
    data = b""
    while len(data) < count:
        left_seconds = until - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError
        asking.settimeout(left_seconds)
        part = asking.recv(count - len(data))
        if not part:
            raise ConnectionError("the stream ended")
        data += part
    return data


def _query(name: Name, identity: int) -> bytes:
    question = DNSRecord(
        DNSHeader(id=identity, rd=1), q=DNSQuestion(DNSLabel(list(name.labels)), QTYPE.A)
    )
    question.add_ar(EDNS0(udp_len=UDP_OCTETS_MAX))
    packed: bytes = question.pack()
    return packed


def _read(data: bytes, name: Name) -> DnsReply | Silence:
    """Read a message as the answer to the question for `name`."""
    try:
        message = DNSRecord.parse(data)
        questions = [Name.from_text(str(each.qname)) for each in message.questions]
        if not message.header.qr or (questions and questions != [name]):
            return Silence.MALFORMED
        return reply_of(message)
    except UNREADABLE:
        return Silence.MALFORMED


def reply_of(message: DNSRecord) -> DnsReply:
    """Return what a response says.

    Raises:
        DNSError, ValueError, LookupError: it is malformed in what dnslib reads late (`UNREADABLE`).
    """
    return DnsReply(
        rcode=int(message.header.rcode),
        is_truncated=bool(message.header.tc),
        has_answer=bool(message.rr),
        addresses=tuple(str(each.rdata) for each in message.rr if each.rtype == QTYPE.A),
        soa=_soa(message),
        extended_errors=_extended_errors(message),
    )


def _soa(message: DNSRecord) -> tuple[str, str] | None:
    for record in message.auth:
        if record.rtype == QTYPE.SOA:
            owner, mname = str(record.rname), str(record.rdata.mname)
            return owner.lower().rstrip("."), mname.lower().rstrip(".")
    return None


def _extended_errors(message: DNSRecord) -> tuple[tuple[int, str], ...]:
    found = []
    for record in message.ar:
        for option in record.rdata if record.rtype == QTYPE.OPT else ():
            if option.code == _EDE and len(option.data) >= 2:
                (code,) = struct.unpack_from("!H", option.data)
                found.append((code, option.data[2:].decode("utf-8", "replace").rstrip("\0")))
    return tuple(found)
