"""The table that a node has on disk, and what it was compiled from.

Compiles when the table there does not do for a plan, and not before; what turned out to be
impossible is not tried again until something else is planned. Always true: the last table stays
until the next one is whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, InputError
from enforcer.ports import CompileJob, Contents, KeptFiles, ListWork, SealedTable, TableStats
from enforcer.services.node_time import Moment
from enforcer.services.plan import Plan, Protections

PROTECTIONS_FILE: Final = "protections.json"
ENDED_ROWS_MAX: Final = 8
"""So many ended orders may stay in the table; they block nothing."""

Recipe: TypeAlias = tuple[tuple[OrderRow, ...], Protections | None, str, str]
"""All that decides whether a table can be compiled: rows, protections, register."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A table, and what it was made from."""

    rows: tuple[OrderRow, ...]
    protections: Protections
    register: tuple[str, str]
    time_floor_ms: int
    digest: str
    stats: TableStats


class TableMaker:
    """Makes the tables of one node; one call at a time."""

    def __init__(
        self, *, work: ListWork, contents: Contents, files: KeptFiles, secret: bytes
    ) -> None:
        self._work = work
        self._contents = contents
        self._files = files
        self._secret = secret
        self._hopeless: dict[Recipe, EnforcerError] = {}
        self.compiled: Compiled | None = None
        """What was compiled last; None until this process has compiled."""
        self.table: SealedTable | None = None
        """The table itself."""
        self.protections = _read_protections(files)
        """What the table on disk was compiled with, by this process or one before it."""

    def begin(self, plan: Plan) -> None:
        """Hear what is planned now: another plan than before may be possible again."""
        if _recipe(plan) not in self._hopeless:
            self._hopeless.clear()

    async def make(
        self, plan: Plan, moment: Moment, at_gate: Sequence[OrderRow], gate_floor_ms: int = 0
    ) -> EnforcerError | None:
        """Compile if the table on disk does not do; return what kept that from being done.

        `at_gate` is what the gate holds. It takes no table with a time floor before
        `gate_floor_ms`, which the table gets as well unless that is to come.
        """
        least_ms = gate_floor_ms if gate_floor_ms <= moment.t_ms else 0
        floor_ms = max(moment.floor_ms, least_ms)
        recipe = _recipe(plan)
        if recipe in self._hopeless:
            return self._hopeless[recipe]
        try:
            compiled = self.compiled
            is_refused = compiled is not None and compiled.time_floor_ms < least_ms
            if is_refused or self._is_needed(plan, moment, at_gate):
                await self._compile(plan, floor_ms)
        except EnforcerError as error:
            _log.error("compiled no table", problem=error.message, advice=error.advice)
            if isinstance(error, InputError):  # it is in the plan, and comes again
                self._hopeless[recipe] = error
            return error
        return None

    def _is_needed(self, plan: Plan, moment: Moment, at_gate: Sequence[OrderRow]) -> bool:
        if plan.protections is None:
            return not plan.rows and any(row.is_in_force(plan.t_ms) for row in at_gate)
        compiled = self.compiled
        if compiled is None:
            return True
        policy = plan.policy.payload
        lasting = tuple(row for row in compiled.rows if row.until_ms > plan.t_ms)
        # A gate goes by its clock, but never before its table's floor. When that clock was
        # stepped back over the beginning or end of an order, the floor must be raised.
        gate_ms = max(moment.own_ms, compiled.time_floor_ms)
        return (
            lasting != plan.rows
            or len(compiled.rows) - len(lasting) > ENDED_ROWS_MAX
            or compiled.protections != plan.protections
            or compiled.register != (policy.register_url, policy.register_domain)
            or any(
                gate_ms < time <= moment.floor_ms
                for row in compiled.rows
                for time in (row.from_ms, row.until_ms)
            )
        )

    async def _compile(self, plan: Plan, floor_ms: int) -> None:
        protections = plan.protections or Protections(None, None)
        policy = plan.policy.payload
        job = CompileJob(
            origin=plan.origin,
            ledger_size=plan.ledger_size,
            time_floor_ms=floor_ms,
            table_digest=plan.digest,
            secret=self._secret,
            register_url=policy.register_url,
            register_domain=policy.register_domain,
            orders=tuple((row, self._contents.path(row.target_list_sha256)) for row in plan.rows),
            protected_core=self._path(protections.core),
            protected_names=self._path(protections.names),
        )
        table, stats = await self._work.compile(job)
        former, self.table = self.table, table
        if former is not None:
            former.close()
        self.compiled = Compiled(
            plan.rows,
            protections,
            (policy.register_url, policy.register_domain),
            floor_ms,
            plan.digest,
            stats,
        )
        if protections != self.protections:
            await asyncio.to_thread(self._files.write, PROTECTIONS_FILE, _spell(protections))
            self.protections = protections
        _log.info(
            "compiled a table",
            ledger_size=plan.ledger_size,
            orders=len(plan.rows),
            names=stats.name_count,
            size_bytes=stats.bytes,
        )

    def _path(self, sha256: str | None) -> Path | None:
        return self._contents.path(sha256) if sha256 is not None else None


def _recipe(plan: Plan) -> Recipe:
    policy = plan.policy.payload
    return plan.rows, plan.protections, policy.register_url, policy.register_domain


def _spell(protections: Protections) -> bytes:
    return json.dumps({"core": protections.core, "names": protections.names}).encode("ascii")


def _read_protections(files: KeptFiles) -> Protections | None:
    """Read what the table on disk was compiled with; None when that is not known."""
    try:
        plain = json.loads(files.read(PROTECTIONS_FILE) or b"null")
        return Protections(plain["core"], plain["names"])
    except (ValueError, TypeError, KeyError):
        return None
