"""A resolver that is asked from outside, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from enforcer.core.name import Name


class Transport(IntEnum):
    """How a resolver is asked."""

    UNSPECIFIED = 0
    UDP = 1
    TCP = 2


class Silence(IntEnum):
    """Why a question has no answer that can be read."""

    UNSPECIFIED = 0
    TIMEOUT = 1
    UNREACHABLE = 2
    """Nobody is there, or the connection was closed."""
    MALFORMED = 3


@dataclass(frozen=True, slots=True)
class DnsReply:
    """One answer to a query for addresses, as its asker got it; nothing in it is verified."""

    rcode: int
    is_truncated: bool
    has_answer: bool
    """Whether its answer section has a record."""
    addresses: tuple[str, ...]
    """Those of A records, in the message's order."""
    soa: tuple[str, str] | None
    """Owner and MNAME of the SOA in its authority section, in lower case, without final dots."""
    extended_errors: tuple[tuple[int, str], ...]
    """Info code and text of each (RFC 8914)."""


class ResolverUnderTest(Protocol):
    """A resolver that is asked from outside."""

    def ask(self, name: Name, transport: Transport) -> DnsReply | Silence:
        """Ask for the A records of a name, and wait for the answer within a bound."""
