"""The gate's sockets: bound ones for clients, connected ones for the resolvers behind it.

The supervisor makes the bound ones once, a set for each worker: who has dropped root could not
bind again. With several workers the kernel spreads clients over the sets (SO_REUSEPORT). A
wildcard is allowed, for workers learn where a query came to (IP_PKTINFO). An upstream socket is
connected: the kernel drops what comes from anyone else, and chose its port, which is, beside
the id, what a forger has to guess.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from enforcer._native.gate import SOCKETS_EACH_MAX
from enforcer.backends.gate_settings import Place
from enforcer.errors import InputError, UnavailableError

BUFFER_BYTES: Final = 4 << 20
"""What is asked for; the kernel gives at most net.core.rmem_max and wmem_max."""
BACKLOG_MAX: Final = 4_096
"""Streams that wait to be taken; the kernel gives at most net.core.somaxconn."""
UPSTREAM_SOCKETS: Final = SOCKETS_EACH_MAX
"""To each resolver: as many ports a forger has to guess among."""
BIND_SECONDS_MAX: Final = 3.0
"""Workers of a supervisor that was killed need up to two seconds to drain."""
PORT_DRAWS_MAX: Final = 16

# Linux's, which the socket module does not name. OMIT: never believe a path MTU that somebody
# sent us, and let no answer be cut into fragments smaller than the interface's own.
_IP_PKTINFO: Final = 8
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_OMIT: Final = 5

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ClientSockets:
    """Where one worker takes queries: UDP and TCP for each place, in the order of `listen`."""

    udp: tuple[socket.socket, ...]
    tcp: tuple[socket.socket, ...]

    @classmethod
    def of(cls, udp: Sequence[int], tcp: Sequence[int]) -> Self:
        """Return the sockets with these descriptors, which are theirs from now on."""
        return cls(
            tuple(socket.socket(fileno=fd) for fd in udp),
            tuple(socket.socket(fileno=fd) for fd in tcp),
        )

    @property
    def descriptors(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return those for UDP and those for TCP."""
        return (
            tuple(each.fileno() for each in self.udp),
            tuple(each.fileno() for each in self.tcp),
        )

    def close(self) -> None:
        """Close them here; a worker keeps its own."""
        for each in (*self.udp, *self.tcp):
            each.close()

    @property
    def places(self) -> list[Place]:
        """Where they are bound."""
        return [each.getsockname()[:2] for each in self.udp]


def bound_sockets(
    places: Sequence[Place], upstreams: Sequence[Place], workers: int
) -> list[ClientSockets]:
    """Return a set of sockets for each worker; port 0 becomes the same port for all of them.

    Raises:
        InputError: one is no address, or is an upstream itself.
        UnavailableError: one cannot be bound.
    """
    addresses = [listening_address(place, upstreams) for place in places]
    with ExitStack() as undoing:
        sets: list[tuple[list[socket.socket], list[socket.socket]]] = [
            ([], []) for _ in range(workers)
        ]
        for address, (host, port) in zip(addresses, places, strict=True):
            for udp, tcp in sets:
                pair = _bound_pair(address, host, port, is_shared=workers > 1)
                for each in pair:
                    undoing.enter_context(each)
                udp.append(pair[0])
                tcp.append(pair[1])
                port = pair[0].getsockname()[1]  # noqa: PLW2901 - the others share it
        undoing.pop_all()
        return [ClientSockets(tuple(udp), tuple(tcp)) for udp, tcp in sets]


def connected_sockets(upstream: Place, count: int) -> list[socket.socket]:
    """Return `count` sockets connected to `upstream`, each from a port of the kernel's choice.

    Raises:
        InputError: it is no address, or port 0.
        UnavailableError: there is no way to it.
    """
    address = upstream_address(upstream)
    with ExitStack() as undoing:
        made = [undoing.enter_context(_udp(address)) for _ in range(count)]
        try:
            for each in made:
                each.connect(upstream)
        except OSError as error:
            raise UnavailableError(
                f"no way to the upstream {upstream[0]} port {upstream[1]}: {error.strerror}",
                advice="Check the address and this host's routes.",
                field="upstreams",
            ) from error
        undoing.pop_all()
        return made


def listening_address(place: Place, upstreams: Sequence[Place]) -> Address:
    """Return the address of a place where clients can be served.

    Raises:
        InputError: it is no address, or is an upstream itself.
    """
    address = _address(place[0], "listen")
    if place in upstreams:
        raise InputError(
            f"the upstream {place[0]} port {place[1]} is the gate itself",
            advice="Let the resolver behind the gate listen elsewhere.",
            field="upstreams",
        )
    return address


def upstream_address(upstream: Place) -> Address:
    """Return the address of a resolver.

    Raises:
        InputError: it is no address, or port 0.
    """
    address = _address(upstream[0], "upstreams")
    if address.is_unspecified or upstream[1] == 0:
        raise InputError(
            f"{upstream[0]} port {upstream[1]} is nowhere to send queries to",
            advice="Name the address and port of a resolver behind the gate.",
            field="upstreams",
        )
    return address


def page_octets(ipv4: str | None, ipv6: str | None) -> tuple[bytes, bytes]:
    """Return the block page's addresses as octets, empty where there is none.

    Raises:
        InputError: one is no address of its family.
    """
    try:
        return (
            ipaddress.IPv4Address(ipv4).packed if ipv4 is not None else b"",
            ipaddress.IPv6Address(ipv6).packed if ipv6 is not None else b"",
        )
    except ValueError as error:
        raise InputError(
            f"the block page's address is wrong: {error}",
            advice="Give an IPv4 and an IPv6 address, or leave them out.",
            field="block_page",
        ) from error


def _bound_pair(
    address: Address, host: str, port: int, *, is_shared: bool
) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket on one port, drawing again while a drawn one is half taken."""
    for draws_left in reversed(range(PORT_DRAWS_MAX)):
        with ExitStack() as undoing:
            udp = undoing.enter_context(_udp(address, is_shared=is_shared))
            tcp = undoing.enter_context(_tcp(address, is_shared=is_shared))
            _set_pktinfo(udp, address)
            _bind(udp, host, port)
            try:
                _bind(tcp, host, udp.getsockname()[1])
            except UnavailableError:
                if port == 0 and draws_left:
                    continue
                raise
            tcp.listen(BACKLOG_MAX)
            undoing.pop_all()
            return udp, tcp
    raise AssertionError


def _bind(made: socket.socket, host: str, port: int) -> None:
    until_seconds = time.monotonic() + BIND_SECONDS_MAX
    while True:
        try:
            made.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port and time.monotonic() < until_seconds:
                time.sleep(0.05)
                continue
            kind = "TCP" if made.type == socket.SOCK_STREAM else "UDP"
            raise UnavailableError(
                f"cannot listen on {host} port {port} ({kind}): {error.strerror}",
                advice="Stop what listens there, or start as root for ports below 1024.",
                field="listen",
            ) from error
        return


def _address(text: str, key: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no IP address",
            advice=f"Write {key} as an address and a port; names are not looked up.",
            field=key,
        ) from error


def _udp(address: Address, *, is_shared: bool = False) -> socket.socket:
    made = _socket(address, socket.SOCK_DGRAM, is_shared=is_shared)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    if isinstance(address, ipaddress.IPv6Address):
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_OMIT)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_OMIT)
    return made


def _tcp(address: Address, *, is_shared: bool) -> socket.socket:
    made = _socket(address, socket.SOCK_STREAM, is_shared=is_shared)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT of the one before
    return made


def _socket(address: Address, kind: int, *, is_shared: bool) -> socket.socket:
    is_ipv6 = isinstance(address, ipaddress.IPv6Address)
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if is_shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if is_ipv6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def _set_pktinfo(made: socket.socket, address: Address) -> None:
    """Have each query say which address it came to, where that is not the socket's own."""
    if not address.is_unspecified:
        return
    if isinstance(address, ipaddress.IPv6Address):
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
