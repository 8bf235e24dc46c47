"""When orders took effect at nodes, as the nodes attested it: of the newest orders, bounded.

For each of `ORDERS_MAX` orders two times a node, of 8 octets each: 40 MB for 10,000 nodes. The
first time that a node came to enforce an order counts; the last time that it ceased to.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from enforcer.core.attestation import Attestation, EffectTime

ORDERS_MAX: Final = 256
BUCKETS_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)


@dataclass(slots=True)
class Latencies:
    """How long something took, as counts by duration."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    """Between one bound and the next; the last is what lies above all of them."""
    sum_ms: int = 0

    def add(self, took_ms: int) -> None:
        """Count one."""
        bounds = enumerate(BUCKETS_SECONDS)
        at = next((at for at, bound in bounds if took_ms <= bound * 1_000), -1)
        self.counts[at] += 1
        self.sum_ms += took_ms


class EffectHistory:
    """The times of one fleet; use it from one event loop."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        """Node id -> where its times are in every array."""
        self._orders: dict[int, tuple[array[int], array[int]]] = {}
        """Entry index -> when each node came to enforce it, and when it ceased to; 0: unknown."""

    def note(self, attestation: Attestation) -> Iterator[EffectTime]:
        """Take in what a node attests, and yield what is new of it."""
        number = self._numbers.setdefault(attestation.node_id, len(self._numbers))
        for effect in attestation.effects:
            began, ended = self._times_of(effect.order_index, number)
            in_ms, out_ms = effect.in_force_at_ms or 0, effect.out_at_ms or 0
            is_begun, is_ended = in_ms and not began[number], out_ms and out_ms != ended[number]
            if is_begun:
                began[number] = in_ms
            ended[number] = out_ms
            if is_begun or is_ended:
                yield EffectTime(
                    effect.order_index, in_ms if is_begun else None, out_ms if is_ended else None
                )

    def times(self, order_index: int, node_id: str) -> tuple[int | None, int | None]:
        """Return when a node came to enforce an order first, and ceased to; None: unknown."""
        number, known = self._numbers.get(node_id), self._orders.get(order_index)
        if number is None or known is None or number >= len(known[0]):
            return None, None
        return known[0][number] or None, known[1][number] or None

    def _times_of(self, order_index: int, number: int) -> tuple[array[int], array[int]]:
        if order_index not in self._orders:
            self._orders[order_index] = array("q"), array("q")
            if len(self._orders) > ORDERS_MAX:
                del self._orders[min(self._orders)]
        known = self._orders.get(order_index, (array("q"), array("q")))
        for times in known:
            times.extend([0] * (number + 1 - len(times)))
        return known
