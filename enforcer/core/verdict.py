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

Addresses likewise, the longest prefix first, by orders with an IP measure alone: `decide_flow`
for packets, `decide_address` for answers. Responses: ``core/response.py``. This is the oracle:
native code must agree with it on every input (law 9).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_network
from typing import Final, TypeAlias

from enforcer.core.name import Name
from enforcer.core.network import Address, Network, network_around, plain_address
from enforcer.core.table import DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import NAME_KINDS, Target, TargetKind, iterate

QTYPE_NS: Final = 2
QTYPE_SOA: Final = 6
QTYPE_DS: Final = 43
QTYPE_DNSKEY: Final = 48
QTYPES_OF_ZONES: Final = frozenset((QTYPE_NS, QTYPE_SOA, QTYPE_DS, QTYPE_DNSKEY))

ANSWERING: Final = frozenset((DnsMeasure.NEGATIVE, DnsMeasure.BLOCK_PAGE))
CUTTING: Final = frozenset((IpMeasure.REJECT, IpMeasure.DROP))


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
    PROTECTED_LOCAL = 5
    """The operator's own network: decides as the core does, here alone."""


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
        local: Iterable[Network] = (),
        overrides: Collection[tuple[int, Target]] = (),
    ) -> None:
        """Read `orders` with their list texts, and the two protections as list texts.

        `local` are the operator's own prefixes, of any length, which no flow rule may touch.
        `overrides` are the recorded ones: (order's entry index, target of the protected list).
        """
        self.core = {_key(target) for target in iterate(core)}
        self.local = sorted(local, key=lambda network: -network.prefixlen)
        self.matches: dict[Key, Match] = {}
        """What decides queries and the addresses in answers."""
        self.flows: dict[Key, Match] = {}
        """What decides packets: addresses and prefixes alone."""
        for target in iterate(protected):
            self.matches[_key(target)] = Match(is_protected=True)
            self.flows[_key(target)] = Match(is_protected=True)
        for row, text in sorted(orders, key=lambda pair: pair[0].index):
            answers, cuts = row.dns_measure in ANSWERING, row.ip_measure in CUTTING
            for target in iterate(text) if answers or cuts else ():
                is_name = target.kind in NAME_KINDS
                if answers and (is_name or cuts):
                    _stand(self.matches, row, target, overrides)
                if cuts and not is_name:
                    _stand(self.flows, row, target, overrides)

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
    shortest as SUBTREE names are, with the same rows; only orders with both measures count.
    """
    candidates = list(_networks_around(plain_address(address)))
    core = _core_verdict(rules, candidates)
    return core or _longest(rules.matches, candidates, t_ms, Denial.NODATA)


def decide_flow(rules: Rules, address: Address, t_ms: int) -> Verdict:
    """Decide packets to and from an address at time `t_ms`; the order's `ip_measure` says how.

    As `decide_address`, but that every order with an IP measure counts, whatever it says of
    DNS, and that the operator's own prefixes pass whatever a target inside them says.
    """
    plain = plain_address(address)
    candidates = list(_networks_around(plain))
    core = _core_verdict(rules, candidates)
    own = next((network for network in rules.local if plain in network), None)
    if core is None and own is not None:
        kind = TargetKind.IP if own.prefixlen == own.max_prefixlen else TargetKind.NET
        return Verdict(Action.PASS, Cause.PROTECTED_LOCAL, kind, network=own)
    return core or _longest(rules.flows, candidates, t_ms, Denial.NOT_BLOCKED)


def _core_verdict(rules: Rules, candidates: Iterable[tuple[TargetKind, Network]]) -> Verdict | None:
    for kind, network in candidates:
        if (kind, network) in rules.core:
            return Verdict(Action.PASS, Cause.PROTECTED_CORE, kind, network=network)
    return None


def _longest(
    matches: Mapping[Key, Match],
    candidates: Iterable[tuple[TargetKind, Network]],
    t_ms: int,
    denial: Denial,
) -> Verdict:
    for kind, network in candidates:
        match = matches.get((kind, network))
        if match is None:
            continue
        order = _first_in_force(match, t_ms)
        if order is not None:
            return Verdict(Action.BLOCK, Cause.ORDER, kind, None, order, denial, network)
        if match.is_protected:
            return Verdict(Action.PASS, Cause.PROTECTED_LIST, kind, network=network)
    return Verdict(Action.PASS, Cause.NO_MATCH)


def _stand(
    matches: dict[Key, Match],
    row: OrderRow,
    target: Target,
    overrides: Collection[tuple[int, Target]],
) -> None:
    match = matches.setdefault(_key(target), Match())
    match.orders.append(row)
    if (row.index, target) in overrides:
        match.overriding.add(row.index)


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
