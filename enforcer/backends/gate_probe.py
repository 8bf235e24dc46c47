"""Real queries to a gate from its own host: as a client sends them, over UDP.

Owns their octets and the sockets. They are let in whoever else is (GateSettings.clients), and say
with a PROXY header that nobody stands behind them where only proxies may ask.
"""

from __future__ import annotations

import ipaddress
import secrets
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from enforcer.backends.gate_settings import Place, network_of
from enforcer.core.name import Name
from enforcer.errors import UnavailableError

EDNS_OCTETS: Final = 1_232
TYPE_OPT: Final = 41
TRY_SECONDS: Final = 0.7

_RECURSION_DESIRED: Final = 0x0100
_CLASS_IN: Final = 1
_PROXY_LOCAL: Final = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"  # PROXY protocol v2, command LOCAL


def probe_socket(place: Place) -> socket.socket:
    """Return a UDP socket connected to a place of the gate's own; a wildcard is the loopback."""
    host = place[0]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.connect((host, place[1]))
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def proxy_prefix(probe: socket.socket, proxy_from: Sequence[str]) -> bytes:
    """Return what a query from the probe's own address has to begin with."""
    address = ipaddress.ip_address(probe.getsockname()[0])
    is_proxy = any(address in network_of(each, "proxy_from") for each in proxy_from)
    return _PROXY_LOCAL if is_proxy else b""


def question(name: Name, qtype: int, qid: int) -> bytes:
    """Return a query of class IN with EDNS (RFC 6891 §6.1.2)."""
    header = struct.pack("!6H", qid, _RECURSION_DESIRED, 1, 0, 0, 1)
    opt = struct.pack("!BHHIH", 0, TYPE_OPT, EDNS_OCTETS, 0, 0)
    return header + name.wire + struct.pack("!2H", qtype, _CLASS_IN) + opt


def rcode_of(
    place: Place, name: Name, qtype: int, seconds_max: float, proxy_from: Sequence[str]
) -> tuple[int, float]:
    """Ask the gate at `place`, again each 0.7 s; return the answer's code, and how many ms it took.

    Raises:
        UnavailableError: no answer came in time.
    """
    qid = secrets.randbelow(1 << 16)
    try:
        with probe_socket(place) as probe:
            wire = proxy_prefix(probe, proxy_from) + question(name, qtype, qid)
            start_seconds = time.monotonic()
            while (left_seconds := start_seconds + seconds_max - time.monotonic()) > 0:
                with suppress(OSError):  # a refusal of the query before: nobody listens there
                    probe.send(wire)
                if not select.select([probe], [], [], min(TRY_SECONDS, left_seconds))[0]:
                    continue
                with suppress(OSError):
                    answer = probe.recv(65_535)
                    if len(answer) >= 12 and answer[:2] == qid.to_bytes(2, "big"):
                        return answer[3] & 0x0F, (time.monotonic() - start_seconds) * 1_000
    except OSError as error:
        raise _silent(place, error.strerror or str(error)) from error
    raise _silent(place, f"nothing came within {seconds_max:g} s")


def _silent(place: Place, why: str) -> UnavailableError:
    return UnavailableError(
        f"the gate does not answer queries at {place[0]} port {place[1]}: {why}",
        advice="See its log, and whether a packet filter is in the way.",
    )
