"""Compiling base tables in the background, one at a time, while overlays go on.

Whoever wants one says so as often as he likes. What turned out to be impossible is not tried
again until something else is wanted, and what failed otherwise when it is wanted again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, InputError, IntegrityError
from enforcer.ports import KeptFiles
from enforcer.services import base_table
from enforcer.services.base_table import Base, RowKey
from enforcer.services.plan import Plan, Protections
from enforcer.services.tables import TableMaker

REFUSED_SECONDS: Final = 60.0
"""A gate that refused a base is not given the same again for so long."""
KEEP_RETRY_SECONDS: Final = 5.0

Recipe: TypeAlias = tuple[tuple[OrderRow, ...], Protections | None, str, str]
"""All that decides whether a base can be compiled: rows, protections, register."""

_log: Final = structlog.get_logger(__name__)


class BaseCompiler:
    """Compiles and keeps the bases of one node; use it from one event loop."""

    def __init__(
        self,
        tables: TableMaker,
        files: KeptFiles,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables = tables
        self._files = files
        self._seconds = seconds
        self._wake = asyncio.Event()
        self._wanted: tuple[Plan, int] | None = None
        self._ready: Base | None = None
        self._is_taken_back = False
        self._hopeless: Recipe | None = None
        self._refused: tuple[Recipe, float] | None = None  # and until when
        self._culprits: dict[RowKey, InputError] = {}
        self._altered: str | None = None
        self._to_keep: Base | None = None
        self._is_kept = True
        self.is_compiling = False
        self.error: EnforcerError | None = None
        """Why there is no base, after the last attempt."""
        self.on_done: Callable[[], None] = lambda: None
        """Called after each attempt."""

    @property
    def is_ready(self) -> bool:
        """Whether there is a base that nobody has taken yet; one taken back is none."""
        return self._ready is not None and not self._is_taken_back

    def want(self, plan: Plan, floor_ms: int) -> None:
        """Have a base compiled for the plan, unless that is known to lead nowhere."""
        recipe = recipe_of(plan)
        if self.is_compiling or self._ready is not None or recipe == self._hopeless:
            return
        if self._refused is not None:
            refused, until_seconds = self._refused
            if refused == recipe and self._seconds() < until_seconds:
                return
        self._wanted = plan, floor_ms
        self.is_compiling = True
        self._wake.set()

    def take(self) -> Base | None:
        """Return the base that has become ready, once; from then on it is the caller's."""
        ready, self._ready, self._is_taken_back = self._ready, None, False
        return ready

    def take_back(self, base: Base) -> None:
        """Keep a base that could not be handed over now; the next `take` returns it."""
        self._ready, self._is_taken_back = base, True

    def take_faults(self) -> tuple[dict[RowKey, InputError], str | None]:
        """Return what was left out as impossible, and the list found altered; each once."""
        culprits, altered = self._culprits, self._altered
        self._culprits, self._altered = {}, None
        return culprits, altered

    def is_hopeless(self, plan: Plan) -> bool:
        """Tell whether no base can be compiled for the plan, whatever is left out."""
        return recipe_of(plan) == self._hopeless

    def refused(self, plan: Plan) -> None:
        """Hear that the gate refused a base of this plan."""
        self._refused = recipe_of(plan), self._seconds() + REFUSED_SECONDS

    def keep(self, base: Base) -> None:
        """Have it remembered that the gate has this base; a full disk delays that."""
        self._to_keep = base
        self._wake.set()

    async def run(self) -> None:
        """Compile and keep what is wanted; it never returns."""
        while True:
            try:
                async with asyncio.timeout(None if self._to_keep is None else KEEP_RETRY_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._keep()
            await self._compile()

    async def _compile(self) -> None:
        if self._wanted is None:
            return
        plan, floor_ms = self._wanted
        self._wanted = None
        try:
            self._ready, self._culprits = await self._tables.base(plan, floor_ms)
            self.error = None
        except EnforcerError as error:
            _log.error("compiled no base table", problem=error.message, advice=error.advice)
            self.error = error
            if isinstance(error, InputError):  # it is in the plan, and comes again
                self._hopeless = recipe_of(plan)
            if isinstance(error, IntegrityError):
                self._altered = str(error.data.get("expected"))
        finally:
            self.is_compiling = False
        self.on_done()

    async def _keep(self) -> None:
        base = self._to_keep
        if base is None:
            return
        try:
            await asyncio.to_thread(base_table.keep, self._files, base)
        except EnforcerError as error:
            if self._is_kept:
                _log.error("cannot keep what is in the base table", problem=error.message)
            self._is_kept = False
        else:
            self._is_kept = True
            if self._to_keep is base:
                self._to_keep = None


def recipe_of(plan: Plan) -> Recipe:
    """Return what decides whether a base can be compiled for the plan."""
    policy = plan.policy.payload
    return plan.rows, plan.protections, policy.register_url, policy.register_domain
