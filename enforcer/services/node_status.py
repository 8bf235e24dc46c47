"""What a node shows about itself in a file, for `enforcer status` and for monitoring.

Nothing in it names a client or a query: counters are per order, or per outcome.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from enforcer.core.attestation import GateState
from enforcer.core.life import ENDED
from enforcer.core.state import State
from enforcer.services.canaries import CanaryView
from enforcer.services.enforce import Enforcer
from enforcer.services.follow import FeedHealth
from enforcer.services.no_gate import NoGate
from enforcer.services.node_view import FirewallView
from enforcer.services.paths import PathView
from enforcer.services.plan import Plan
from enforcer.services.replica import Replica
from enforcer.services.split_views import SplitView
from enforcer.services.stops import StopKeeper
from enforcer.services.suspensions import SuspensionKeeper


def status_text(
    *,
    node_id: str,
    t_ms: int,
    replica: Replica,
    reads: str | None,
    feed: FeedHealth,
    paths: Sequence[PathView],
    faults: Mapping[str, int],
    plan: Plan | None,
    planned_at_ms: int,
    canaries: CanaryView,
    gate: GateState,
    enforcer: Enforcer | NoGate,
    firewall: FirewallView,
    stops: StopKeeper,
    suspensions: Mapping[str, object],
    missing: Sequence[str],
    missing_sealed: Sequence[str],
    limits_unread: Sequence[str],
    split_views: Sequence[SplitView],
) -> bytes:
    """Return the status as JSON, sorted, a line for each part: two can be compared by eye.

    `reads` says how far a node has read that is far behind. Of sealed lists that are missing it
    names the orders (`missing_sealed`).
    """
    report = enforcer.report
    shown = {
        "node_id": node_id,
        "t_ms": t_ms,
        "ledger": {
            "origin": replica.state.origin,
            "size": replica.size,
            "reads": reads,
            "root_sha256": replica.root.hex(),
            "recorded_at_ms": replica.state.recorded_at_ms,
            "ineffective": list(replica.ineffective),
            "witnesses": witnesses_of(replica, plan),
            "witness_quorum": replica.witnessed.quorum,
            "witnessed_size": replica.witnessed.size,
            "split_views": [asdict(each) for each in split_views],
        },
        "feed": {
            "state": feed.state.name,
            "reason": feed.reason,
            "since_ms": feed.since_ms,
            "faults": dict(faults),
            "paths": {
                path.name: {
                    "state": path.state.name,
                    "reason": path.reason,
                    "since_ms": path.since_ms,
                    "size": path.size,
                }
                for path in paths
            },
        },
        "gate": {
            "state": gate.name,
            "problem": enforcer.problem,
            "mode": report.mode.name if report is not None else None,
            "override": asdict(report.override) if report and report.override else None,
            "ledger_size": report.ledger_size if report is not None else None,
            "name_count": report.name_count if report is not None else None,
            "counters": report.counters if report is not None else {},
            "order_counters": (
                {str(index): count for index, count in report.order_counters.items()}
                if report is not None
                else {}
            ),
        },
        "firewall": {
            "state": firewall.state.name,
            "problem": firewall.problem,
            "is_real": firewall.is_real,
            "orders": firewall.orders,
            "pieces": firewall.pieces,
            "protected": list(firewall.protected),
            "curtailed": list(firewall.curtailed),
            "repairs": firewall.repairs,
            "lacks": list(firewall.lacks),
            "order_counters": {
                str(index): {"packets": count.packets, "octets": count.octets}
                for index, count in firewall.counts.items()
            },
        },
        # The ledger may be further on than the plan that the gate was compared with.
        "planned_size": plan.ledger_size if plan is not None else 0,
        "planned_at_ms": planned_at_ms,
        "table_digest": plan.digest if plan is not None else None,
        "orders_in_force": len(plan.in_force) if plan is not None else 0,
        "waiting_for_witnesses": plan.unwitnessed if plan is not None else 0,
        "omissions": [
            {
                "order_index": omission.order_index,
                "reason": omission.reason.name,
                "since_ms": omission.since_ms,
            }
            for omission in (plan.omissions if plan is not None else ())
        ],
        "unlogged_stops": [
            {
                "order_id": stop.order_id,
                "order_index": stop.order.entry_index,
                "stop": stop.sha256,
                "is_relayed": stop.is_relayed,
            }
            for stop in stops.unlogged
        ],
        "suspensions": suspensions,
        "canary": asdict(canaries),
        "missing_lists": list(missing),
        "missing_sealed_lists": list(missing_sealed),
        "limits_unread": list(limits_unread),
    }
    # Not with an indent: that is a slower encoder, and each change of the ledger comes by here.
    parts = (f'  "{part}": {json.dumps(shown[part], sort_keys=True)}' for part in sorted(shown))
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode("ascii")


def suspensions_shown(
    state: State, operator: str | None, keeper: SuspensionKeeper, t_ms: int
) -> dict[str, object]:
    """Return what the network's safety officers have said: in the ledger, and ahead of it.

    Their reasons are texts of their own; here stands by which hash to find them.
    """
    held = []
    for index, order in state.orders.items():
        word = keeper.said.get(index)
        suspension = order.suspension(operator, t_ms) if word is None else word.holds(t_ms)
        if order.status in ENDED or order.until_ms <= t_ms or suspension is None:
            continue
        held.append(
            {
                "order_id": order.payload.order_id,
                "order_index": index,
                "suspension": suspension.payload_sha256,
                "person_id": suspension.person_id,
                "since_ms": suspension.since_ms,
                "until_ms": suspension.until_ms,
                "reason_sha256": suspension.reason_sha256,
                "is_recorded": word is None,
            }
        )
    waiting = [
        {
            "act": act.sha256,
            "kind": type(act.payload).__name__,
            "order_id": act.order.order_id,
            "person_id": act.person_id,
            "since_ms": act.received_at_ms,
            "is_relayed": act.is_relayed,
        }
        for act in keeper.kept
    ]
    return {
        "held": held,
        "unlogged": waiting,
        "dropped": [asdict(each) for each in keeper.dropped],
    }


def witnesses_of(replica: Replica, plan: Plan | None) -> str:
    """Say in words how it stands with the witnesses."""
    witnessed = replica.witnessed
    if not witnessed.quorum:
        return "UNWITNESSED"
    if plan is not None and plan.unwitnessed:
        return f"waiting for witnesses: {plan.unwitnessed} orders"
    return f"{witnessed.quorum} witnesses have seen {min(witnessed.size, replica.size)} entries"
