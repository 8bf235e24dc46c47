"""From a plan to what the gate holds: compile, hand over, read back.

Refuses to call anything enforced that the gate did not read back. Always true: a gate that
holds anything else than the last table gets that again, and no order that cannot be compiled
keeps another from ending: then what the gate has is compiled without what must go, and the
rest is listed as not enforced.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from typing import Final

import structlog

from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, IntegrityError, UnavailableError
from enforcer.ports import Contents, Gate, GateReport, KeptFiles, ListWork, TableStats
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import Moment
from enforcer.services.plan import Held, Plan
from enforcer.services.tables import Compiled, TableMaker

VERIFY_SECONDS: Final = 60.0
"""How often the gate hashes the table that it holds: some 20 ms for a million names."""

_log: Final = structlog.get_logger(__name__)


class Enforcer:
    """Keeps one gate in step with the plan; one call at a time."""

    def __init__(
        self,
        *,
        gate: Gate,
        work: ListWork,
        contents: Contents,
        lists: ListKeeper,
        files: KeptFiles,
        secret: bytes,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._lists = lists
        self._seconds = seconds
        self._verify_seconds = -inf  # when the gate's table is to be hashed again
        self._tables = TableMaker(work=work, contents=contents, files=files, secret=secret)
        self._gate_floor_ms = 0  # of a table that the gate would not go back behind
        self.report: GateReport | None = None
        """What the gate said last, until it stops answering."""
        self._said = self.problem = "nothing was handed over yet"
        """Why the gate does not hold the plan; empty when it does."""

    @property
    def held(self) -> Held:
        """What the gate has, as far as is known."""
        return Held(self._at_gate, self._tables.protections)

    @property
    def stats(self) -> TableStats | None:
        """What was compiled last."""
        compiled = self._tables.compiled
        return compiled.stats if compiled is not None else None

    async def ask(self) -> None:
        """Ask the gate what it holds, and once a minute whether memory has kept it."""
        now_seconds = self._seconds()
        verify = now_seconds >= self._verify_seconds
        if await self._talk(self._gate.status(verify=verify)) and verify:
            self._verify_seconds = now_seconds + VERIFY_SECONDS

    async def bring(self, plan: Plan, moment: Moment) -> Plan:
        """Have the gate hold what the plan says, or know in `problem` why it does not.

        Returns the plan without the orders that turned out to be impossible, which it lists:
        that is what to attest.
        """
        self.problem = ""
        plan = await self._compile(plan, moment)
        compiled = self._tables.compiled
        if compiled is None or self.report is None or self._holds(compiled):
            await self.ask()
        table = self._tables.table
        if compiled is not None and self.report is not None and not self._holds(compiled):
            if table is not None:
                await self._talk(self._gate.load(table))
            if not self._holds(compiled):
                self.problem = self.problem or "the gate holds another table than it was given"
        self._say()
        return plan

    def state(self, plan: Plan) -> GateState:
        """Say whether what the gate read back is what the plan says."""
        if self.report is None:
            return GateState.UNREACHABLE
        held = [row for row in self.report.rows if row.is_in_force(plan.t_ms)]
        is_right = (
            self._tables.compiled is not None
            and self._holds(self._tables.compiled)
            and tuple(held) == plan.in_force == plan.attested_rows
        )
        return GateState.HOLDS_TABLE if is_right else GateState.DIFFERS

    @property
    def _at_gate(self) -> tuple[OrderRow, ...]:
        return self.report.rows if self.report is not None else ()

    async def _compile(self, plan: Plan, moment: Moment) -> Plan:
        """Have a table on disk for as much of the plan as can be; return that much."""
        self._tables.begin(plan)
        error = await self._make(plan, moment)
        while isinstance(error, IntegrityError):
            altered = [
                row for row in plan.rows if row.target_list_sha256 == error.data.get("expected")
            ]
            if not altered:
                break
            self._lists.distrust(altered[0].target_list_sha256)
            plan = plan.without(altered, NotEnforced.LIST_MISSING)
            error = await self._make(plan, moment)
        return plan if error is None else await self._compile_less(plan, moment, error)

    async def _compile_less(self, plan: Plan, moment: Moment, error: EnforcerError) -> Plan:
        """Have what must end at the gate end there, though the plan as such cannot be compiled."""
        if self.report is None:
            await self.ask()
        self.problem = f"cannot compile: {error.message}"
        if self.report is None:
            return plan  # there is no gate that could block anything too long
        may_stay = {row.index for row in plan.rows}
        must_end = any(
            row.is_in_force(plan.t_ms) and row.index not in may_stay for row in self._at_gate
        )
        if isinstance(error, UnavailableError) and not must_end:
            return plan  # it is tried again
        compiled = self._tables.compiled
        before = compiled.rows if compiled is not None else ()
        proven = {row.index for row in (*self._at_gate, *before)}
        new = [row for row in plan.rows if row.index not in proven]
        part = plan.without(new, NotEnforced.CANNOT_ENFORCE)
        error_of_part = await self._make(part, moment)
        if error_of_part is None:
            return part
        if isinstance(error_of_part, UnavailableError) or not must_end:
            return plan
        # Some of it must end, and no part can be compiled: all of it ends. A block too many is
        # worse than one too few.
        nothing = replace(plan.without(plan.rows, NotEnforced.CANNOT_ENFORCE), protections=None)
        return nothing if await self._make(nothing, moment) is None else plan

    async def _make(self, plan: Plan, moment: Moment) -> EnforcerError | None:
        return await self._tables.make(plan, moment, self._at_gate, self._gate_floor_ms)

    def _holds(self, compiled: Compiled) -> bool:
        report = self.report
        return (
            report is not None
            and report.body_sha256 == compiled.stats.body_sha256
            and report.table_digest == compiled.digest
            and report.rows == compiled.rows
        )

    async def _talk(self, call: Awaitable[GateReport]) -> bool:
        """Take what the gate reports, or say why it does not; tell which."""
        try:
            self.report = await call
        except UnavailableError as error:
            self.report = None
            self.problem = error.message
        except EnforcerError as error:
            self.problem = f"the gate refused the table: {error.message}"
            floor_ms = error.data.get("present_time_floor_ms")
            if isinstance(floor_ms, int):
                self._gate_floor_ms = floor_ms
        else:
            return True
        return False

    def _say(self) -> None:
        """Log a problem when it is new, and when it is over."""
        if self.problem != self._said:
            if self.problem:
                _log.error("the gate differs from the ledger", problem=self.problem)
            else:
                _log.info("the gate holds the table")
            self._said = self.problem
