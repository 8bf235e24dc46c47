"""In the place of a gate where there is none: the node follows, attests, and blocks addresses.

The same verbs as `Enforcer`. Refuses to claim anything: of orders that need a gate the plan does
not speak, and each attestation says that there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from enforcer.core.attestation import GateState
from enforcer.ports import GateReport
from enforcer.services.node_time import Moment
from enforcer.services.plan import Held, Plan


class NoGate:
    """A node's word that it has no gate."""

    has_gate: Final = False
    report: GateReport | None = None
    held: Final = Held()
    is_settled: Final = True
    problem: Final = ""

    def wake_with(self, on_change: Callable[[], None]) -> None:
        """Nothing ever changes here."""

    async def run(self) -> None:
        """Do nothing; it never returns."""
        await asyncio.Event().wait()

    async def ask(self) -> None:
        """There is nobody to ask."""

    async def bring(self, plan: Plan, _moment: Moment) -> Plan:
        """Return the plan as it is: all that is in it is the firewall's."""
        return plan

    def state(self, _plan: Plan | None) -> GateState:
        """Say that there is none."""
        return GateState.NONE

    def attested(self, plan: Plan) -> Plan:
        """Return the plan: nobody can switch off what is not there."""
        return plan
