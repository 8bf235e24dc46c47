"""When each order came to be enforced at this node, and ceased to: by what is really held.

Gate and firewall are looked at after whatever was done to them; nothing is taken from a plan.
Always true: what was held already when the node looked first, or could look first, has no time,
unless the node's last attestation named it; and what cannot be looked at stays as it was known.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from enforcer.core.attestation import (
    CLOCKS_APART_MS_MAX,
    EFFECT_AGE_MS_MAX,
    EFFECTS_MAX,
    EffectTime,
)
from enforcer.core.state import OrderRecord
from enforcer.core.table import IpMeasure, OrderRow
from enforcer.ports import GateMode, GateReport


class EffectTimes:
    """The changes of the last hour at one node."""

    def __init__(self) -> None:
        self._held: dict[int, OrderRow] | None = None
        """What was enforced at the last look, by entry index."""
        self._unseen: frozenset[int] = frozenset()
        """What may have been then, too: of that nobody could tell, nor since the first look."""
        self._times: dict[int, EffectTime] = {}
        self._sizes: dict[int, int] = {}
        """How many entries stood behind the last change of an order's time."""

    @property
    def have_begun(self) -> bool:
        """Whether there was a look already."""
        return self._held is not None

    def remember(self, times: Iterable[EffectTime]) -> None:
        """Take in what an earlier process of this node attested."""
        self._times = {each.order_index: each for each in times}

    def look(
        self,
        t_ms: int,
        enforced: Mapping[int, OrderRow],
        unknown: Collection[int] = (),
        ledger_size: int = 0,
    ) -> None:
        """Take in what is enforced at `t_ms`, by so many entries.

        Of the orders in `unknown` nobody can say.
        """
        held, now = self._held, dict(enforced)
        if held is None:
            self._held, self._unseen = now, frozenset(unknown)
            return
        unseen = self._unseen
        self._unseen &= frozenset(unknown)
        for index in unknown:
            if index in held:
                now.setdefault(index, held[index])
        for index in now.keys() - held.keys() - unseen:
            self._times[index] = EffectTime(index, t_ms, None)
            self._sizes[index] = ledger_size
        for index in held.keys() - now.keys():
            out_at_ms = min(t_ms, held[index].until_ms)  # a gate ends what has expired by itself
            former = self._times.get(index, EffectTime(index, None, None))
            self._times[index] = replace(former, out_at_ms=out_at_ms)
            self._sizes[index] = ledger_size
        self._held = now

    def newest(
        self, now_ms: int, at_ms: int, ledger_size: int = sys.maxsize
    ) -> tuple[EffectTime, ...]:
        """Return what an attestation for `at_ms`, not after now, can say of them, ascending.

        Forgets what is too old, and what a clock that was far ahead, and has been set right, gave
        a time to come. For the next attestation is what came by entries that this one does not
        cover, since it may not even know the order; and what is later than clocks may differ: a
        plan may be of before the clock was set ahead.
        """
        since_ms, until_ms = now_ms - EFFECT_AGE_MS_MAX, now_ms + CLOCKS_APART_MS_MAX
        recent = [each for each in self._times.values() if since_ms < each.changed_at_ms < until_ms]
        recent.sort(key=lambda each: (each.changed_at_ms, each.order_index))
        self._times = {each.order_index: each for each in recent[-EFFECTS_MAX:]}
        self._sizes = {at: size for at, size in self._sizes.items() if at in self._times}
        latest_ms = at_ms + CLOCKS_APART_MS_MAX
        told = {
            at: each
            for at, each in self._times.items()
            if each.changed_at_ms <= latest_ms and self._sizes.get(at, 0) <= ledger_size
        }
        return tuple(told[index] for index in sorted(told))


def enforced_by(
    report: GateReport, t_ms: int, at_firewall: Collection[int] | None
) -> tuple[dict[int, OrderRow], frozenset[int]]:
    """Return the orders that are enforced in all that they say, and those that nobody can tell of.

    `at_firewall` are the orders that the firewall holds; None: it does not answer.
    """
    if report.mode is not GateMode.ENFORCE:
        return {}, frozenset()
    rows = {row.index: row for row in report.rows if row.is_in_force(t_ms)}
    by_address = {index for index, row in rows.items() if row.ip_measure is not IpMeasure.NONE}
    if at_firewall is None:
        absent, unknown = by_address, frozenset(by_address)
    else:
        absent, unknown = by_address - set(at_firewall), frozenset()
    return {index: row for index, row in rows.items() if index not in absent}, unknown


def enforced_alone(
    orders: Mapping[int, OrderRecord], t_ms: int, at_firewall: Collection[int]
) -> tuple[dict[int, OrderRow], frozenset[int]]:
    """Return the same where there is no gate, of the `orders` that the ledger has so far.

    An order that has ended counts for as long as the firewall holds it.
    """
    rows = {index: _row(orders.get(index)) for index in at_firewall}
    here = {index: row for index, row in rows.items() if row is not None and row.is_in_force(t_ms)}
    return here, frozenset(index for index, row in rows.items() if row is None)


def _row(order: OrderRecord | None) -> OrderRow | None:
    if order is None or order.approved_at_ms is None:
        return None
    from_ms = max(order.payload.not_before_ms, order.approved_at_ms)
    return order.row or order.row_during(from_ms, order.until_ms)
