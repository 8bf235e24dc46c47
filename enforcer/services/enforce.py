"""From a plan to what the gate holds: laid over a base, handed over, read back.

What ends, and what is new and small, goes out at once as an overlay over the base that the gate
has; large changes wait for a new base, compiled meanwhile. Refuses to call anything enforced that
the gate did not read back. Always true: no compilation, no disk and no order that cannot be
compiled keeps another from ending, or a small one from beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from enforcer.core.attestation import GateState, NotEnforced
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.ports import Gate, GateMode, GateReport, KeptFiles, ListWork
from enforcer.services.base_table import Base, read_kept, table_targets, unknown_base
from enforcer.services.bases import BaseCompiler
from enforcer.services.gate_link import GateLink
from enforcer.services.impossible import Impossible
from enforcer.services.layers import is_base_due
from enforcer.services.laying import Layer
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import Moment
from enforcer.services.plan import Held, Plan
from enforcer.services.tables import TableMaker

COMPILING: Final = "a new base table is being compiled"

_NOTHING_ENFORCED: Final = {
    GateMode.BYPASS: NotEnforced.BYPASSED,
    GateMode.SHADOW: NotEnforced.SHADOW,
}

_log: Final = structlog.get_logger(__name__)


class Enforcer:
    """Keeps one gate in step with the plan; one call at a time, and `run` beside them."""

    def __init__(
        self,
        *,
        gate: Gate,
        work: ListWork,
        lists: ListKeeper,
        files: KeptFiles,
        secret: bytes,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = GateLink(gate, seconds)
        self._lists = lists
        tables = TableMaker(work=work, lists=lists, secret=secret)
        self._bases = BaseCompiler(tables, files, seconds)
        self._base = read_kept(files)  # that the gate has, or had when it was last heard
        self._impossible = Impossible()
        self._layer = Layer(
            link=self._link, tables=tables, lists=lists, impossible=self._impossible
        )
        self._is_waiting = False  # something of the plan waits for a base
        self._off_since_ms: int | None = None  # since when the gate blocks nothing at all
        self._said = self.problem = "nothing was handed over yet"
        """Why the gate does not hold the plan; empty when it does."""

    @property
    def has_gate(self) -> bool:
        """Whether there is a gate at all; `NoGate` is where there is none."""
        return True

    @property
    def report(self) -> GateReport | None:
        """What the gate said last, until it stops answering."""
        return self._link.report

    @property
    def held(self) -> Held:
        """What the gate has, as far as is known."""
        base = self._base
        return Held(self._link.rows, base.protections if base is not None else None)

    @property
    def holds(self) -> bool:
        """Whether the gate holds what it was given, by its own word."""
        return self._link.holds

    @property
    def blamed(self) -> frozenset[int]:
        """Orders that the gate refuses because of what they block, by entry index."""
        return self._impossible.blamed

    @property
    def is_settled(self) -> bool:
        """Whether nothing of the last plan waits for a base that is compiled, or handed over next.

        One that is ready while the gate does not answer is not handed over next, nor is one that
        could not be handed over: nobody knows when it can.
        """
        is_next = self._bases.is_ready and self.report is not None
        return not (self._is_waiting and (self._bases.is_compiling or is_next))

    def wake_with(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` called whenever `bring` is to be called again."""
        self._bases.on_done = on_change

    async def run(self) -> None:
        """Compile bases, and keep what is to be kept; it never returns."""
        await self._bases.run()

    async def ask(self) -> None:
        """Ask the gate what it holds, and once a minute whether memory has kept it."""
        await self._link.ask()
        self.problem = self._link.problem

    async def bring(self, plan: Plan, moment: Moment) -> Plan:
        """Have the gate hold what the plan says, or know in `problem` why it does not.

        `ask` comes first while there is no report: a plan must know what the gate has.
        Returns the plan without the orders that turned out to be impossible, which it lists:
        that is what to attest.
        """
        self._hear_of_bases(plan)
        plan = self._impossible.part(plan)
        if self.report is not None and not self._link.holds:
            await self._link.ask()
        heard = self._link.calls
        brought = await self._bring(plan, moment)
        if (
            self.report is not None and self._link.calls == heard
        ):  # nothing was handed over: does it still hold what it had?
            await self._link.ask()
            if not self._link.holds:
                brought = await self._bring(plan, moment)
        self.problem = self.problem or self._impossible.problem
        self._say()
        return brought

    def state(self, plan: Plan | None) -> GateState:
        """Say whether what the gate read back is what the plan says; it is not while none is."""
        if self.report is None:
            return GateState.UNREACHABLE
        if plan is None:
            return GateState.DIFFERS
        held = tuple(row for row in self.report.rows if row.is_in_force(plan.t_ms))
        given = self._link.given
        is_right = (
            self.report.mode is not GateMode.UNSPECIFIED
            and given is not None
            and given.base.is_known
            and self._link.holds
            and held == plan.in_force == plan.attested_rows
        )
        return GateState.HOLDS_TABLE if is_right else GateState.DIFFERS

    def attested(self, plan: Plan) -> Plan:
        """Return what of the plan is really enforced, by what the gate says that it does."""
        report = self.report
        reason = _NOTHING_ENFORCED.get(report.mode) if report is not None else None
        if report is None or reason is None:
            self._off_since_ms = None
            return plan
        if report.override is not None:
            self._off_since_ms = report.override.since_ms
        elif self._off_since_ms is None:
            self._off_since_ms = plan.t_ms
        return plan.enforcing_nothing(reason, self._off_since_ms)

    async def _bring(self, plan: Plan, moment: Moment) -> Plan:
        self._is_waiting = False
        self.problem = self._link.problem if self.report is None else ""
        if self.report is not None:
            plan = await self._take_base(plan, moment)
        base = self._present()
        if base is None and plan.protections is None:
            self.problem = self.problem or "the lists of protected names are not at hand"
        elif base is None:
            self._want(plan, moment)
            self._wait()
        elif self.report is not None:
            plan = await self._lay_over(plan, moment, base)
        return plan

    async def _take_base(self, plan: Plan, moment: Moment) -> Plan:
        """Hand over the base that has become ready, with the overlay of what changed since."""
        base = self._bases.take()
        if base is None:
            return plan
        if base.protections != plan.protections:
            base.close()
            return plan
        outcome = await self._layer.put(plan, moment, base)
        if outcome.error is None:
            former, self._base = self._base, base
            if former is not None:
                former.close()
            self._bases.keep(base)
        elif isinstance(outcome.error, UnavailableError):
            self._bases.take_back(base)
        else:
            self._bases.refused(plan)
            base.close()
        return outcome.plan

    def _present(self) -> Base | None:
        """Return the base that the gate has, or that it can be given again."""
        base, report = self._base, self.report
        if base is not None and (base.table is not None or self._link.has(base)):
            return base
        if report is not None and report.body_sha256:
            return unknown_base(report.body_sha256, report.rows)
        return None

    async def _lay_over(self, plan: Plan, moment: Moment, base: Base) -> Plan:
        """Lay the plan over the base that the gate has, and have the rest wait for a new one."""
        outcome = await self._layer.put(plan, moment, base)
        plan, layers = outcome.plan, outcome.layers
        self.problem = outcome.problem
        if isinstance(outcome.error, IntegrityError) and base is self._base:
            await self._link.ask()  # it may have been restarted meanwhile, and lost its base
            if self._link.has(base):
                _log.error("the gate refused an overlay of its base", problem=outcome.problem)
                base.close()
                self._base = None  # what it has is not what we think: a new base will be
        if plan.protections is None:
            return plan.without(layers.waiting, NotEnforced.LIST_MISSING)
        is_hopeless = False
        if self._base is None or is_base_due(plan, base, layers):
            is_hopeless = not self._want(plan, moment)
        if layers.waiting:
            self._wait()
        if is_hopeless:
            return plan.without(layers.waiting, NotEnforced.CANNOT_ENFORCE)
        return plan

    def _want(self, plan: Plan, moment: Moment) -> bool:
        """Have a base compiled of all that there are lists for; tell whether there is hope."""
        absent = [row for row in plan.rows if table_targets(row) and not self._lists.has_for(row)]
        part = plan.without(absent, NotEnforced.LIST_MISSING)
        self._bases.want(part, self._layer.floor_ms(moment))
        return not self._bases.is_hopeless(part)

    def _wait(self) -> None:
        """Say why something of the plan waits for a base."""
        self._is_waiting = True
        error = self._bases.error
        if not self.problem and error is not None:
            self.problem = f"cannot compile: {error.message}"
        self.problem = self.problem or COMPILING

    def _hear_of_bases(self, plan: Plan) -> None:
        """Take in what the last base had to leave out, and which list it found altered."""
        culprits, altered = self._bases.take_faults()
        self._impossible.add(culprits, plan)
        if altered is not None:
            self._lists.distrust(altered)

    def _say(self) -> None:
        """Log a problem when it is new, and when it is over."""
        if self.problem == self._said:
            return
        self._said = self.problem
        if self.problem == COMPILING:
            _log.info("the gate waits for a new base table")
        elif self.problem:
            _log.error("the gate differs from the ledger", problem=self.problem)
        else:
            _log.info("the gate holds the table")
