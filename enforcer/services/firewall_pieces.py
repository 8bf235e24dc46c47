"""From the orders in force to what the firewall is to hold, without waiting for lists.

Flattening runs in the background, for the newest orders wanted. What must end needs no list and
goes at once: the pieces at hand less those of its row. Always true: no row is in a content that
was not wanted, and no piece that the lists do not give.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.core.firewall import FirewallRow, Pieces
from enforcer.core.table import IpMeasure, OrderRow
from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import FirewallContent, FlatPieces, PieceJob, PieceWork
from enforcer.services.lists import ListKeeper
from enforcer.services.plan import Plan, Protections

FLATTENED_AT_ONCE_SECONDS: Final = 0.2
"""So long a change waits for its pieces; then what must end goes without them."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that pieces depend on."""

    rows: tuple[OrderRow, ...]
    """Those in force against addresses, ascending."""
    overrides: tuple[tuple[str, ...], ...]
    """Of each of them: rows do not compare theirs."""
    protections: Protections | None

    @classmethod
    def of(cls, rows: tuple[OrderRow, ...], protections: Protections | None) -> Recipe:
        """Return the recipe for these rows."""
        return cls(rows, tuple(row.overrides for row in rows), protections)

    @property
    def firewall_rows(self) -> tuple[FirewallRow, ...]:
        """The rows as the firewall holds them."""
        return tuple(FirewallRow(row.index, row.ip_measure) for row in self.rows)


def in_force(plan: Plan, t_ms: int, without: frozenset[int]) -> Recipe:
    """Return what a plan wants of the firewall at a time, less the rows with those indices."""
    rows = tuple(
        row
        for row in plan.rows
        if row.ip_measure in (IpMeasure.REJECT, IpMeasure.DROP)
        and row.is_in_force(t_ms)
        and row.index not in without
    )
    return Recipe.of(rows, plan.protections)


class PieceMaker:
    """Makes the pieces of one firewall; use it from one event loop."""

    def __init__(self, work: PieceWork, lists: ListKeeper) -> None:
        self._work = work
        self._lists = lists
        self._task: asyncio.Task[FlatPieces] | None = None
        self._asked: Recipe | None = None
        """What the task flattens, or has failed at."""
        self._made: tuple[Recipe, FlatPieces] | None = None
        self.problem = ""
        """Why there are no pieces for what is wanted; empty while they come."""
        self.on_done: Callable[[], None] = lambda: None
        """Called when pieces are there, or cannot be made."""

    @property
    def is_busy(self) -> bool:
        """Whether pieces are being made."""
        return self._task is not None

    def is_exact(self, recipe: Recipe) -> bool:
        """Tell whether there are pieces for exactly this."""
        return self._made is not None and self._made[0] == recipe

    def retry(self) -> None:
        """Try again what failed."""
        if self._task is None and not (self._made and self._made[0] == self._asked):
            self._asked = None

    async def content(self, recipe: Recipe, held: FirewallContent) -> FirewallContent:
        """Return as much of what is wanted as can be had soon; `protected` is that of `held`.

        Without all lists nothing begins, and what is held and wanted stays.
        """
        if not recipe.rows:
            return FirewallContent((), Pieces(), held.protected)
        if not self.is_exact(recipe) and self._task is None and recipe != self._asked:
            self._begin(recipe)
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLATTENED_AT_ONCE_SECONDS):
                    await asyncio.wait({self._task})
            self._take()
        made = self._made
        if made is not None and made[0] == recipe:
            return FirewallContent(recipe.firewall_rows, made[1].pieces, held.protected)
        if made is not None and self._is_later(made[0], held):
            held = FirewallContent(made[0].firewall_rows, made[1].pieces, held.protected)
        return await self.less(held, recipe)

    async def less(self, held: FirewallContent, recipe: Recipe) -> FirewallContent:
        """Return what is held less all that is not wanted."""
        wanted = set(recipe.firewall_rows)
        rows = tuple(row for row in held.rows if row in wanted)
        if rows == held.rows:
            return held
        pieces = await self._work.keep_rows(held.pieces, {row.index for row in rows})
        return FirewallContent(rows, pieces, held.protected)

    async def digest(self, held: FirewallContent) -> str:
        """Return what to attest of pieces that are held, and that are exactly what is wanted."""
        salts = self._made[1].salts if self._made is not None and held.rows else {}
        return await self._work.digest(held.pieces, held.rows, salts)

    async def close(self) -> None:
        """Give up what is being made."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, recipe: Recipe) -> None:
        self._asked = recipe
        absent = [row for row in recipe.rows if not self._lists.has_for(row)]
        if recipe.protections is None or absent:
            self.problem = "lists that the firewall needs are not at hand"
            return
        self.problem = ""
        job = PieceJob(
            orders=tuple((row, self._lists.path(row.target_list_sha256)) for row in recipe.rows),
            protected_core=self._lists.pinned(recipe.protections.core),
            protected_names=self._lists.pinned(recipe.protections.names),
            salted=self._lists.salted(row.target_list_sha256 for row in recipe.rows),
        )
        self._task = asyncio.create_task(self._flatten(job))
        self._task.add_done_callback(lambda _task: self.on_done())

    async def _flatten(self, job: PieceJob) -> FlatPieces:
        return await self._work.flatten(job)

    def _take(self) -> None:
        """Take what the task has made, or why it did not."""
        task, recipe = self._task, self._asked
        if task is None or recipe is None or not task.done():
            return
        self._task = None
        try:
            self._made = recipe, task.result()
        except EnforcerError as error:
            self.problem = f"cannot flatten: {error.message}"
            _log.error("made no pieces for the firewall", problem=error.message)
            if isinstance(error, IntegrityError):
                self._lists.distrust(str(error.data.get("expected")))

    def _is_later(self, made: Recipe, held: FirewallContent) -> bool:
        """Tell whether pieces that are not for the newest orders have more than what is held."""
        return not {row.index for row in made.rows} <= {row.index for row in held.rows}
