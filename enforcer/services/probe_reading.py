"""What one answer of a resolver says about one order: blocked by it, by somebody else, or not.

An answer of ours names its order twice: in the text of an extended error (RFC 8914) and as the
MNAME of the SOA record, for those who get no extended errors. What names no order of this
ledger's register is not ours, whatever else it looks like. Nothing here asks anybody.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from typing import Final

from enforcer.ports import DnsReply, Silence

EDE_FORGED_ANSWER: Final = 4
EDE_BLOCKING: Final = frozenset((15, 16, 17, 18))
"""Blocked, Censored, Filtered, Prohibited (RFC 8914 §4.16 to §4.19)."""
RCODE_NOERROR: Final = 0
RCODE_NXDOMAIN: Final = 3

_ORDER_ID: Final = re.compile(r"[A-Z]{2}-[0-9]{4}-[0-9]{6}")


class Observation(IntEnum):
    """What an answer shows; only the first and the fourth say something about an order."""

    UNSPECIFIED = 0
    BLOCKED_BY_ORDER = 1
    BLOCKED_BY_OTHER = 2
    """Another order of the same register: this one may stand behind it."""
    BLOCKED_BY_THIRD = 3
    """Somebody blocks, and says nothing of this register."""
    RESOLVES = 4
    ABSENT = 5
    """No such name or data, and nobody says that it is blocked: it may really not exist."""
    FAILED = 6
    """SERVFAIL, REFUSED, or another error."""
    NO_ANSWER = 7


@dataclass(frozen=True, slots=True)
class Register:
    """What answers of ours name, from the policy that the roots signed."""

    url: str
    domain: str

    def orders_in(self, reply: DnsReply) -> frozenset[str]:
        """Return the ids of the orders that an answer names as its reason."""
        found = set()
        for code, text in reply.extended_errors:
            order_id = text.partition(" ")[0]
            if code in EDE_BLOCKING and text == f"{order_id} {self.url}{order_id}":
                found.add(order_id)
        if reply.soa is not None:
            order_id = reply.soa[1].removesuffix(f".{self.domain}").upper()
            if reply.soa[1].endswith(f".{self.domain}"):
                found.add(order_id)
        return frozenset(each for each in found if _ORDER_ID.fullmatch(each))


def observe(
    reply: DnsReply | Silence,
    order_id: str | None,
    register: Register,
    block_pages: Collection[str] = (),
) -> Observation:
    """Read one answer as evidence about the order `order_id`; None for a name of no order."""
    if isinstance(reply, Silence):
        return Observation.NO_ANSWER
    ours = register.orders_in(reply)
    if order_id in ours:
        return Observation.BLOCKED_BY_ORDER
    if ours:
        return Observation.BLOCKED_BY_OTHER
    codes = {code for code, _ in reply.extended_errors}
    if codes & EDE_BLOCKING or EDE_FORGED_ANSWER in codes:
        return Observation.BLOCKED_BY_THIRD
    if reply.rcode not in (RCODE_NOERROR, RCODE_NXDOMAIN):
        return Observation.FAILED
    if reply.addresses and all(_leads_nowhere(each, block_pages) for each in reply.addresses):
        return Observation.BLOCKED_BY_THIRD
    if reply.rcode == RCODE_NXDOMAIN or not reply.has_answer:
        return Observation.NO_ANSWER if reply.is_truncated else Observation.ABSENT
    return Observation.RESOLVES


def words(reply: DnsReply | Silence) -> str:
    """Return an answer for people, on one line."""
    if isinstance(reply, Silence):
        return reply.name
    parts = [_RCODES.get(reply.rcode, f"RCODE {reply.rcode}")]
    parts += [f"EDE {code} {text!r}" for code, text in reply.extended_errors]
    if reply.soa is not None:
        parts.append(f"SOA {reply.soa[0]} MNAME {reply.soa[1]}")
    parts += reply.addresses
    return ", ".join(parts)


def _leads_nowhere(address: str, block_pages: Collection[str]) -> bool:
    """Tell whether an address is a known block page, or one that no public name has."""
    parsed = ip_address(address)
    return address in block_pages or parsed.is_unspecified or parsed.is_loopback


_RCODES: Final = {
    0: "NOERROR",
    1: "FORMERR",
    2: "SERVFAIL",
    3: "NXDOMAIN",
    4: "NOTIMP",
    5: "REFUSED",
}
