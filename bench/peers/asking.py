"""One query at a time, to see that an answer is the right one; and when there is a first one."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable

from dnslib import QTYPE, RCODE, DNSHeader, DNSQuestion, DNSRecord

from bench.peers import HOST
from bench.peers.server import READY_SECONDS_MAX, Server

NXDOMAIN = RCODE.NXDOMAIN
TRIES = 5


def ask(name: str, port: int, timeout_seconds: float = 1.0) -> DNSRecord:
    """Ask for the A record of `name`.

    Raises:
        TimeoutError, ConnectionRefusedError: nothing has come.
    """
    header = DNSHeader(id=random.randrange(1 << 16), rd=1)
    query = DNSRecord(header, q=DNSQuestion(name, QTYPE.A))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((HOST, port))
        client.settimeout(timeout_seconds)
        client.send(query.pack())
        while True:
            answer = DNSRecord.parse(client.recv(4_096))
            if answer.header.id == query.header.id:
                return answer


def wait_until_blocked(server: Server, names: Iterable[str], started: float) -> float:
    """Return the seconds from `started` to when every name of a sample had a blocked answer.

    Raises:
        SystemExit: it ended, or some name was not blocked in time.
    """
    waiting = list(names)
    while time.monotonic() - started < READY_SECONDS_MAX:
        server.processes()
        while waiting and is_blocked(server, waiting[-1]):
            waiting.pop()
        if not waiting and server.is_loaded():
            return time.monotonic() - started
        time.sleep(0.002)
    raise SystemExit(f"{server.name} is not loaded:\n{server.said()}")


def is_blocked(server: Server, name: str) -> bool:
    """Tell whether a name is blocked now; no if nothing answers."""
    try:
        return bool(ask(name, server.port, 0.2).header.rcode == server.blocked_rcode)
    except (TimeoutError, ConnectionRefusedError):
        return False


def check_blocked(server: Server, names: Iterable[str]) -> None:
    """Raise SystemExit unless each name is blocked as the server blocks names."""
    for name in names:
        answer = asked(server, name)
        if answer.header.rcode != server.blocked_rcode or answer.rr:
            raise SystemExit(f"{server.name} does not block {name}:\n{answer}")


def check_passed(server: Server, names: Iterable[str]) -> None:
    """Raise SystemExit unless each name gets the address that the upstream gives it."""
    for name in names:
        answer = asked(server, name)
        if [str(each.rdata) for each in answer.rr] != [address_of(name)]:
            raise SystemExit(f"{server.name} answers {name} wrongly:\n{answer}")


def asked(server: Server, name: str) -> DNSRecord:
    for _ in range(TRIES):
        try:
            return ask(name, server.port)
        except TimeoutError:
            continue
    raise SystemExit(f"{server.name} gives no answer for {name}:\n{server.said()}")


def address_of(name: str) -> str:
    """Return the address that the upstream gives to `name`: see echo.c."""
    labels = name.lower().split(".")
    return f"192.0.2.{sum(sum(label.encode()) for label in labels) % 256}"
