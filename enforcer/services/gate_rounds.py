"""The round that enforces: a plan is made, the gate is brought to it, and what it holds is noted.

Owns when that is done: whenever something has changed, and when time alone changes something.
Nothing else of the node is waited for, and what is told of a round is told by others. Always true:
who waits for a round that has not begun yet waits for a plan that knows all that came before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from enforcer.core.attestation import GateState
from enforcer.ports import TrialVerdict
from enforcer.services.canary import verdicts
from enforcer.services.effect_times import EffectTimes, enforced_alone, enforced_by
from enforcer.services.enforce import Enforcer
from enforcer.services.firewalling import Firewalling
from enforcer.services.no_gate import NoGate
from enforcer.services.node_time import NodeTime
from enforcer.services.node_view import Applying
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.plan import Plan
from enforcer.services.planning import Planner

GATE_SECONDS_MAX: Final = 5.0
"""How long whoever brings a stop is kept waiting for the gate."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a round."""

    plan: Plan | None = None
    """What is attested: what of the plan the gate enforces by its own word."""
    state: GateState = GateState.UNREACHABLE
    is_settled: bool = False
    """Whether that is to last."""


class GateRounds:
    """The rounds of one node."""

    def __init__(
        self,
        *,
        planner: Planner,
        enforcer: Enforcer | NoGate,
        firewall: Firewalling | None,
        time: NodeTime,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._planner = planner
        self._enforcer = enforcer
        self._firewall = firewall
        self._time = time
        self.on_told: Callable[[], None] = lambda: None
        """Called after each round."""
        self._pace = pace
        self.effects = EffectTimes()
        self._found: frozenset[int] | None = None
        """What the firewall held when that was known first; None: it is not known yet."""
        self.applying = Applying()
        self.told = Told()
        self.shown: Plan | None = None
        """The last plan that the gate was compared with."""
        self.planned_at_ms = 0
        """Since when plans are of so many entries as that."""
        self._planned_size = 0
        self._changed = asyncio.Event()
        self._round = 0  # a plan made in a later one knows what came before it
        self._done = 0
        self._round_done = asyncio.Condition()
        enforcer.wake_with(self._changed.set)

    @property
    def next(self) -> int:
        """The round that has not begun yet."""
        return self._round + 1

    def stir(self) -> None:
        """Have gate and firewall looked at: something has changed."""
        self._changed.set()
        if self._firewall is not None:
            self._firewall.wake()

    def look(self) -> None:
        """Note which orders are enforced now, and which are no more."""
        report = self._enforcer.report
        t_ms, firewall = self._time.now_ms(), self._firewall
        at_firewall: frozenset[int] | None = frozenset()
        if firewall is not None and firewall.is_real:
            at_firewall = firewall.enforced
        if not self.effects.have_begun:  # it waits for no gate, and may have been given all by now
            if self._found is None:
                self._found = at_firewall
            at_firewall = self._found
        if report is not None:
            enforced = enforced_by(report, t_ms, at_firewall)
            self.effects.look(t_ms, *enforced, report.ledger_size)
        elif not self._enforcer.has_gate and at_firewall is not None:
            state = self._planner.replica.state
            enforced = enforced_alone(state.orders, t_ms, at_firewall)
            self.effects.look(t_ms, *enforced, state.size)

    async def run(self) -> None:
        """Keep the gate in step; it never returns."""
        while True:
            self._changed.clear()
            self._round += 1
            plan, state = await self._enforce()
            if plan is not None and plan.ledger_size != self._planned_size:
                self._planned_size, self.planned_at_ms = plan.ledger_size, self._time.now_ms()
            self.shown = plan
            attested = self._enforcer.attested(plan) if plan is not None else None
            self.told = Told(attested, state, self._enforcer.is_settled)
            self.on_told()
            async with self._round_done:
                self._done = self._round
                self._round_done.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds(plan, state)):
                    await self._changed.wait()

    async def await_round(self, number: int) -> None:
        """Wait until a round has told the gate what it is to hold, `GATE_SECONDS_MAX` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATE_SECONDS_MAX), self._round_done:
                await self._round_done.wait_for(lambda: self._done >= number)

    async def await_verdicts(
        self, order_indices: Sequence[int], wait_seconds: float
    ) -> Mapping[int, TrialVerdict]:
        """Return what the gate has said of some of these orders, when it has or time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds), self._round_done:
                await self._round_done.wait_for(lambda: verdicts(self._enforcer, order_indices))
        return verdicts(self._enforcer, order_indices)

    async def _enforce(self) -> tuple[Plan | None, GateState]:
        """Bring the gate to a new plan; return that, less what turned out to be impossible."""
        if self._enforcer.report is None:
            await self._enforcer.ask()
            self.look()  # what it held before anything was done to it
        moment = self._time.moment()
        plan = self._planner.plan(moment.t_ms)
        if plan is None:
            await self._enforcer.ask()
        else:
            self.applying.begin()
            planned = plan
            plan = await self._enforcer.bring(plan, moment)
            self._heed_gate(planned, plan)
            self.applying.end(self._enforcer.report)
            self.look()
        return plan, self._enforcer.state(plan)

    def _heed_gate(self, planned: Plan, brought: Plan) -> None:
        """Let the firewall enforce nothing of what is attested as not enforced."""
        if self._firewall is not None:
            absent = {row.index for row in planned.rows} - {row.index for row in brought.rows}
            is_off = self._enforcer.attested(brought) is not brought
            is_here = self._enforcer.report is not None
            self._firewall.heed_gate(frozenset(absent), is_off=is_off, is_here=is_here)

    def _pause_seconds(self, plan: Plan | None, state: GateState) -> float:
        """Return how long nothing needs to be looked at, if nothing changes."""
        if plan is None or state not in (GateState.HOLDS_TABLE, GateState.NONE):
            return self._pace.gate_retry_seconds
        next_ms = plan.next_change_ms
        if next_ms is None:
            return self._pace.gate_poll_seconds
        left_seconds = max(next_ms - self._time.now_ms(), 1) / 1_000
        return min(left_seconds, self._pace.gate_poll_seconds)
