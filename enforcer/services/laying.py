"""Laying a plan over a base, and having the gate hold that: overlays, compiled at once.

What turns out to be impossible on the way (an altered list, an order that cannot be compiled or
that the gate refuses) is left out, listed, and keeps nothing else back. Always true: when nothing
new can be compiled, what must end is handed over all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.core.attestation import NotEnforced
from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, IntegrityError, RefusedError
from enforcer.ports import SealedTable
from enforcer.services.base_table import Base, Made, key_of, table_targets
from enforcer.services.gate_link import GateLink, Given
from enforcer.services.impossible import Impossible
from enforcer.services.layers import Layers, lay
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import Moment
from enforcer.services.plan import Plan, Protections
from enforcer.services.tables import TableMaker

ATTEMPTS_MAX: Final = 8
"""Each leaves out something more of a plan; the rest is for the next round."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan over a base."""

    plan: Plan
    """Without what turned out to be impossible."""
    layers: Layers
    error: EnforcerError | None
    """Why the gate does not hold them; None when it does."""
    problem: str


class Layer:
    """Lays the plans of one node over bases; one call at a time."""

    def __init__(
        self, *, link: GateLink, tables: TableMaker, lists: ListKeeper, impossible: Impossible
    ) -> None:
        self._link = link
        self._tables = tables
        self._lists = lists
        self._impossible = impossible

    def floor_ms(self, moment: Moment) -> int:
        """Return the time floor for a table: a gate takes none before its own."""
        return max(moment.floor_ms, self._least_floor_ms(moment))

    async def put(self, plan: Plan, moment: Moment, base: Base) -> Outcome:
        """Have the gate hold as much of the plan as can be over `base`."""
        error: EnforcerError | None = None
        problem = ""
        for _ in range(ATTEMPTS_MAX):
            plan = self._without_missing(plan, base)
            layers = self._layers(plan, base)
            if not self._is_needed(plan, moment, base, layers):
                return Outcome(plan, layers, None, problem)
            try:
                given, overlay, problem, plan = await self._compile(plan, moment, base, layers)
            except IntegrityError as altered:
                self._lists.distrust(str(altered.data.get("expected")))
                error, problem = altered, f"cannot compile: {altered.message}"
                continue
            except EnforcerError as failed:
                return Outcome(plan, layers, failed, f"cannot compile: {failed.message}")
            error = await self._link.give(given, overlay)
            if overlay is not None:
                overlay.close()
            problem = self._link.problem or problem
            blamed = self._blamed(error, plan)
            if error is None or not blamed:
                break
            plan = self._impossible.add({key_of(row): error for row in blamed}, plan)
        return Outcome(plan, self._layers(plan, base), error, problem)

    async def _compile(
        self, plan: Plan, moment: Moment, base: Base, layers: Layers
    ) -> tuple[Given, SealedTable | None, str, Plan]:
        """Return what to give, the overlay in it, a problem with it, and the plan less culprits."""
        floor_ms, problem = self.floor_ms(moment), ""
        if base.made is not None and self._is_enough(base.made, plan, moment, base, layers):
            return Given(base, base.made, frozenset()), None, problem, plan
        try:
            overlay, made, culprits = await self._tables.overlay(plan, base, layers, floor_ms)
        except IntegrityError:
            raise
        except EnforcerError as error:
            if not layers.laid or not self._must_end(plan):
                raise
            problem = f"cannot compile: {error.message}"
            layers = layers.without_laid()
            overlay, made, culprits = await self._tables.overlay(plan, base, layers, floor_ms)
        laid = frozenset(map(key_of, layers.laid)) - culprits.keys()
        return Given(base, made, laid), overlay, problem, self._impossible.add(culprits, plan)

    def _without_missing(self, plan: Plan, base: Base) -> Plan:
        """Return the plan without what is neither in the base nor at hand as a list."""
        missing = [
            row
            for row in plan.rows
            if key_of(row) not in base.counts
            and table_targets(row)
            and not self._lists.has_for(row)
        ]
        if not missing or plan.protections is None:
            return plan  # in the latter case nothing new is compiled anyway
        return plan.without(missing, NotEnforced.LIST_MISSING)

    def _layers(self, plan: Plan, base: Base) -> Layers:
        given = self._link.given
        is_over_it = given is not None and given.base.sha256 == base.sha256
        return lay(
            plan,
            base,
            laid_before=given.laid if given is not None and is_over_it else frozenset(),
            protected_targets=self._protected_targets(base.protections),
        )

    def _protected_targets(self, protections: Protections | None) -> int | None:
        """Return how many targets protect names; None where their lists are not at hand."""
        if protections is None:
            return None
        counts = [self._lists.count(each) for each in protections.lists]
        return sum(count for count in counts if count is not None) if None not in counts else None

    def _is_needed(self, plan: Plan, moment: Moment, base: Base, layers: Layers) -> bool:
        """Tell whether the gate must be given something to hold these layers."""
        given = self._link.given
        if given is None and self._link.has(base) and layers.waiting:
            # From before this process began, and not to be had again: it stays as it is.
            return _lasting(self._link.rows, plan.t_ms) != plan.rows
        if given is None or not self._link.holds or given.base.sha256 != base.sha256:
            return True
        return not self._is_right(given.made, plan, moment, layers.rows)

    def _is_enough(
        self, made: Made, plan: Plan, moment: Moment, base: Base, layers: Layers
    ) -> bool:
        """Tell whether a base that the gate lacks does without an overlay."""
        given = self._link.given
        is_newest = given is None or given.age <= (made.ledger_size, made.time_floor_ms)
        return (
            not self._link.has(base)
            and is_newest
            and self._is_right(made, plan, moment, layers.rows)
        )

    def _is_right(self, made: Made, plan: Plan, moment: Moment, rows: tuple[OrderRow, ...]) -> bool:
        """Tell whether a table has the right rows, and a gate would take and judge by them."""
        policy = plan.policy.payload
        # A gate goes by its clock, but never before its table's floor. When that clock was
        # stepped back over the beginning or end of an order, the floor must be raised.
        gate_ms = max(moment.own_ms, made.time_floor_ms)
        return (
            _lasting(made.rows, plan.t_ms) == rows
            and list(map(key_of, _lasting(made.rows, plan.t_ms))) == list(map(key_of, rows))
            and made.register == (policy.register_url, policy.register_domain)
            and made.time_floor_ms >= self._least_floor_ms(moment)
            and not any(
                gate_ms < time <= moment.floor_ms
                for row in made.rows
                for time in (row.from_ms, row.until_ms)
            )
        )

    def _least_floor_ms(self, moment: Moment) -> int:
        return self._link.floor_ms if self._link.floor_ms <= moment.t_ms else 0

    def _must_end(self, plan: Plan) -> bool:
        """Tell whether the gate blocks what the plan does not have."""
        may_stay = {row.index for row in plan.rows}
        return any(
            row.is_in_force(plan.t_ms) and row.index not in may_stay for row in self._link.rows
        )

    def _blamed(self, error: EnforcerError | None, plan: Plan) -> list[OrderRow]:
        """Return the orders that the gate names as the reason for its refusal."""
        if not isinstance(error, RefusedError):
            return []
        return [row for row in plan.rows if row.index == error.data.get("order_index")]


def _lasting(rows: tuple[OrderRow, ...], t_ms: int) -> tuple[OrderRow, ...]:
    """Return those that have not ended: the others block nothing, and may stay."""
    return tuple(row for row in rows if row.until_ms > t_ms)
