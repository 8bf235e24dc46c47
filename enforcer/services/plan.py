"""What a node should enforce now: a pure function of its state, its time and what it has at hand.

Orders whose list is missing here are left out and listed, unless the gate holds them already;
others go on. Without the names that the policy protects nothing new is blocked: what the gate
holds may stay, and stops are obeyed all the same. What this node cannot carry out as it was
ordered is left out and listed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

from enforcer.core.attestation import (
    OMISSIONS_MAX,
    GateState,
    NotEnforced,
    Omission,
    Resumption,
    enforced_rows,
    rows_for,
)
from enforcer.core.life import OrderStatus
from enforcer.core.policy import Pins, PolicyAdopted
from enforcer.core.state import OrderRecord, PolicyRecord, State, Suspension
from enforcer.core.table import (
    NO_LOCAL_LAYER,
    DnsMeasure,
    IpMeasure,
    LocalLayer,
    OrderRow,
    table_digest,
)
from enforcer.services.kept_stops import KeptStop

PROPOSED_LISTS_MAX: Final = 64
"""Lists of orders that await approval are fetched ahead, so that a block begins at once."""


@dataclass(frozen=True, slots=True)
class Protections:
    """The lists of names that win over orders, by SHA-256; None where the policy pins none."""

    core: str | None
    names: str | None

    @property
    def lists(self) -> tuple[str, ...]:
        """Those that there are."""
        return tuple(each for each in (self.core, self.names) if each is not None)

    @classmethod
    def pinned_by(cls, policy: PolicyAdopted) -> Protections:
        """Return what a policy pins."""
        return cls(policy.pins.protected_core, policy.pins.protected_names)


@dataclass(frozen=True, slots=True)
class LocalWord:
    """What the network's safety officers have said of an order ahead of the ledger."""

    suspension: Suspension | None
    """The one that holds; None: it was resumed."""
    act_payload_sha256: str
    """The act that says so."""
    since_ms: int
    """When it came."""

    def holds(self, t_ms: int) -> Suspension | None:
        """Return the suspension, unless it has ended by itself."""
        suspension = self.suspension
        return suspension if suspension is not None and suspension.holds(t_ms) else None


@dataclass(frozen=True, slots=True)
class Held:
    """What gate and firewall have already, and the gate's protections, if known."""

    rows: tuple[OrderRow, ...] = ()
    protections: Protections | None = None
    at_firewall: frozenset[int] = frozenset()
    """What the firewall has, by entry index."""


@dataclass(frozen=True)
class Plan:
    """What should be in force at ``t_ms``, by the first ``ledger_size`` entries."""

    origin: str
    ledger_size: int
    root: bytes
    t_ms: int
    policy: PolicyRecord
    rows: tuple[OrderRow, ...]
    """What the table holds, ascending: those whose time is to come, too."""
    protections: Protections | None
    """What new names are compiled with; None: there is nothing that they could be compiled with."""
    is_frozen: bool
    """A pinned list is missing, so that `rows` only has what the gate holds already."""
    omission_count: int
    """Orders in force by the ledger that are not enforced here."""
    omissions: tuple[Omission, ...]
    """The first of them, as many as an attestation can name."""
    news_size: int
    """``ledger_size`` less the last entries that only record attestations."""
    attested_rows: tuple[OrderRow, ...]
    """The ledger's rows in force at ``t_ms``, without all that are omitted."""
    unwitnessed: int = 0
    """Approved orders that are left out, now or when their time comes, until witnesses have seen
    what they rest on."""
    local: LocalLayer = NO_LOCAL_LAYER
    """What the operator protects from orders on this host."""
    other_changes_ms: tuple[int, ...] = ()
    """When the plan changes besides: a row ends unless witnesses see its extension by then, or an
    order that is suspended begins to block again."""
    resumed: tuple[Resumption, ...] = ()
    """Orders that are enforced here ahead of the ledger, which has them as suspended."""

    @cached_property
    def in_force(self) -> tuple[OrderRow, ...]:
        """The rows of the table that block at ``t_ms``: equal to `attested_rows`."""
        return tuple(row for row in self.rows if row.is_in_force(self.t_ms))

    @cached_property
    def digest(self) -> str:
        """The table digest that the node attests, and that an auditor recomputes."""
        return table_digest(self.origin, self.policy.ref, self.attested_rows, self.local)

    def without(
        self,
        rows: Collection[OrderRow],
        reason: NotEnforced,
        since_ms: Mapping[int, int] = MappingProxyType({}),
    ) -> Plan:
        """Return the plan less these of its rows, listed with the reason where in force.

        `since_ms` says since when, by entry index, where that is not since they began.
        """
        if not rows:
            return self
        absent = {row.index for row in rows}
        more = [
            Omission(row.index, reason, None, max(row.from_ms, since_ms.get(row.index, 0)))
            for row in rows
            if row.is_in_force(self.t_ms)
        ]
        omissions = sorted((*self.omissions, *more), key=lambda each: each.order_index)
        return replace(
            self,
            rows=tuple(row for row in self.rows if row.index not in absent),
            omission_count=self.omission_count + len(more),
            omissions=tuple(omissions[:OMISSIONS_MAX]),
            attested_rows=tuple(row for row in self.attested_rows if row.index not in absent),
            resumed=tuple(each for each in self.resumed if each.order_index not in absent),
        )

    def enforcing_nothing(self, reason: NotEnforced, since_ms: int) -> Plan:
        """Return what to attest while the gate as a whole blocks nothing for `reason`.

        The table holds what it holds. Stops that were obeyed ahead of the ledger are named first,
        for they must be.
        """
        # A clock that was far ahead may have been set right since.
        since_ms = min(since_ms, self.t_ms)
        more = [Omission(row.index, reason, None, since_ms) for row in self.attested_rows]
        stops = [each for each in self.omissions if each.reason is NotEnforced.STOPPED_UNLOGGED]
        others = [each for each in self.omissions if each not in stops]
        return replace(
            self,
            omission_count=self.omission_count + len(more),
            omissions=(*stops, *more, *others)[:OMISSIONS_MAX],
            attested_rows=(),
            resumed=(),
        )

    @cached_property
    def next_change_ms(self) -> int | None:
        """When the next order begins or ends by itself."""
        times = [time for row in self.rows for time in (row.from_ms, row.until_ms)]
        times += self.other_changes_ms
        return min((time for time in times if time > self.t_ms), default=None)


def is_concerned(order: OrderRecord, *, blocks_names: bool) -> bool:
    """Tell whether a node ever does anything for an order: without a gate it must need none."""
    return blocks_names or order.payload.measure.dns is DnsMeasure.NONE


def wanted_lists(state: State, t_ms: int, *, blocks_names: bool = True) -> list[str]:
    """Return the lists to have at hand, each once: protections, blocks, then proposals.

    What was sealed is for nodes only once it is approved, published or not. A node without a gate
    does not need the lists of orders that do.
    """
    if state.policy is None:
        return []
    rows = (row for row in _rows(state, blocks_names=blocks_names) if row.until_ms > t_ms)
    proposed = [
        order.payload.target_list_sha256
        for order in state.orders.values()
        if order.status is OrderStatus.PROPOSED
        and order.until_ms > t_ms
        and not order.payload.publication.is_sealed  # opened, it would fill memory
        and is_concerned(order, blocks_names=blocks_names)
    ]
    ordered = [*(row.target_list_sha256 for row in rows), *proposed[-PROPOSED_LISTS_MAX:]]
    if not ordered and not blocks_names:
        return []  # nor what orders are held against
    return list(dict.fromkeys([*state.policy.payload.pins.lists, *ordered]))


def make_plan(
    state: State,
    root: bytes,
    t_ms: int,
    *,
    stopped: Mapping[str, KeptStop],
    has_list: Callable[[str], bool],
    has_order_list: Callable[[OrderRow], bool],
    held: Held,
    witnessed_until_ms: Mapping[int, int] | None = None,
    objects: Callable[[OrderRecord, Pins], bool | None] = lambda _order, _pins: False,
    operator: str | None = None,
    said: Mapping[int, LocalWord] = MappingProxyType({}),
    blocks_addresses: bool = False,
    blocks_names: bool = True,
    local: LocalLayer = NO_LOCAL_LAYER,
) -> Plan | None:
    """Return what to enforce; None while the ledger has no policy.

    `stopped` are the stops that are obeyed ahead of the ledger, by order id: in all versions.
    `witnessed_until_ms` says of orders that were changed by entries which too few witnesses have
    seen, by entry index, until when the entries before those block them; 0: not at all.
    `objects` tells whether guards stand against an order, None while nobody has looked;
    `operator` is whose network this node belongs to, and `said` what its safety officers have said
    of orders ahead of the ledger, by entry index. `blocks_addresses` tells whether it has a
    firewall, and `local` what that lets pass; `blocks_names` whether it has a gate: where it has
    none, the plan speaks of no order that needs one.
    """
    seen_until_ms = witnessed_until_ms or {}
    if state.policy is None:
        return None
    pinned = Protections.pinned_by(state.policy.payload)
    protections = _usable(pinned, held.protections, has_list)
    is_frozen = protections != pinned
    lasting = sorted(
        (row for row in _rows(state, blocks_names=blocks_names) if row.until_ms > t_ms),
        key=lambda row: row.index,
    )
    at_gate = {row.index for row in held.rows} | held.at_firewall
    rows: list[OrderRow] = []
    omissions: list[Omission] = []
    resumed: list[Resumption] = []
    suspension_ends_ms: list[int] = []
    unwitnessed = 0
    in_force = [row for row in lasting if row.is_in_force(t_ms)]
    for row in lasting:
        stop = stopped.get(row.order_id)
        is_seen = seen_until_ms.get(row.index, row.until_ms) > t_ms
        has_all = row.index in at_gate or (has_order_list(row) and not is_frozen)
        order = state.orders[row.index]
        objected = objects(order, state.policy.payload.pins)
        logged, word = order.suspension(operator, t_ms), said.get(row.index)
        suspension = logged if word is None else word.holds(t_ms)
        if suspension is not None and suspension.until_ms is not None:
            suspension_ends_ms.append(suspension.until_ms)
        has_all = has_all and (objected is not None or row.index in at_gate)
        can = can_enforce(row, blocks_addresses=blocks_addresses)
        is_possible = can and has_all and is_seen and suspension is None and not objected
        if stop is None and is_possible:
            rows.append(row)
            if word is not None and logged is not None and row.is_in_force(t_ms):
                since_ms = min(word.since_ms, t_ms)
                resumed.append(Resumption(row.index, word.act_payload_sha256, since_ms))
        elif row.is_in_force(t_ms) and stop is None and suspension is not None:
            omissions.append(_suspended(row, suspension, t_ms))
        elif row.is_in_force(t_ms):
            omissions.append(_omission(row, stop, t_ms, is_seen=is_seen, can=can, bars=objected))
        unwitnessed += stop is None and not is_seen
    return Plan(
        origin=state.origin,
        ledger_size=state.size,
        news_size=state.news_size,
        root=root,
        t_ms=t_ms,
        policy=state.policy,
        rows=tuple(rows),
        protections=protections,
        is_frozen=is_frozen,
        omission_count=len(omissions),
        omissions=tuple(omissions[:OMISSIONS_MAX]),
        attested_rows=tuple(enforced_rows(in_force, omissions)),
        unwitnessed=unwitnessed,
        local=local,
        other_changes_ms=(
            *(seen_until_ms[row.index] for row in rows if row.index in seen_until_ms),
            *suspension_ends_ms,
        ),
        resumed=tuple(resumed),
    )


def _rows(state: State, *, blocks_names: bool) -> list[OrderRow]:
    gate = GateState.UNSPECIFIED if blocks_names else GateState.NONE
    return rows_for(gate, state.approved_rows())


def _usable(
    pinned: Protections, former: Protections | None, has_list: Callable[[str], bool]
) -> Protections | None:
    """Return the pinned protections if they are all at hand, else the former ones, else none."""
    for protections in (pinned, former):
        if protections is not None and all(map(has_list, protections.lists)):
            return protections
    return None


def can_enforce(row: OrderRow, *, blocks_addresses: bool) -> bool:
    """Tell whether a node can do all that the order says; for addresses it needs a firewall.

    An order for names and addresses is left out as a whole: half of it would be no order's words.
    """
    return blocks_addresses or row.ip_measure is IpMeasure.NONE


def _suspended(row: OrderRow, suspension: Suspension, t_ms: int) -> Omission:
    since_ms = max(row.from_ms, min(suspension.since_ms, t_ms))
    return Omission(row.index, NotEnforced.SUSPENDED, suspension.payload_sha256, since_ms)


def _omission(
    row: OrderRow,
    stop: KeptStop | None,
    t_ms: int,
    *,
    is_seen: bool,
    can: bool,
    bars: bool | None,
) -> Omission:
    if stop is not None:
        since_ms = min(stop.received_at_ms, t_ms)  # the clock may have been far ahead then
        return Omission(row.index, NotEnforced.STOPPED_UNLOGGED, stop.sha256, since_ms)
    if bars:
        return Omission(row.index, NotEnforced.GUARD, None, row.from_ms)
    if not is_seen:
        return Omission(row.index, NotEnforced.UNWITNESSED, None, row.from_ms)
    reason = NotEnforced.LIST_MISSING if can else NotEnforced.CANNOT_ENFORCE
    return Omission(row.index, reason, None, row.from_ms)
