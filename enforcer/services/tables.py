"""Compiling what a plan says: bases from all its lists, overlays from those that are new.

An order that cannot be compiled is found and left out, and the others are compiled without it.
Refuses nothing else: what is in force when is the plan's to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from enforcer.core.table import OrderRow
from enforcer.errors import InputError
from enforcer.ports import CompileJob, ListWork, SealedTable, TableStats
from enforcer.services.base_table import Base, Made, RowKey, key_of, table_targets
from enforcer.services.layers import Layers
from enforcer.services.lists import ListKeeper
from enforcer.services.plan import Plan, Protections

CULPRITS_MAX: Final = 8
"""So many orders that cannot be compiled are looked for at a time."""

Compiled = tuple[SealedTable, TableStats]

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """A table, and the orders that turned out to be impossible on the way to it."""

    table: SealedTable
    stats: TableStats
    culprits: dict[RowKey, InputError] = field(default_factory=dict)


class TableMaker:
    """Compiles the tables of one node."""

    def __init__(self, *, work: ListWork, lists: ListKeeper, secret: bytes) -> None:
        self._work = work
        self._lists = lists
        self._secret = secret

    async def base(self, plan: Plan, floor_ms: int) -> tuple[Base, dict[RowKey, InputError]]:
        """Compile a base of what the plan says; return it, and what it had to leave out.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: it cannot be compiled whatever orders are left out.
            UnavailableError: not now.
        """
        protections = plan.protections or Protections(None, None)

        async def compile_(rows: Sequence[OrderRow]) -> Compiled:
            return await self._work.compile(self._job(plan, floor_ms, rows, protections))

        result = await compiled_most(plan.rows, compile_)
        rows = tuple(row for row in plan.rows if key_of(row) not in result.culprits)
        base = Base(
            sha256=result.stats.body_sha256,
            counts={key_of(row): table_targets(row) for row in rows},
            protections=protections,
            made=_made(plan, floor_ms, rows, result.stats),
            table=result.table,
        )
        _log.info(
            "compiled a base table",
            ledger_size=plan.ledger_size,
            orders=len(rows),
            names=result.stats.name_count,
            size_bytes=result.stats.bytes,
        )
        return base, result.culprits

    async def overlay(
        self, plan: Plan, base: Base, layers: Layers, floor_ms: int
    ) -> tuple[SealedTable, Made, dict[RowKey, InputError]]:
        """Compile the overlay of `layers` over `base`; return it, and what it had to leave out.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: it cannot be compiled whatever orders are left out.
            UnavailableError: not now.
        """
        laid = {row.index for row in layers.laid}

        def rows_with(new: Sequence[OrderRow]) -> tuple[OrderRow, ...]:
            absent = laid - {row.index for row in new}
            return tuple(row for row in layers.rows if row.index not in absent)

        async def compile_(new: Sequence[OrderRow]) -> Compiled:
            # Protections decide about what is new: without that the base has all it needs.
            protections = base.protections if new else None
            job = self._job(plan, floor_ms, new, protections, base.sha256, rows_with(new))
            return await self._work.compile_overlay(job)

        result = await compiled_most(layers.laid, compile_)
        rows = tuple(row for row in layers.rows if key_of(row) not in result.culprits)
        made = _made(plan, floor_ms, rows, result.stats)
        return result.table, made, result.culprits

    def _job(
        self,
        plan: Plan,
        floor_ms: int,
        orders: Sequence[OrderRow],
        protections: Protections | None,
        base_sha256: str | None = None,
        rows: tuple[OrderRow, ...] = (),
    ) -> CompileJob:
        policy = plan.policy.payload
        return CompileJob(
            origin=plan.origin,
            ledger_size=plan.ledger_size,
            time_floor_ms=floor_ms,
            table_digest=plan.digest,
            secret=self._secret,
            register_url=policy.register_url,
            register_domain=policy.register_domain,
            orders=tuple((row, self._lists.path(row.target_list_sha256)) for row in orders),
            protected_core=self._lists.pinned(protections.core if protections else None),
            protected_names=self._lists.pinned(protections.names if protections else None),
            base_sha256=base_sha256,
            rows=rows,
            salted=self._lists.salted(row.target_list_sha256 for row in orders),
        )


async def compiled_most(
    rows: Sequence[OrderRow], compile_: Callable[[Sequence[OrderRow]], Awaitable[Compiled]]
) -> Result:
    """Compile as many of `rows` as can be compiled together, the earliest first.

    Raises:
        InputError: there are over `CULPRITS_MAX` that cannot be, or it is not for the rows.
    """
    left = list(rows)
    culprits: dict[RowKey, InputError] = {}
    while True:
        try:
            return Result(*await compile_(left), culprits)
        except InputError as error:
            if not left or len(culprits) == CULPRITS_MAX:
                raise
            culprit = left.pop(await _first_bad(left, compile_))
            culprits[key_of(culprit)] = error
            _log.error("cannot compile an order", index=culprit.index, problem=error.message)


async def _first_bad(
    rows: Sequence[OrderRow], compile_: Callable[[Sequence[OrderRow]], Awaitable[Compiled]]
) -> int:
    """Return the first of `rows` with which, after all before it, compiling fails.

    Raises:
        InputError: it fails without any of them.
    """
    (await compile_(rows[:0]))[0].close()
    good, bad = 0, len(rows)  # so many succeed, so many fail
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            (await compile_(rows[:middle]))[0].close()
            good = middle
        except InputError:
            bad = middle
    return good


def _made(plan: Plan, floor_ms: int, rows: tuple[OrderRow, ...], stats: TableStats) -> Made:
    policy = plan.policy.payload
    return Made(
        sha256=stats.body_sha256,
        rows=rows,
        digest=plan.digest,
        ledger_size=plan.ledger_size,
        time_floor_ms=floor_ms,
        register=(policy.register_url, policy.register_domain),
    )
