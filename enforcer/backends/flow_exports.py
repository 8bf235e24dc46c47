"""Flow exports from a file or a UDP socket, bounded; and the index that flows are looked up in.

A file is a run of messages, as IPFIX has them (RFC 5655) and as a collector's dump of datagrams
comes out. Exporters are told apart by address, which is kept only beside their templates.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from enforcer._native.flow_targets import FlowTargets
from enforcer._native.flows import Decoder
from enforcer._native.list_lines import ListLines
from enforcer.backends import durable
from enforcer.core.flow import address_octets
from enforcer.core.network import plain_address
from enforcer.errors import UnavailableError
from enforcer.ports import FlowIndex, LineIndex

MESSAGE_OCTETS_MAX: Final = 65_535
CHUNK_OCTETS: Final = 1 << 20
RECEIVE_BUFFER_OCTETS: Final = 8 << 20
POLL_SECONDS: Final = 0.25

FILE_EXPORTER: Final = b"file"

Counts = dict[str, int]
"""What happened to an input, by names for people and programs."""


def new_index() -> FlowIndex:
    """Return an empty index."""
    return FlowTargets()


def new_lines() -> LineIndex:
    """Return an empty index of lines, under a secret of its own."""
    return ListLines(secrets.token_bytes(16))


class Exports:
    """What exporters send, decoded; one for all inputs of a check."""

    def __init__(self) -> None:
        self._decoder = Decoder()

    def datagram(self, data: bytes, exporter: bytes) -> bytes:
        """Return the flows of one datagram, packed; what follows its message is no part of it."""
        flows, _ = self._decoder.decode(data, exporter)
        return flows

    def file(self, path: Path) -> Iterator[bytes]:
        """Yield the flows of each message of a file.

        Raises:
            UnavailableError: it cannot be read.
        """
        with durable.reporting(path, "read"), path.open("rb") as file:
            rest, is_whole = b"", False
            while True:
                while not is_whole and len(rest) < MESSAGE_OCTETS_MAX:
                    more = file.read(CHUNK_OCTETS)
                    is_whole = not more
                    rest += more
                view, at = memoryview(rest), 0
                while at < len(rest) and (is_whole or len(rest) - at >= MESSAGE_OCTETS_MAX):
                    flows, octets = self._decoder.decode(view[at:], FILE_EXPORTER)
                    at += octets
                    yield flows
                if is_whole:
                    return
                rest = rest[at:]

    def listen(self, host: str, port: int, seconds: float, packets_max: int) -> Iterator[bytes]:
        """Yield the flows of each datagram that comes to an address, for so long or so many.

        Raises:
            UnavailableError: nothing can be received there.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as receiving:
            try:
                receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
                receiving.bind((host, port))
            except OSError as error:
                raise UnavailableError(
                    f"nothing can be received at {host} port {port}: {error.strerror}",
                    advice="Give an address of this machine, and a port that is free.",
                    host=host,
                    port=port,
                ) from error
            until, left = time.monotonic() + seconds, packets_max
            while left and (wait := until - time.monotonic()) > 0:
                receiving.settimeout(min(wait, POLL_SECONDS))
                try:
                    data, place = receiving.recvfrom(MESSAGE_OCTETS_MAX)
                except TimeoutError:
                    yield b""  # so that whoever reads can stop
                    continue
                left -= 1
                exporter = plain_address(ip_address(str(place[0]).partition("%")[0]))
                yield self.datagram(data, address_octets(exporter))

    def counts(self) -> Counts:
        """Return what was counted so far."""
        decoder = self._decoder
        return {
            "export_messages": decoder.messages,
            "templates": decoder.templates_seen,
            "templates_changed": decoder.templates_changed,
            "option_records": decoder.option_records,
            "records_without_address": decoder.other_records,
            "sets_without_template": decoder.sets_without_template,
            "gaps": decoder.gaps,
            **{f"export_{reason}": count for reason, count in decoder.malformed.items()},
        }
