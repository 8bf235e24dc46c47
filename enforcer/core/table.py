"""The rows that a table holds, and the digest that says which rows they were.

``table_digest`` is what nodes attest and auditors recompute: SHA-256 over canonical text,
never over file bytes, which differ by node. The text is part of the format and cannot
change without a new first line::

    enforcer-table v1
    origin <ledger origin>
    policy <entry index> <payload sha256>
    order <index> <order id> <version> <list sha256> <count> <dns> <ip> <binding> <from> <until>
    override <index> <line of the protected list>
    local <sha256 of the local layer's text>

with one ``order`` line for each order in force, ascending by entry index, each followed by its
``override`` lines, sorted, if it has any; LF after each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import Final

DIGEST_HEADER: Final = "enforcer-table v1"


class DnsMeasure(IntEnum):
    """What a blocked DNS query is answered with; NONE where an order has no names."""

    UNSPECIFIED = 0
    NONE = 1
    NEGATIVE = 2
    BLOCK_PAGE = 3


class IpMeasure(IntEnum):
    """What happens to packets of a blocked address; NONE where an order has no addresses."""

    UNSPECIFIED = 0
    NONE = 1
    REJECT = 2
    DROP = 3


class Binding(IntEnum):
    """Whether the ISP must obey (EDE 16 Censored) or is advised to (EDE 15 Blocked)."""

    UNSPECIFIED = 0
    BINDING = 1
    ADVISORY = 2


@dataclass(frozen=True)
class OrderRow:
    """One order as the table holds it; it is in force while ``from_ms <= t < until_ms``."""

    index: int
    """Ledger index of the OrderProposed entry; the earliest is the one that is named."""
    order_id: str
    version: int
    target_list_sha256: str
    target_count: int
    dns_measure: DnsMeasure
    ip_measure: IpMeasure
    binding: Binding
    from_ms: int
    until_ms: int
    overrides: tuple[str, ...] = field(default=(), compare=False)
    """Entries of the protected list that it goes beyond, sorted; a gate does not tell them back."""

    def is_in_force(self, t_ms: int) -> bool:
        """Tell whether the order is in force at `t_ms` (Unix time, milliseconds)."""
        return self.from_ms <= t_ms < self.until_ms

    @cached_property
    def line(self) -> str:
        """The row's canonical text, without LF."""
        return (
            f"order {self.index} {self.order_id} {self.version} {self.target_list_sha256} "
            f"{self.target_count} {self.dns_measure.name} {self.ip_measure.name} "
            f"{self.binding.name} {self.from_ms} {self.until_ms}"
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The row's line and those of its overrides, without LF."""
        return (self.line, *(f"override {self.index} {line}" for line in self.overrides))


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """The policy that a table was compiled under."""

    index: int
    payload_sha256: str


@dataclass(frozen=True, slots=True)
class LocalLayer:
    """What the operator decided on the own network alone; attested, outside the fold."""

    suspended: frozenset[int] = frozenset()
    """Entry indices of orders that the safety officer suspended here."""
    protected: bytes = b""
    """The operator's own protected names and prefixes, sorted lines as of a target list; prefixes
    may be of any length (may be empty)."""

    @property
    def digest(self) -> str:
        """SHA-256 in hex over ``suspend INDEX`` lines, ascending, then the list itself."""
        suspended = "".join(f"suspend {index}\n" for index in sorted(self.suspended))
        return sha256(suspended.encode("ascii") + self.protected).hexdigest()


NO_LOCAL_LAYER: Final = LocalLayer()


def table_digest(
    origin: str, policy: PolicyRef, in_force: Iterable[OrderRow], local: LocalLayer
) -> str:
    """Return the digest, in hex, of the rows in force; `in_force` may come in any order."""
    rows = [row for row in in_force if row.index not in local.suspended]
    return digest_beside(origin, policy, rows, local.digest)


def digest_beside(
    origin: str, policy: PolicyRef, in_force: Iterable[OrderRow], local_digest: str
) -> str:
    """Return the digest of rows beside a local layer of which no more is known than its own."""
    rows = sorted(in_force, key=lambda row: row.index)
    lines = [
        DIGEST_HEADER,
        f"origin {origin}",
        f"policy {policy.index} {policy.payload_sha256}",
        *(line for row in rows for line in row.lines),
        f"local {local_digest}",
    ]
    return sha256("".join(line + "\n" for line in lines).encode("utf-8")).hexdigest()
