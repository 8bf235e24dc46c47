"""Captures (pcap, pcapng), read with scapy: flows, exports of flows, and DNS messages in them.

Each packet is a flow of one packet: to join them would mean to keep who talks with whom. Exports
of flows that were captured on their way to a collector are decoded instead of counted. Packets
that are no IP, or cut within their headers, are counted.
"""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from enforcer.backends import durable
from enforcer.backends.flow_dns import read_message
from enforcer.backends.flow_exports import Counts, Exports
from enforcer.backends.flow_frames import PROTOCOL_UDP, Packet, knows, packet_of
from enforcer.core.flow import MARK_TCP_FLAGS, MARK_TIMED, Flow
from enforcer.errors import InputError, UnavailableError
from enforcer.ports import DnsMessage

if TYPE_CHECKING:
    from types import ModuleType

DNS_PORT: Final = 53
GZIP_MAGIC: Final = b"\x1f\x8b"
PCAP_HEADER_OCTETS: Final = 24
PCAP_RECORD_OCTETS: Final = 16
MAGICS: Final = frozenset(
    (
        b"\xa1\xb2\xc3\xd4",
        b"\xd4\xc3\xb2\xa1",
        b"\xa1\xb2\x3c\x4d",
        b"\x4d\x3c\xb2\xa1",
        b"\x0a\x0d\x0d\x0a",
        b"\x1f\x8b\x08\x00",
        b"\x1f\x8b\x08\x08",
    )
)
"""How captures begin, compressed ones included."""


@dataclass(frozen=True, slots=True)
class _Frame:
    data: bytes
    t_ms: int
    link: int
    is_cut: bool


class Capture:
    """One capture; what happened to its packets is in `counts`."""

    def __init__(self, path: Path, exports: Exports, export_ports: Collection[int]) -> None:
        """Read `path`; UDP packets to one of `export_ports` go to `exports`."""
        self.path = path
        self.counts: Counts = dict.fromkeys(
            ("packets", "packets_not_ip", "packets_cut", "links_unknown", "dns_unreadable", "cut"),
            0,
        )
        self._exports, self._ports = exports, frozenset(export_ports)

    def read(self) -> Iterator[bytes | DnsMessage]:
        """Yield packed flows, and DNS messages, as they stand in the capture.

        Raises:
            UnavailableError: it cannot be read, or scapy is not installed.
            InputError: it is no capture.
        """
        for frame in self._frames():
            self.counts["packets"] += 1
            if not knows(frame.link):
                self.counts["links_unknown"] += 1
                continue
            packet = packet_of(frame.data, frame.link)
            if packet is None:
                self.counts["packets_cut" if frame.is_cut else "packets_not_ip"] += 1
                continue
            is_udp = packet.protocol == PROTOCOL_UDP
            if is_udp and packet.target_port in self._ports:
                yield self._exports.datagram(packet.payload, packet.source)
                continue
            yield _flow_of(packet, frame.t_ms).pack()
            if DNS_PORT in (packet.source_port, packet.target_port):
                message = self._message(packet, frame)
                if message is not None:
                    yield message

    def _message(self, packet: Packet, frame: _Frame) -> DnsMessage | None:
        data = packet.payload
        if packet.protocol != PROTOCOL_UDP:
            # Over TCP only what stands alone in one segment is read (RFC 1035 §4.2.2).
            if len(data) < 2 or struct.unpack_from("!H", data)[0] != len(data) - 2:
                self.counts["dns_unreadable"] += bool(data)
                return None
            data = data[2:]
        message = read_message(data, frame.t_ms)
        if message is None:
            self.counts["dns_unreadable"] += 1
        return message

    def _frames(self) -> Iterator[_Frame]:
        scapy = _scapy()
        with ExitStack() as stack:
            stack.enter_context(durable.reporting(self.path, "read"))
            file = stack.enter_context(self.path.open("rb"))
            is_packed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            given = stack.enter_context(gzip.GzipFile(fileobj=file)) if is_packed else file
            try:
                reader = scapy.RawPcapReader(given)
            except (scapy.Scapy_Exception, EOFError, OSError, struct.error, ValueError) as error:
                raise InputError(
                    f"{self.path} is no capture that can be read",
                    advice="Give a pcap or pcapng file.",
                    path=str(self.path),
                ) from error
            octets = PCAP_HEADER_OCTETS
            try:
                for data, about in reader:
                    octets += PCAP_RECORD_OCTETS + getattr(about, "caplen", 0)
                    yield _frame(data, about, reader)
            except (scapy.Scapy_Exception, EOFError, struct.error, ValueError, zlib.error):
                self.counts["cut"] = 1
            # The reader stops without a word at a record that is cut.
            if hasattr(reader, "nano") and octets != given.tell():
                self.counts["cut"] = 1


def _frame(data: bytes, about: Any, reader: Any) -> _Frame:  # noqa: ANN401 - scapy has no types
    if hasattr(about, "sec"):
        t_ms = about.sec * 1000 + about.usec // (1_000_000 if reader.nano else 1000)
        return _Frame(data, t_ms, reader.linktype, len(data) < about.wirelen)
    ticks = ((about.tshigh or 0) << 32) | (about.tslow or 0)
    t_ms = ticks * 1000 // (about.tsresol or 1_000_000)
    return _Frame(data, t_ms, about.linktype, len(data) < about.wirelen)


def _flow_of(packet: Packet, t_ms: int) -> Flow:
    marks = MARK_TIMED | (MARK_TCP_FLAGS if packet.tcp_flags is not None else 0)
    return Flow(
        source=packet.source,
        target=packet.target,
        first_ms=t_ms,
        last_ms=t_ms,
        octets=packet.octets,
        packets=1,
        octets_back=0,
        packets_back=0,
        sampling=1,
        source_port=packet.source_port,
        target_port=packet.target_port,
        protocol=packet.protocol,
        tcp_flags=packet.tcp_flags or 0,
        tcp_flags_back=0,
        marks=marks,
    )


def _scapy() -> ModuleType:
    """Return scapy's readers; it is large, and only captures need it.

    Raises:
        UnavailableError: it is not installed.
    """
    logging.getLogger("scapy").setLevel(logging.CRITICAL)  # it tells of every cut packet
    try:
        from scapy import utils  # noqa: PLC0415 - a second to import, for captures alone
    except ImportError as error:
        raise UnavailableError(
            "captures are read with scapy, which is not installed",
            advice="Install it: pip install 'enforcer[captures]'.",
        ) from error
    module: ModuleType = utils
    return module
