"""What this node should enforce now: its parts asked for a plan.

Owns which of a node's parts has a say in a plan. Decides nothing itself (`plan` does), and keeps
nothing. Always true: gate and firewall go by plans that were made alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from enforcer.core.table import NO_LOCAL_LAYER
from enforcer.services.canaries import Canaries
from enforcer.services.enforce import Enforcer
from enforcer.services.firewalling import Firewalling
from enforcer.services.lists import ListKeeper
from enforcer.services.no_gate import NoGate
from enforcer.services.node_time import NodeTime
from enforcer.services.plan import Plan, make_plan
from enforcer.services.replica import Replica
from enforcer.services.scans import Scans
from enforcer.services.stops import StopKeeper
from enforcer.services.suspensions import SuspensionKeeper


@dataclass(frozen=True, slots=True)
class Planner:
    """The parts of one node that a plan is made of."""

    key_id: str
    """The node's, by which the roots registered its operator."""
    replica: Replica
    time: NodeTime
    stops: StopKeeper
    suspensions: SuspensionKeeper
    lists: ListKeeper
    scans: Scans
    enforcer: Enforcer | NoGate
    canaries: Canaries
    firewall: Firewalling | None = None

    @property
    def operator(self) -> str | None:
        """Whose network this node belongs to, as the roots registered it."""
        record = self.replica.state.keys.get(self.key_id)
        return None if record is None else record.registration.operator

    def firewall_plan(self) -> Plan | None:
        """Return what the firewall goes by; also where it only says what it would do."""
        return self.plan(self.time.now_ms(), blocks_addresses=True)

    def plan(self, t_ms: int, *, blocks_addresses: bool | None = None) -> Plan | None:
        """Return what should hold; addresses are blocked where there is a firewall, or as told."""
        firewall, held = self.firewall, self.enforcer.held
        if firewall is not None:
            held = replace(held, at_firewall=firewall.held_rows)
        if blocks_addresses is None:
            blocks_addresses = firewall is not None and firewall.is_real
        plan = make_plan(
            self.replica.state,
            self.replica.root,
            t_ms,
            stopped=self.stops.obeyed,
            has_list=self.lists.has,
            has_order_list=self.lists.has_for,
            held=held,
            witnessed_until_ms=self.replica.witnessed.until_ms,
            objects=partial(self.scans.objects, self.replica.state),
            operator=self.operator,
            said=self.suspensions.said,
            blocks_addresses=blocks_addresses,
            blocks_names=self.enforcer.has_gate,
            local=firewall.local if firewall is not None else NO_LOCAL_LAYER,
        )
        if plan is None or (firewall is not None and blocks_addresses is not firewall.is_real):
            return plan  # the latter is what a dry run would do: nothing that could wait
        return self.canaries.part(plan, {row.index for row in held.rows} | held.at_firewall)
