"""Whether orders had effect, by what was seen of traffic: flows, and DNS messages of captures.

Each flow is compared with all orders that list one of its ends, at its own time, and added up;
what no order lists leaves no trace. Precedence is `core.verdict.decide_flow`'s, order by order: a
protected entry as long as the order's target, or longer, lets packets pass. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from enforcer.core.flow import FLOW_OCTETS, Flow, address_of, passage
from enforcer.core.policy import Pins
from enforcer.core.response import decide_response
from enforcer.core.table import DnsMeasure, IpMeasure, OrderRow
from enforcer.core.target import parse_line
from enforcer.core.verdict import Action, Rules, Verdict, decide
from enforcer.errors import NotFoundError
from enforcer.ports import DnsMessage, FlowIndex, LineIndex
from enforcer.services.explain import candidates
from enforcer.services.explain_lines import Lists, ListText, below, list_of, present
from enforcer.services.explain_target import around
from enforcer.services.flow_orders import OrderTimes, Timeline
from enforcer.services.flow_tally import Phase, Tally, phase_of
from enforcer.services.probe_reading import Register, observe

SOURCE_SIDE: Final = 1
"""How an index tells that it was the flow's source; see `_native/flow_targets.pyi`."""
_MAPPED_BITS: Final = 96

QUERY: Final = "QUERY"
"""A DNS message that nobody has answered yet."""


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A list that lets packets pass, and from when until when it was pinned."""

    is_core: bool
    from_ms: int
    until_ms: int | None

    def holds_at(self, t_ms: int) -> bool:
        return self.from_ms <= t_ms and (self.until_ms is None or t_ms < self.until_ms)


@dataclass(slots=True)
class Checked:
    """What has been found so far."""

    tallies: dict[int, Tally] = field(default_factory=dict)
    """By the order's entry index: every order that was in force at some time, whose list is
    here, and that blocks what was looked for."""
    missing: list[OrderTimes] = field(default_factory=list)
    """Orders whose list is not here, so that nothing was looked for."""
    flows: int = 0
    messages: int = 0
    sampling: int = 1
    """The thinnest sampling of a flow that was matched: one packet of so many."""

    @property
    def leaks(self) -> int:
        """How many flows and answers got through."""
        return sum(each.leaks for each in self.tallies.values())

    @property
    def unproven(self) -> int:
        """How many flows show nothing either way."""
        return sum(each.unproven for each in self.tallies.values())


class FlowCheck:
    """Compares traffic with the orders of one ledger; made once, then fed."""

    def __init__(
        self,
        line: Timeline,
        lists: Lists,
        index: FlowIndex,
        lines: LineIndex,
        *,
        register: Register,
        grace_ms: int,
        skew_ms: int,
        wanted: Callable[[OrderTimes], bool] = lambda _: True,
    ) -> None:
        """Take in the lists of the orders that are `wanted`, and those that were protected.

        A flow counts as one while an order is in force from `grace_ms` after its beginning;
        the clocks of who saw it may err by `skew_ms`.
        """
        self.checked = Checked()
        self._register = register
        self._grace_ms, self._skew_ms = grace_ms, skew_ms
        self._lists, self._index, self._lines = lists, index, lines
        self._owners: list[OrderTimes | _Guarded] = []
        self._named: list[tuple[OrderTimes, ListText]] = []
        self._pins = line.pins
        for times in filter(wanted, line.orders):
            self._take_order(times)
        self._take_protections()

    def _take_order(self, times: OrderTimes) -> None:
        order = times.order.payload
        try:
            text = self._lists(order.target_list_sha256)
        except NotFoundError:
            self.checked.missing.append(times)
            return
        self.checked.tallies[times.order.index] = Tally(times)
        if order.measure.ip in (IpMeasure.REJECT, IpMeasure.DROP):
            self._add(times, text)
        if order.measure.dns in (DnsMeasure.NEGATIVE, DnsMeasure.BLOCK_PAGE):
            self._lines.add(len(self._named), text)
            self._named.append((times, text))

    def _take_protections(self) -> None:
        for number, (from_ms, pins) in enumerate(self._pins):
            is_last = number + 1 == len(self._pins)
            until_ms = None if is_last else self._pins[number + 1][0]
            for sha256, is_core in ((pins.protected_core, True), (pins.protected_names, False)):
                if sha256 is not None:
                    self._add(_Guarded(is_core, from_ms, until_ms), self._lists(sha256))

    def _add(self, owner: OrderTimes | _Guarded, text: ListText) -> None:
        self._index.add(len(self._owners), text)
        self._owners.append(owner)

    def flows(self, packed: bytes) -> None:
        """Take packed flows in (see `_native/flows.pyi`)."""
        self.checked.flows += len(packed) // FLOW_OCTETS
        hits: dict[tuple[int, int], list[tuple[OrderTimes | _Guarded, int]]] = {}
        for number, side, owner, length in self._index.match(packed):
            hits.setdefault((number, side), []).append((self._owners[owner], length))
        for (number, side), found in hits.items():
            self._count(Flow.at(packed, number), found, is_source=side == SOURCE_SIDE)

    def _count(
        self, flow: Flow, found: Sequence[tuple[OrderTimes | _Guarded, int]], *, is_source: bool
    ) -> None:
        guards = [
            (owner, length)
            for owner, length in found
            if isinstance(owner, _Guarded) and owner.holds_at(flow.first_ms)
        ]
        longest = dict[int, tuple[OrderTimes, int]]()
        for owner, length in found:
            if isinstance(owner, OrderTimes):
                longest.setdefault(owner.order.index, (owner, length))
        what = passage(flow, is_from_target=is_source)
        for times, length in longest.values():
            self.checked.sampling = max(self.checked.sampling, flow.sampling)
            phase = phase_of(
                times,
                flow.first_ms,
                flow.last_ms,
                grace_ms=self._grace_ms,
                skew_ms=self._skew_ms,
            )
            end = flow.source if is_source else flow.target
            if phase is Phase.IN_FORCE and _passes(times, length, guards, end):
                phase = Phase.PROTECTED
            tally = self.checked.tallies[times.order.index]
            tally.add(phase, what, flow.packets, flow.octets, flow.first_ms, flow.last_ms)

    def message(self, message: DnsMessage) -> None:
        """Take one DNS message in, and judge it as a gate would that has all these orders."""
        self.checked.messages += 1
        names = [line for name in (message.qname, *message.links) for line in candidates(name)]
        wanted = names + [line for address in message.addresses for line in around(address)]
        found: list[tuple[OrderTimes, Phase, list[bytes]]] = []
        lines_of: dict[int, list[bytes]] = {}
        for line in wanted:
            for owner in self._lines.find(line):
                lines_of.setdefault(owner, []).append(line)
        for owner in sorted(lines_of):
            times, text = self._named[owner]
            lines = present(text, lines_of[owner])
            if lines:
                phase = phase_of(
                    times,
                    message.t_ms,
                    message.t_ms,
                    grace_ms=self._grace_ms,
                    skew_ms=self._skew_ms,
                )
                found.append((times, phase, lines))
        if not found:
            return
        verdict = self._decide(message, found, wanted)
        deciding = verdict.order.index if verdict.order is not None else None
        for times, phase, _ in found:
            shown = _shown(message, times, self._register)
            here = phase
            if phase is Phase.IN_FORCE and deciding is None:
                here = Phase.PROTECTED
            elif phase is Phase.IN_FORCE and deciding != times.order.index:
                continue  # another order is the one that a gate would name
            tally = self.checked.tallies[times.order.index]
            tally.add(here, shown, 1, message.octets, message.t_ms, message.t_ms)

    def _decide(
        self,
        message: DnsMessage,
        found: Sequence[tuple[OrderTimes, Phase, list[bytes]]],
        wanted: Sequence[bytes],
    ) -> Verdict:
        """Return the oracle's verdict, over the few lines that can matter."""
        orders, overrides = [], set()
        for times, phase, lines in found:
            row = _row_at(times, message.t_ms)
            if phase is Phase.IN_FORCE and row is not None:
                orders.append((row, list_of(lines)))
                overrides |= {(row.index, parse_line(each.encode())) for each in row.overrides}
        zones = [line.partition(b" ")[2] for _, _, lines in found for line in lines]
        pins = self._pins_at(message.t_ms)
        core = self._protected(pins.protected_core if pins else None, wanted, zones)
        names = self._protected(pins.protected_names if pins else None, wanted, zones)
        rules = Rules(orders, core=core, protected=names, overrides=overrides)
        verdict = decide(rules, message.qname, message.qtype, message.t_ms)
        if verdict.action is Action.PASS and message.reply is not None:
            return decide_response(
                rules, message.links, message.addresses, message.qtype, message.t_ms
            ).verdict
        return verdict

    def _protected(
        self, sha256: str | None, wanted: Sequence[bytes], zones: Sequence[bytes]
    ) -> bytes:
        if sha256 is None:
            return b""
        text = self._lists(sha256)
        return list_of([*present(text, wanted), *below(text, zones)])

    def _pins_at(self, t_ms: int) -> Pins | None:
        return next((pins for since, pins in reversed(self._pins) if since <= t_ms), None)


def _passes(
    times: OrderTimes, length: int, guards: Sequence[tuple[_Guarded, int]], end: bytes
) -> bool:
    """Tell whether what is protected lets packets of an order's target pass."""
    for guard, bits in guards:
        if guard.is_core or bits > length:
            return True
        if bits == length and _line(end, bits) not in times.order.overrides:
            return True
    return False


def _line(end: bytes, bits: int) -> str:
    """Return the line of a list that has a prefix of 128 bits around an address."""
    address = address_of(end)
    length = bits - _MAPPED_BITS if address.version == 4 else bits
    if length == address.max_prefixlen:
        return f"ip {address}"
    return f"net {ip_network((address.packed, length), strict=False)}"


def _row_at(times: OrderTimes, t_ms: int) -> OrderRow | None:
    """Return the row by which an order blocked at a time."""
    span = times.span_around(t_ms)
    return None if span is None else times.order.row_during(*span)


def _shown(message: DnsMessage, times: OrderTimes, register: Register) -> str:
    """Return what a message shows of an order, in one word."""
    if message.reply is None:
        return QUERY
    return observe(message.reply, times.order.payload.order_id, register).name
