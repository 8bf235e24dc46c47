"""What decides a query: the one table of precedence, as one readable function.

1. The name matches a protected-core entry (EXACT at it; SUBTREE at it or a parent): pass.
2. The longest matching target wins: EXACT at the name, SUBTREE at it, SUBTREE at each parent.
   Protected-list names take part as pass rules; at the same target they lose only to an
   order with a recorded override. DS, DNSKEY, NS and SOA are not matched by an EXACT order,
   nor by a SUBTREE order with a pass rule inside: what passes below keeps validating.
3. Several orders at one target: the earliest in the ledger is named, while it is in force.
4. Nothing matches: pass.

This is the oracle: native code must agree with it on every input (law 9).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from enforcer.core.name import Name
from enforcer.core.table import DnsMeasure, OrderRow
from enforcer.core.target import Target, TargetKind, iterate

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
    """The name of the target or protected entry that decided; None where nothing matched."""
    order: OrderRow | None = None
    denial: Denial = Denial.NOT_BLOCKED


@dataclass(frozen=True, slots=True)
class Match:
    """What stands at one target: orders by ledger index, and whether a pass rule stands there."""

    orders: list[OrderRow] = field(default_factory=list)
    overriding: set[int] = field(default_factory=set)
    is_protected: bool = False


class Rules:
    """Everything that can decide a name, in plain dictionaries: for tests and single look-ups.

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
        self.core: set[tuple[TargetKind, Name]] = {key for _, key in _names(core)}
        self.matches: dict[tuple[TargetKind, Name], Match] = {}
        for _, key in _names(protected):
            self.matches[key] = Match(is_protected=True)
        for row, text in sorted(orders, key=lambda pair: pair[0].index):
            if row.dns_measure in (DnsMeasure.NEGATIVE, DnsMeasure.BLOCK_PAGE):
                for target, key in _names(text):
                    match = self.matches.setdefault(key, Match())
                    match.orders.append(row)
                    if (row.index, target) in overrides:
                        match.overriding.add(row.index)

    def has_pass_inside(self, zone: Name) -> bool:
        """Tell whether a pass rule stands at `zone` or anywhere below it."""
        return any(name.is_at_or_below(zone) for _, name in self.core) or any(
            match.is_protected and name.is_at_or_below(zone)
            for (_, name), match in self.matches.items()
        )


def decide(rules: Rules, qname: Name, qtype: int, t_ms: int) -> Verdict:
    """Decide one query of class IN at time `t_ms`; the docstring above is the table."""
    protecting = _protected_core(rules.core, qname)
    if protecting is not None:
        kind, zone = protecting
        return Verdict(Action.PASS, Cause.PROTECTED_CORE, kind, zone)

    candidates = [(TargetKind.EXACT, qname)]
    candidates += [(TargetKind.SUBTREE, zone) for zone in qname.ancestors()]
    for kind, zone in candidates:
        match = rules.matches.get((kind, zone))
        if match is None:
            continue
        denies_children = kind is TargetKind.SUBTREE and not rules.has_pass_inside(zone)
        order = None
        if denies_children or qtype not in QTYPES_OF_ZONES:
            order = _first_in_force(match, t_ms)
        if order is not None:
            denial = Denial.NXDOMAIN if denies_children else Denial.NODATA
            return Verdict(Action.BLOCK, Cause.ORDER, kind, zone, order, denial)
        if match.is_protected:
            return Verdict(Action.PASS, Cause.PROTECTED_LIST, kind, zone)
    return Verdict(Action.PASS, Cause.NO_MATCH)


def _protected_core(
    core: Collection[tuple[TargetKind, Name]], qname: Name
) -> tuple[TargetKind, Name] | None:
    if (TargetKind.EXACT, qname) in core:
        return TargetKind.EXACT, qname
    for zone in qname.ancestors():
        if (TargetKind.SUBTREE, zone) in core:
            return TargetKind.SUBTREE, zone
    return None


def _first_in_force(match: Match, t_ms: int) -> OrderRow | None:
    for order in match.orders:
        may_block = not match.is_protected or order.index in match.overriding
        if may_block and order.is_in_force(t_ms):
            return order
    return None


def _names(text: bytes) -> Iterable[tuple[Target, tuple[TargetKind, Name]]]:
    for target in iterate(text):
        if target.kind in (TargetKind.EXACT, TargetKind.SUBTREE):
            yield target, (target.kind, Name.from_text(target.value))
