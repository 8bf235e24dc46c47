"""The gate's UDP sockets: bound ones for clients, connected ones for the resolver behind it.

A client's socket is bound to one address, so its answers leave from where the query came to.
An upstream socket is connected: the kernel drops what comes from anyone else, and chose its
port, which is, beside the id, what a forger has to guess.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, TypeAlias

from enforcer.errors import InputError, UnavailableError

BUFFER_BYTES: Final = 4 << 20
"""What is asked for; the kernel gives at most net.core.rmem_max and wmem_max."""

# Linux's, which the socket module does not name. OMIT: never believe a path MTU that somebody
# sent us, and let no answer be cut into fragments smaller than the interface's own.
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_OMIT: Final = 5

Place: TypeAlias = tuple[str, int]
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def bound_sockets(places: Sequence[Place], upstream: Place) -> list[socket.socket]:
    """Return a socket bound to each of `places`.

    Raises:
        InputError: one is no address, a wildcard, or the upstream itself.
        UnavailableError: one cannot be bound.
    """
    with ExitStack() as undoing:
        made: list[socket.socket] = []
        for place in places:
            made.append(undoing.enter_context(_socket(_listening(place, upstream))))
            try:
                made[-1].bind(place)
            except OSError as error:
                raise UnavailableError(
                    f"cannot listen on {place[0]} port {place[1]}: {error.strerror}",
                    advice="Stop what listens there, or start as root for ports below 1024.",
                    field="listen",
                ) from error
        undoing.pop_all()
        return made


def connected_sockets(upstream: Place, count: int) -> list[socket.socket]:
    """Return `count` sockets connected to `upstream`, each from a port of the kernel's choice.

    Raises:
        InputError: it is no address, or port 0.
        UnavailableError: there is no way to it.
    """
    address = _address(upstream[0], "upstream")
    if address.is_unspecified or upstream[1] == 0:
        raise InputError(
            f"{upstream[0]} port {upstream[1]} is nowhere to send queries to",
            advice="Name the address and port of the resolver behind the gate.",
            field="upstream",
        )
    with ExitStack() as undoing:
        made = [undoing.enter_context(_socket(address)) for _ in range(count)]
        try:
            for each in made:
                each.connect(upstream)
        except OSError as error:
            raise UnavailableError(
                f"no way to the upstream {upstream[0]} port {upstream[1]}: {error.strerror}",
                advice="Check the address and this host's routes.",
                field="upstream",
            ) from error
        undoing.pop_all()
        return made


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


def _listening(place: Place, upstream: Place) -> Address:
    """Return the address of a place where clients can be served."""
    address = _address(place[0], "listen")
    if address.is_unspecified:
        raise InputError(
            f"cannot listen on {place[0]}: an answer must leave from the address that was asked",
            advice="List each of this host's own addresses in listen.",
            field="listen",
        )
    if place == upstream:
        raise InputError(
            f"the upstream {place[0]} port {place[1]} is the gate itself",
            advice="Let the resolver behind the gate listen elsewhere.",
            field="upstream",
        )
    return address


def _address(text: str, key: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no IP address",
            advice=f"Write {key} as an address and a port; names are not looked up.",
            field=key,
        ) from error


def _socket(address: Address) -> socket.socket:
    is_ipv6 = isinstance(address, ipaddress.IPv6Address)
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    if is_ipv6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_OMIT)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_OMIT)
    return made
