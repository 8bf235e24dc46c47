"""From a plan to what the gate holds: compile, hand over, read back.

Refuses to call anything enforced that the gate did not read back. Always true: the last table
that was compiled stays on disk until the next one is whole, and a gate that holds anything else
gets it again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import structlog

from enforcer.core.attestation import GateState
from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, IntegrityError, UnavailableError
from enforcer.ports import CompileJob, Contents, Gate, GateReport, KeptFiles, ListWork, TableStats
from enforcer.services.lists import ListKeeper
from enforcer.services.plan import Held, Plan, Protections

TABLE_FILE: Final = "table"
NEXT_TABLE_FILE: Final = "table.next"
PROTECTIONS_FILE: Final = "protections.json"
ENDED_ROWS_MAX: Final = 8
"""So many ended orders may stay in the table; they block nothing."""
VERIFY_SECONDS: Final = 60.0
"""How often the gate hashes the table that it holds: some 20 ms for a million names."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The table in `TABLE_FILE`, and what it was made from."""

    rows: tuple[OrderRow, ...]
    protections: Protections
    register: tuple[str, str]
    time_floor_ms: int
    digest: str
    stats: TableStats


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
        self._work = work
        self._contents = contents
        self._lists = lists
        self._files = files
        self._secret = secret
        self._seconds = seconds
        self._verify_seconds = -inf  # when the gate's table is to be hashed again
        self._compiled: Compiled | None = None
        self._former = _read_protections(files)
        self.report: GateReport | None = None
        """What the gate said last, until it stops answering."""
        self._said = self.problem = "nothing was handed over yet"
        """Why the gate does not hold the plan; empty when it does."""

    @property
    def held(self) -> Held:
        """What the gate has, as far as is known."""
        return Held(self.report.rows if self.report is not None else (), self._former)

    @property
    def stats(self) -> TableStats | None:
        """What was compiled last."""
        return self._compiled.stats if self._compiled is not None else None

    async def ask(self) -> None:
        """Ask the gate what it holds, and once a minute whether memory has kept it."""
        now_seconds = self._seconds()
        verify = now_seconds >= self._verify_seconds
        if await self._talk(self._gate.status(verify=verify)) and verify:
            self._verify_seconds = now_seconds + VERIFY_SECONDS

    async def bring(self, plan: Plan, own_ms: int) -> None:
        """Have the gate hold what the plan says, or know in `problem` why it does not.

        `own_ms` is the machine's clock, which the gate goes by.
        """
        self.problem = ""
        try:
            await self._compile_if_needed(plan, own_ms)
        except EnforcerError as error:
            self.problem = f"cannot compile: {error.message}"
            _log.error("compiled no table", problem=error.message, advice=error.advice)
            expected = error.data.get("expected")
            if isinstance(error, IntegrityError) and isinstance(expected, str):
                self._lists.distrust(expected)
        compiled = self._compiled
        if compiled is None or self.report is None or self._holds(compiled):
            await self.ask()
        if compiled is not None and self.report is not None and not self._holds(compiled):
            await self._talk(self._gate.load(self._files.path(TABLE_FILE)))
            if not self._holds(compiled):
                self.problem = self.problem or "the gate holds another table than it was given"
        self._say()

    def state(self, plan: Plan) -> GateState:
        """Say whether what the gate read back is what the plan says."""
        if self.report is None:
            return GateState.UNREACHABLE
        held = [row for row in self.report.rows if row.is_in_force(plan.t_ms)]
        is_right = (
            self._compiled is not None
            and self._holds(self._compiled)
            and tuple(held) == plan.in_force == plan.attested_rows
        )
        return GateState.HOLDS_TABLE if is_right else GateState.DIFFERS

    async def _compile_if_needed(self, plan: Plan, own_ms: int) -> None:
        if not self._needs_table(plan, own_ms):
            return
        protections = plan.protections or Protections(None, None)
        policy = plan.policy.payload
        job = CompileJob(
            out_path=self._files.path(NEXT_TABLE_FILE),
            origin=plan.origin,
            ledger_size=plan.ledger_size,
            time_floor_ms=plan.t_ms,
            table_digest=plan.digest,
            secret=self._secret,
            register_url=policy.register_url,
            register_domain=policy.register_domain,
            orders=tuple((row, self._contents.path(row.target_list_sha256)) for row in plan.rows),
            protected_core=self._path(protections.core),
            protected_names=self._path(protections.names),
        )
        stats = await self._work.compile(job)
        await asyncio.to_thread(self._files.rename, NEXT_TABLE_FILE, TABLE_FILE)
        self._compiled = Compiled(
            plan.rows,
            protections,
            (policy.register_url, policy.register_domain),
            plan.t_ms,
            plan.digest,
            stats,
        )
        if protections != self._former:
            await asyncio.to_thread(self._files.write, PROTECTIONS_FILE, _spell(protections))
            self._former = protections
        _log.info(
            "compiled a table",
            ledger_size=plan.ledger_size,
            orders=len(plan.rows),
            names=stats.name_count,
            size_bytes=stats.bytes,
        )

    def _needs_table(self, plan: Plan, own_ms: int) -> bool:
        """Tell whether the table on disk does not do for the plan."""
        if plan.protections is None:
            return not plan.rows and any(row.is_in_force(plan.t_ms) for row in self.held.rows)
        compiled = self._compiled
        if compiled is None:
            return True
        policy = plan.policy.payload
        lasting = tuple(row for row in compiled.rows if row.until_ms > plan.t_ms)
        # A gate goes by its clock, but never before its table's floor. When that clock was
        # stepped back over the beginning or end of an order, the floor must be raised.
        gate_ms = max(own_ms, compiled.time_floor_ms)
        return (
            lasting != plan.rows
            or len(compiled.rows) - len(lasting) > ENDED_ROWS_MAX
            or compiled.protections != plan.protections
            or compiled.register != (policy.register_url, policy.register_domain)
            or any(
                gate_ms < time <= plan.t_ms
                for row in compiled.rows
                for time in (row.from_ms, row.until_ms)
            )
        )

    def _holds(self, compiled: Compiled) -> bool:
        report = self.report
        return (
            report is not None
            and report.body_sha256 == compiled.stats.body_sha256
            and report.table_digest == compiled.digest
            and report.rows == compiled.rows
        )

    def _path(self, sha256: str | None) -> Path | None:
        return self._contents.path(sha256) if sha256 is not None else None

    async def _talk(self, call: Awaitable[GateReport]) -> bool:
        """Take what the gate reports, or say why it does not; tell which."""
        try:
            self.report = await call
        except UnavailableError as error:
            self.report = None
            self.problem = f"the gate does not answer: {error.message}"
        except EnforcerError as error:
            self.problem = f"the gate refused the table: {error.message}"
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


def _spell(protections: Protections) -> bytes:
    return json.dumps({"core": protections.core, "names": protections.names}).encode("ascii")


def _read_protections(files: KeptFiles) -> Protections | None:
    """Read what the table on disk was compiled with; None when that is not known."""
    try:
        plain = json.loads(files.read(PROTECTIONS_FILE) or b"null")
        return Protections(plain["core"], plain["names"])
    except (ValueError, TypeError, KeyError):
        return None
