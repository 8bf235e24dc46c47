"""Traffic that somebody saw, and which lists it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from enforcer.core.name import Name
from enforcer.core.network import Address
from enforcer.ports.resolver import DnsReply


@dataclass(frozen=True, slots=True)
class DnsMessage:
    """One DNS message that was seen, of class IN, as far as it can decide anything."""

    t_ms: int
    qname: Name
    qtype: int
    octets: int
    reply: DnsReply | None = None
    """None for a query."""
    links: tuple[Name, ...] = ()
    """The names that a response leads to, as `core.response` takes them."""
    addresses: tuple[Address, ...] = ()


class Octets(Protocol):
    """Anything whose octets can be read in place, such as bytes or a mapped file."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the octets."""


class FlowIndex(Protocol):
    """Which of many lists the ends of flows are in; made once, then asked."""

    def add(self, owner: int, text: Octets) -> None:
        """Take in the addresses and prefixes of a canonical list under an owner's number.

        Raises:
            ValueError: something was asked already.
        """

    def match(self, flows: Octets) -> list[tuple[int, int, int, int]]:
        """Return (number of the flow, 1 source or 2 target, owner, prefix length of 128 bits).

        Only of flows that some list has an end of; the longest prefix of an end comes first.
        """


class LineIndex(Protocol):
    """Which of many lists may have a line; made once, then asked."""

    def add(self, owner: int, text: Octets) -> None:
        """Take in all lines of a canonical list under an owner's number.

        Raises:
            ValueError: something was asked already.
        """

    def find(self, line: bytes) -> list[int]:
        """Return the owners whose lists may have the line, and all that have it; ascending."""
