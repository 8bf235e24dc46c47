"""What a node shows of itself, gathered from its parts at one moment.

Owns where each thing that is shown stands, for monitoring and for the status file. Changes nothing;
what may be shown, and how it is written, is said by `node_view` and `node_status`.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.services.follow import Follower
from enforcer.services.gate_rounds import GateRounds
from enforcer.services.list_rounds import ListRounds
from enforcer.services.node_status import status_text, suspensions_shown
from enforcer.services.node_view import FirewallView, NodeView, omissions_of, order_ids_of
from enforcer.services.paths import FeedPaths
from enforcer.services.planning import Planner
from enforcer.services.split_views import SplitViews


@dataclass(frozen=True, slots=True)
class NodeShown:
    """The parts of one node that have something to show."""

    node_id: str
    planner: Planner
    rounds: GateRounds
    list_rounds: ListRounds
    follower: Follower
    paths: FeedPaths
    split_views: SplitViews

    def view(self) -> NodeView:
        """Return what this node knows about itself and its gate, as of now."""
        parts = self.planner
        plan, report = self.rounds.shown, parts.enforcer.report
        firewall = self._firewall_view()
        return NodeView(
            t_ms=parts.time.now_ms(),
            ledger_size=parts.replica.size,
            recorded_at_ms=parts.replica.state.recorded_at_ms,
            ledger_size_known=max(self.follower.reading.total, parts.replica.size),
            feed=self.follower.health,
            paths=self.paths.views,
            feed_faults=sum(self.paths.faults.values()),
            planned_size=plan.ledger_size if plan is not None else 0,
            orders_in_force=len(plan.in_force) if plan is not None else 0,
            omissions=omissions_of(plan),
            omission_count=plan.omission_count if plan is not None else 0,
            unlogged_stops=len(parts.stops.unlogged),
            unlogged_suspensions=len(parts.suspensions.kept),
            witness_quorum=parts.replica.witnessed.quorum,
            witnessed_size=parts.replica.witnessed.size,
            unwitnessed=plan.unwitnessed if plan is not None else 0,
            split_views=len(self.split_views.views),
            missing_lists=len(parts.lists.missing(self.list_rounds.wanted_now())),
            limits_unread=len(parts.scans.limits.unread),
            canaries=parts.canaries.view,
            gate=parts.enforcer.state(plan),
            report=report,
            order_ids=order_ids_of(parts.replica.state, report, firewall),
            applied=self.rounds.applying.applied,
            firewall=firewall,
        )

    def status(self) -> bytes:
        """Return the text of the status file, as of now."""
        parts = self.planner
        wanted = self.list_rounds.wanted_now()
        return status_text(
            node_id=self.node_id,
            t_ms=parts.time.now_ms(),
            replica=parts.replica,
            reads=self.follower.reading.words,
            feed=self.follower.health,
            paths=self.paths.views,
            faults=self.paths.faults,
            plan=self.rounds.told.plan,
            planned_at_ms=self.rounds.planned_at_ms,
            canaries=parts.canaries.view,
            gate=self.rounds.told.state,
            enforcer=parts.enforcer,
            firewall=self._firewall_view(),
            stops=parts.stops,
            suspensions=suspensions_shown(
                parts.replica.state, parts.operator, parts.suspensions, parts.time.now_ms()
            ),
            missing=parts.lists.missing(wanted),
            missing_sealed=parts.lists.missing_sealed(wanted),
            limits_unread=sorted(parts.scans.limits.unread),
            split_views=self.split_views.views,
        )

    def _firewall_view(self) -> FirewallView:
        firewall = self.planner.firewall
        return FirewallView() if firewall is None else firewall.view(self.rounds.told.plan)
