"""What decides a query: the one table of precedence, as one readable function.

1. The name matches a protected-core entry (EXACT at it; SUBTREE at it or a parent): pass.
2. The longest matching target wins: EXACT at the name, SUBTREE at it, SUBTREE at each parent.
   Protected-list names take part as pass rules; at the same target they lose only to an
   order with a recorded override. DS, DNSKEY, NS and SOA are not matched by an EXACT order,
   nor by a SUBTREE order with a pass rule inside: what passes below keeps validating. DS is
   not matched at a SUBTREE order's own name either: it is the parent zone's (RFC 4035 §2.4),
   and tells validators whether the zone that is denied has signatures.
3. Several orders at one target: the earliest in the ledger is named, while it is in force.
4. Nothing matches: pass.

Addresses likewise, the longest prefix first; responses: ``core/response.py``. This is the
oracle: native code must agree with it on every input (law 9).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_network
from typing import Final, TypeAlias

from enforcer.core.name import Name
from enforcer.core.network import Address, Network, network_around, plain_address
from enforcer.core.table import DnsMeasure, OrderRow
from enforcer.core.target import NAME_KINDS, Target, TargetKind, iterate

QTYPE_NS: Final = 2
QTYPE_SOA: Final = 6
QTYPE_DS: Final = 43
QTYPE_DNSKEY: Final = 48
QTYPES_OF_ZONES: Final = frozenset((QTYPE_NS, QTYPE_SOA, QTYPE_DS, QTYPE_DNSKEY))


class Action(IntEnum):
    """What happens to the query."""

    UNSPECIFIED = 0
    PASS = 1
    BLOCK = 2


class Cause(IntEnum):
    """Which row of the precedence table decided."""

    UNSPECIFIED = 0
    PROTECTED_CORE = 1
    PROTECTED_LIST = 2
    ORDER = 3
    NO_MATCH = 4


class Denial(IntEnum):
    """How a negative answer denies: NXDOMAIN says that nothing below exists (RFC 8020)."""

    UNSPECIFIED = 0
    NOT_BLOCKED = 1
    NODATA = 2
    NXDOMAIN = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided and why; ``order`` and ``denial`` matter only when blocked."""

    action: Action
    cause: Cause
    kind: TargetKind = TargetKind.UNSPECIFIED
    zone: Name | None = None
    """The name of the target or protected entry that decided; None where none did."""
    order: OrderRow | None = None
    denial: Denial = Denial.NOT_BLOCKED
    network: Network | None = None
    """The address or prefix that decided; None where none did."""


@dataclass(frozen=True, slots=True)
class Match:
    """What stands at one target: orders by ledger index, and whether a pass rule stands there."""

    orders: list[OrderRow] = field(default_factory=list)
    overriding: set[int] = field(default_factory=set)
    is_protected: bool = False


Key: TypeAlias = tuple[TargetKind, Name | Network]


class Rules:
    """Everything that can decide, in plain dictionaries: for tests and single look-ups.

    A node's million names are in the compiled table instead, which must agree with this.
    """

    def __init__(
        self,
        orders: Iterable[tuple[OrderRow, bytes]] = (),
        *,
        core: bytes = b"",
        protected: bytes = b"",
        overrides: Collection[tuple[int, Target]] = (),
    ) -> None:
        """Read `orders` with their list texts, and the two protections as list texts.

        `overrides` are the recorded ones: (order's entry index, target of the protected list).
        """
        self.core = {_key(target) for target in iterate(core)}
        self.matches: dict[Key, Match] = {}
        for target in iterate(protected):
            self.matches[_key(target)] = Match(is_protected=True)
        for row, text in sorted(orders, key=lambda pair: pair[0].index):
            if row.dns_measure in (DnsMeasure.NEGATIVE, DnsMeasure.BLOCK_PAGE):
                for target in iterate(text):
                    match = self.matches.setdefault(_key(target), Match())
                    match.orders.append(row)
                    if (row.index, target) in overrides:
                        match.overriding.add(row.index)

    def has_pass_inside(self, zone: Name) -> bool:
        """Tell whether a pass rule stands at `zone` or anywhere below it."""
        passing = {key for key, match in self.matches.items() if match.is_protected}
        return any(
            isinstance(place, Name) and place.is_at_or_below(zone)
            for _, place in self.core | passing
        )


def decide(rules: Rules, qname: Name, qtype: int, t_ms: int) -> Verdict:
    """Decide one query of class IN at time `t_ms`; the docstring above is the table."""
    candidates: list[tuple[TargetKind, Name]] = [(TargetKind.EXACT, qname)]
    candidates += [(TargetKind.SUBTREE, zone) for zone in qname.ancestors()]
    for kind, zone in candidates:
        if (kind, zone) in rules.core:
            return Verdict(Action.PASS, Cause.PROTECTED_CORE, kind, zone)

    for kind, zone in candidates:
        match = rules.matches.get((kind, zone))
        if match is None:
            continue
        denies_children = kind is TargetKind.SUBTREE and not rules.has_pass_inside(zone)
        is_of_parent = zone == qname and qtype == QTYPE_DS
        order = None
        if qtype not in QTYPES_OF_ZONES or (denies_children and not is_of_parent):
            order = _first_in_force(match, t_ms)
        if order is not None:
            denial = Denial.NXDOMAIN if denies_children else Denial.NODATA
            return Verdict(Action.BLOCK, Cause.ORDER, kind, zone, order, denial)
        if match.is_protected:
            return Verdict(Action.PASS, Cause.PROTECTED_LIST, kind, zone)
    return Verdict(Action.PASS, Cause.NO_MATCH)


def decide_address(rules: Rules, address: Address, t_ms: int) -> Verdict:
    """Decide one address of an answer at time `t_ms`; a blocked one leaves the name without it.

    An IPv4-mapped IPv6 address is the IPv4 address. Prefixes are tried from the longest to the
    shortest as SUBTREE names are, with the same rows; only orders with a DNS measure count.
    """
    candidates = list(_networks_around(plain_address(address)))
    for kind, network in candidates:
        if (kind, network) in rules.core:
            return Verdict(Action.PASS, Cause.PROTECTED_CORE, kind, network=network)

    for kind, network in candidates:
        match = rules.matches.get((kind, network))
        if match is None:
            continue
        order = _first_in_force(match, t_ms)
        if order is not None:
            return Verdict(
                Action.BLOCK, Cause.ORDER, kind, None, order, Denial.NODATA, network=network
            )
        if match.is_protected:
            return Verdict(Action.PASS, Cause.PROTECTED_LIST, kind, network=network)
    return Verdict(Action.PASS, Cause.NO_MATCH)


def _first_in_force(match: Match, t_ms: int) -> OrderRow | None:
    for order in match.orders:
        may_block = not match.is_protected or order.index in match.overriding
        if may_block and order.is_in_force(t_ms):
            return order
    return None


def _networks_around(address: Address) -> Iterator[tuple[TargetKind, Network]]:
    yield TargetKind.IP, network_around(address, address.max_prefixlen)
    for length in range(address.max_prefixlen - 1, 0, -1):
        yield TargetKind.NET, network_around(address, length)


def _key(target: Target) -> Key:
    if target.kind in NAME_KINDS:
        return target.kind, Name.from_text(target.value)
    return target.kind, ip_network(target.value)
