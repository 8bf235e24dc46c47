"""A firewall that says what it would do, and touches no packet.

Everything is checked and remembered as a real one would, so an operator sees what orders would
mean here before anything is blocked. What it says names orders and counts, never an address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from enforcer.backends.memory_firewall import FirewallMemory, MemoryFirewall
from enforcer.core.firewall import Pieces
from enforcer.ports import Clock, FirewallChange, FirewallContent

Say: TypeAlias = Callable[[str], None]


class DryFirewall(MemoryFirewall):
    """:class:`enforcer.ports.Firewall` that is read as NONE, and says each change to `say`."""

    def __init__(self, clock: Clock, say: Say) -> None:
        super().__init__(FirewallMemory(), clock, packets_are_touched=False)
        self._say = say

    async def apply(self, change: FirewallChange, lease_seconds: int) -> None:
        """Say what the change would take out and bring."""
        await super().apply(change, lease_seconds)
        self._say(
            f"would take out {len(change.removed)} pieces and bring {len(change.added)}, "
            f"for {len(change.rows)} orders, with {len(change.protected)} protections"
        )

    async def replace(self, content: FirewallContent, lease_seconds: int) -> None:
        """Say what it would hold."""
        await super().replace(content, lease_seconds)
        self._say(
            f"would hold {len(content.pieces)} pieces of {len(content.rows)} orders, "
            f"with {len(content.protected)} protections"
        )

    async def cut(self, pieces: Pieces) -> int:
        """Say whose connections would end."""
        self._say(f"would end the connections to and from {len(pieces)} pieces")
        return await super().cut(pieces)
