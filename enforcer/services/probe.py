"""Probing a resolver from outside: are named orders in force there, or lifted, and how do we know.

Names of an order's public list are drawn by a seed that is told, so that anybody can ask the same
again. Before and after, control names must resolve and a made-up one must not: a resolver that
fails these is not judged. Never asks for a name of a list that not everybody may read, and never
faster than it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from enforcer.core.name import Name
from enforcer.ports import DnsReply, ResolverUnderTest, Silence, Transport
from enforcer.services.probe_reading import Observation, Register, observe

TRANSPORTS: Final = (Transport.UDP, Transport.TCP)


class Result(IntEnum):
    """What a probe says of one order at one resolver."""

    UNSPECIFIED = 0
    IN_FORCE = 1
    LIFTED = 2
    MIXED = 3
    """Some names or transports are blocked by it, and some resolve."""
    UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """One order to be probed."""

    order_id: str
    order_index: int
    is_expected: bool
    """Whether the ledger has it in force, for this operator."""
    standing: str
    """Why, in a word of the ledger's."""
    names: tuple[Name, ...]
    unknown_because: str | None = None
    """Why there is nothing to ask."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and what its answer shows."""

    name: Name
    transport: Transport
    observation: Observation
    reply: DnsReply | Silence


@dataclass(frozen=True, slots=True)
class Probed:
    """One order, probed."""

    plan: Plan
    result: Result
    asked: tuple[Asked, ...] = ()

    @property
    def is_as_expected(self) -> bool | None:
        """Tell whether the resolver does what the ledger says; None where nobody knows."""
        if self.result is Result.UNKNOWN:
            return None
        return self.result is (Result.IN_FORCE if self.plan.is_expected else Result.LIFTED)


@dataclass(slots=True)
class Report:
    """What a probe found."""

    controls: list[Asked] = field(default_factory=list)
    broken_controls: list[Asked] = field(default_factory=list)
    """Control names that did not resolve, and made-up ones that did."""
    orders: list[Probed] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """VIOLATION, INCOMPLETE or GOOD."""
        known = [probed.is_as_expected for probed in self.orders]
        if self.broken_controls:
            return "INCOMPLETE"
        if False in known:
            return "VIOLATION"
        return "INCOMPLETE" if None in known or not known else "GOOD"


class Probe:
    """One resolver, and how it is asked."""

    def __init__(
        self,
        resolver: ResolverUnderTest,
        register: Register,
        pause: Callable[[], None],
        block_pages: Collection[str] = (),
    ) -> None:
        """Call `pause` before each question: it keeps the rate."""
        self._resolver = resolver
        self._register = register
        self._pause = pause
        self._block_pages = block_pages

    def run(
        self,
        plans: Sequence[Plan],
        controls: Sequence[Name],
        absent: Name,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Report:
        """Probe every order of `plans`; nothing of a resolver that fails a control is judged."""
        report = Report()
        self._control(report, controls, absent)
        if not report.broken_controls:
            for done, plan in enumerate(plans, 1):
                asked = tuple(self._ask(plan.names, plan.order_id))
                report.orders.append(Probed(plan, _result(asked), asked))
                progress(done, len(plans))
            self._control(report, controls, absent)
        if report.broken_controls:
            report.orders = [Probed(plan, Result.UNKNOWN) for plan in plans]
        return report

    def _control(self, report: Report, controls: Sequence[Name], absent: Name) -> None:
        present = list(self._ask(controls, None))
        missing = list(self._ask((absent,), None))
        report.controls += [*present, *missing]
        report.broken_controls += [
            each for each in present if each.observation is not Observation.RESOLVES
        ]
        report.broken_controls += [
            each for each in missing if each.observation is not Observation.ABSENT
        ]

    def _ask(self, names: Sequence[Name], order_id: str | None) -> Iterator[Asked]:
        for name in names:
            for transport in TRANSPORTS:
                self._pause()
                reply = self._resolver.ask(name, transport)
                seen = observe(reply, order_id, self._register, self._block_pages)
                yield Asked(name, transport, seen, reply)


def _result(asked: Sequence[Asked]) -> Result:
    seen = {each.observation for each in asked}
    is_blocked = Observation.BLOCKED_BY_ORDER in seen
    if Observation.RESOLVES in seen:
        return Result.MIXED if is_blocked else Result.LIFTED
    return Result.IN_FORCE if is_blocked else Result.UNKNOWN
