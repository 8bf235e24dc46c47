"""What was counted for one order: flows, packets and octets, by when and by what they show.

Everything is added up at once: no address, port or name is kept, and times only as the first and
the last, in whole seconds from when the order was in force first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeVar

from enforcer.core.flow import Passage
from enforcer.services.flow_orders import OrderTimes


class Phase(IntEnum):
    """Where a flow lies beside the time of an order."""

    UNSPECIFIED = 0
    BEFORE = 1
    AT_EDGE = 2
    """Within the grace after its beginning, or so near to a change that clocks could err."""
    IN_FORCE = 3
    PROTECTED = 4
    """In force, and a protected entry lets these packets pass."""
    AFTER = 5
    """Not in force any more, or not at that time."""


@dataclass(slots=True)
class Sum:
    """Counts of one kind, and when the first and the last were."""

    flows: int = 0
    packets: int = 0
    octets: int = 0
    first_s: int | None = None
    """Seconds from when the order was in force first; negative: before."""
    last_s: int | None = None

    def add(self, packets: int, octets: int, first_s: int, last_s: int) -> None:
        """Add one flow."""
        self.flows += 1
        self.packets += packets
        self.octets += octets
        self.first_s = first_s if self.first_s is None else min(self.first_s, first_s)
        self.last_s = last_s if self.last_s is None else max(self.last_s, last_s)


@dataclass(slots=True)
class Tally:
    """All that was counted for one order."""

    times: OrderTimes
    phases: dict[Phase, Sum] = field(default_factory=dict)
    passages: dict[Passage, Sum] = field(default_factory=dict)
    """Of the flows while it was in force."""
    answers: dict[str, Sum] = field(default_factory=dict)
    """Of the DNS messages of captures while it was in force, by what they show."""

    def add(
        self,
        phase: Phase,
        what: Passage | str,
        packets: int,
        octets: int,
        first_ms: int,
        last_ms: int,
    ) -> None:
        """Add a flow, or a DNS message."""
        begins_ms = self.times.begins_ms
        first_s, last_s = (first_ms - begins_ms) // 1000, (last_ms - begins_ms) // 1000
        sums = [self.phases.setdefault(phase, Sum())]
        if phase is Phase.IN_FORCE and isinstance(what, Passage):
            sums.append(self.passages.setdefault(what, Sum()))
        elif phase is Phase.IN_FORCE and isinstance(what, str):
            sums.append(self.answers.setdefault(what, Sum()))
        for each in sums:
            each.add(packets, octets, first_s, last_s)

    @property
    def leaks(self) -> int:
        """How many flows and answers got through while it was in force."""
        through = self.passages.get(Passage.THROUGH)
        resolved = self.answers.get(RESOLVES)
        return (through.flows if through else 0) + (resolved.flows if resolved else 0)

    @property
    def unproven(self) -> int:
        """How many flows while it was in force show nothing either way."""
        found = self.passages.get(Passage.UNPROVEN)
        return found.flows if found else 0


RESOLVES: Final = "RESOLVES"
"""The kind of answer that says what an order forbids."""


def phase_of(
    times: OrderTimes, first_ms: int, last_ms: int, *, grace_ms: int, skew_ms: int
) -> Phase:
    """Tell where a flow lies beside an order's time, if its clock may err by `skew_ms`.

    A flow counts as one of the time in force when all of it lies in there, past the grace.
    """
    if last_ms < times.begins_ms - skew_ms:
        return Phase.BEFORE
    for from_ms, until_ms in times.spans:
        if from_ms + grace_ms + skew_ms <= first_ms and last_ms < until_ms - skew_ms:
            return Phase.IN_FORCE
        if first_ms < until_ms + skew_ms and last_ms >= from_ms - skew_ms:
            return Phase.AT_EDGE
    return Phase.AFTER


Kind = TypeVar("Kind", bound=IntEnum | str)


def plain_sums(sums: Mapping[Kind, Sum]) -> dict[str, dict[str, int | None]]:
    """Return sums for JSON, by name."""
    return {
        (kind.name if isinstance(kind, IntEnum) else kind): {
            "flows": each.flows,
            "packets": each.packets,
            "octets": each.octets,
            "first_s": each.first_s,
            "last_s": each.last_s,
        }
        for kind, each in sums.items()
    }
