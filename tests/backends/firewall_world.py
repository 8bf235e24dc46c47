"""Firewalls with packets to send: the twin, which judges them itself."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Self

from enforcer.backends.memory_firewall import FirewallMemory, MemoryFirewall
from enforcer.core.firewall import Pieces, pack_pieces
from enforcer.core.table import IpMeasure

CLIENT = {4: ip_address("203.0.113.1"), 6: ip_address("2001:db8:ffff::1")}


def nets(*targets: tuple[str, int]) -> Pieces:
    """Return pieces of prefixes with their rows."""
    return pack_pieces((ip_network(text), row) for text, row in targets)


class SteppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


class MemoryWorld:
    """The twin, and packets of a client that its box forwards."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.firewall = MemoryFirewall(FirewallMemory(), self.clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.firewall.close()

    def another(self) -> MemoryFirewall:
        """Return another process's way to the same firewall."""
        return MemoryFirewall(self.firewall.memory, self.clock)

    async def sent_to(self, address: str) -> IpMeasure:
        """Return what happens to a packet from the client."""
        there = ip_address(address)
        return self.firewall.judge(CLIENT[there.version], there)

    async def sent_from(self, address: str) -> IpMeasure:
        """Return what happens to a packet to the client."""
        there = ip_address(address)
        return self.firewall.judge(there, CLIENT[there.version])

    async def pass_seconds(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.ms += int(seconds * 1_000)
