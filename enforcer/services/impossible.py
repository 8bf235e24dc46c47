"""Orders that turned out to be impossible to compile, so that they are not tried all the time.

Tried again when there is hope: under other protections or another register, or once an order
that was beside them is gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from enforcer.core.attestation import NotEnforced
from enforcer.errors import EnforcerError, RefusedError
from enforcer.services.base_table import RowKey, key_of
from enforcer.services.plan import Plan, Protections


class Impossible:
    """What cannot be compiled at one node, and why."""

    def __init__(self) -> None:
        self._errors: dict[RowKey, EnforcerError] = {}
        self._under: tuple[Protections | None, str, str] | None = None
        self._beside: frozenset[RowKey] = frozenset()

    @property
    def problem(self) -> str:
        """Why the first of them is impossible; empty when nothing is."""
        return next((f"cannot compile: {error.message}" for error in self._errors.values()), "")

    @property
    def blamed(self) -> frozenset[int]:
        """Which of them the gate refuses for themselves, by entry index."""
        return frozenset(
            key[0]
            for key, error in self._errors.items()
            if isinstance(error, RefusedError) and error.data.get("order_index") == key[0]
        )

    def add(self, errors: Mapping[RowKey, EnforcerError], plan: Plan) -> Plan:
        """Remember what of the plan is impossible; return the plan without it."""
        if errors:
            self._errors.update(errors)
            self._under = _under(plan)
            self._beside = frozenset(map(key_of, plan.rows)) - self._errors.keys()
        return self._without(plan)

    def part(self, plan: Plan) -> Plan:
        """Return a new plan without what is impossible, as far as that still holds."""
        keys = frozenset(map(key_of, plan.rows))
        if _under(plan) != self._under or not self._beside <= keys:
            self._errors.clear()
        for key in self._errors.keys() - keys:
            del self._errors[key]
        return self._without(plan)

    def _without(self, plan: Plan) -> Plan:
        if not self._errors:
            return plan
        rows = [row for row in plan.rows if key_of(row) in self._errors]
        return plan.without(rows, NotEnforced.CANNOT_ENFORCE)


def _under(plan: Plan) -> tuple[Protections | None, str, str]:
    policy = plan.policy.payload
    return plan.protections, policy.register_url, policy.register_domain
