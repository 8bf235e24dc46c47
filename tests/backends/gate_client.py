"""Who asks a gate: queries, over UDP and over streams, and what a proxy puts before them."""

import socket
import struct
from ipaddress import ip_address

from dnslib import EDNS0, DNSHeader, DNSRecord

from tests.waiting import WAIT_SECONDS

NXDOMAIN, NODATA, SERVFAIL = 3, 0, 2
PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def query(
    name: str = "www.blocked.example",
    qtype: int = 1,
    *,
    qid: int = 0x4711,
    edns: int | None = 1232,
    qclass: int = 1,
    flags: int = 0x0100,
    dnssec_ok: bool = False,
) -> bytes:
    record = DNSRecord(DNSHeader(id=qid, bitmap=flags))
    record.add_question(DNSRecord.question(name, qtype="A").q)
    record.q.qtype, record.q.qclass = qtype, qclass
    if edns is not None:
        record.add_ar(EDNS0(udp_len=edns, flags="do" if dnssec_ok else ""))
    return record.pack()


def framed(*wires: bytes) -> bytes:
    """Return messages as a stream carries them (RFC 1035 §4.2.2)."""
    return b"".join(struct.pack("!H", len(wire)) + wire for wire in wires)


def reset(stream: socket.socket) -> None:
    """Close a stream so that its peer hears of an error (RST)."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def proxy_head(
    client: tuple[str, int], local: tuple[str, int], *, is_stream: bool = False
) -> bytes:
    """Return the PROXY protocol's header, version 2, that says `client` asked `local`."""
    one, other = ip_address(client[0]), ip_address(local[0])
    family = (0x10 if one.version == 4 else 0x20) | (0x01 if is_stream else 0x02)
    body = one.packed + other.packed + struct.pack("!HH", client[1], local[1])
    return PROXY_SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body


def without_head(octets: bytes) -> tuple[bytes, bytes]:
    """Part a PROXY header, if there is one, from what is behind it."""
    if not octets.startswith(PROXY_SIGNATURE):
        return b"", octets
    length = 16 + struct.unpack("!H", octets[14:16])[0]
    return octets[:length], octets[length:]


class Asking:
    """A client of the gate with one socket."""

    def __init__(self, place: tuple[str, int], source: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(place)
        self.socket.settimeout(WAIT_SECONDS)

    def close(self) -> None:
        self.socket.close()

    def send(self, wire: bytes) -> None:
        self.socket.send(wire)

    def receive(self) -> bytes:
        return self.socket.recv(65_535)

    def ask(self, wire: bytes) -> bytes:
        self.send(wire)
        return self.receive()

    def is_silent(self) -> bool:
        """Tell whether nothing has come; a later query must have been answered before."""
        self.socket.settimeout(0.0)
        try:
            self.socket.recv(65_535)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(WAIT_SECONDS)
        return False


class AskingStream:
    """A client of the gate over TCP."""

    def __init__(
        self, place: tuple[str, int], source: str | None = None, *, receive_octets: int = 0
    ) -> None:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_octets:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.connect(place)
        self._came = bytearray()

    def close(self) -> None:
        self.socket.close()

    def send(self, *wires: bytes) -> None:
        self.socket.sendall(framed(*wires))

    def receive(self) -> bytes:
        """Return the next message, or b"" when the gate has hung up."""
        while len(self._came) < 2 or len(self._came) < 2 + int.from_bytes(self._came[:2]):
            try:
                more = self.socket.recv(65_535)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self._came
                return b""
            self._came += more
        length = 2 + int.from_bytes(self._came[:2])
        wire = bytes(self._came[2:length])
        del self._came[:length]
        return wire

    def ask(self, wire: bytes) -> bytes:
        self.send(wire)
        return self.receive()
