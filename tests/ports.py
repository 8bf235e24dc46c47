"""Ports of the loopback address that stay a test's own while nobody listens at them."""

from __future__ import annotations

import socket
import weakref
from typing import Self

from enforcer.app.demo_stage import free_port  # noqa: TID251 - claimed below


def bound_pair() -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket at one port of the loopback address, which is theirs alone."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp.bind(udp.getsockname())
        except OSError:  # another's, over TCP
            udp.close()
            tcp.close()
        else:
            return udp, tcp


class HeldPort:
    """A port, for UDP and TCP: nobody else is given it, and what comes there is refused.

    Whoever sets SO_REUSEADDR can be bound there beside this, and gets everything.
    """

    def __init__(self) -> None:
        self._udp, self._tcp = bound_pair()
        self.place: tuple[str, int] = self._udp.getsockname()
        self._udp.connect(self.place)  # takes what it sends itself, and nothing else
        for each in (self._udp, self._tcp):  # not before: it must have been drawn alone
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it."""
        self._udp.close()
        self._tcp.close()


def held_port(owner: object) -> int:
    """Return a port that is held for as long as `owner` lives."""
    held = HeldPort()
    weakref.finalize(owner, held.close)
    return held.place[1]


_claims: list[socket.socket] = []
"""One name for each port that this process was given, in the kernel's abstract space (unix(7)).

Nobody is bound to a port before its program starts, nor while that is dead: without a name it
would be drawn again meanwhile. As ports are, names are a network namespace's own; they go with us.
"""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has on UDP or TCP, and no test is given again while we live."""
    ports: list[int] = []
    while len(ports) < count:
        port = free_port()
        if _is_claimed(port):
            ports.append(port)
    return sorted(ports)


def _is_claimed(port: int) -> bool:
    """Claim a port, and tell whether nobody had before."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0enforcer-tests/port/{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True
