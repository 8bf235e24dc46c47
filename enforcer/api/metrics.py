"""A node and its gate as Prometheus metrics (text exposition format).

Owns every metric's name, labels and label values: all come from the closed lists here, and from
the ids of orders. What a gate counts under another name is not shown, so that nothing that a
client sent can become a label. Always true: the same view gives the same text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from enforcer import __version__
from enforcer.core.attestation import GateState, NotEnforced
from enforcer.core.firewall import FirewallState
from enforcer.ports import GateMode, GateReport, Histogram
from enforcer.services.follow import FeedState
from enforcer.services.node_view import FirewallView, NodeView
from enforcer.services.paths import PathState, PathView

ORDER_OUTCOMES: Final = (
    "blocked_nxdomain", "blocked_nodata", "blocked_page", "blocked_chain", "blocked_address",
)  # fmt: skip
QUERY_OUTCOMES: Final = (
    *ORDER_OUTCOMES, "chain_broken", "undecided", "cache_hit", "cache_stale", "relayed",
    "timed_out", "evicted", "upstream_unsent", "upstream_none", "lost", "formerr", "notimp",
    "badvers", "refused", "access_refused", "proxy_refused", "dropped_runt", "dropped_response",
)  # fmt: skip
"""What becomes of a query; every one has exactly one."""
UPSTREAM_OUTCOMES: Final = (
    "upstream_answered", "upstream_probed", "upstream_plain", "upstream_malformed",
    "upstream_unknown_id", "upstream_wrong_question",
)  # fmt: skip
"""What becomes of an upstream's datagram; every one has exactly one."""
EVENTS: Final = (
    "passed", "shadowed", "bypassed", "cache_miss", "cache_bypassed", "upstream_cut",
    "upstream_tcp", "upstream_retried", "upstream_failed_over", "upstream_down",
    "upstream_errors", "rate_slipped", "rate_dropped", "replies_unsent", "tcp_connections",
    "tcp_closed_idle", "tcp_closed_slow", "tcp_refused_full", "tcp_accept_paused", "tcp_malformed",
    "tables_loaded", "overlays_loaded", "tables_refused", "tables_refused_golden",
    "tables_unkept", "floors_unkept",
    "workers_started", "workers_died",
)  # fmt: skip
"""What is told beside: of queries, of answers, and of the gate itself."""
STAGES: Final = ("blocked", "cached", "upstream")
APART: Final = (
    "received",
    "in_flight",
    "upstream_received",
    "has_table",
    "workers",
    "tcp_open",
    "workers_serving",
)
"""What a gate counts that has a metric of its own."""

NO_SLOT_INDEX: Final = -1
OTHER_ORDERS: Final = "other"
"""The label of orders that are counted together, and of one whose id is not known here."""
_ORDER_ID: Final = re.compile(r"[A-Z]{2}-[0-9]{4}-[0-9]{6}\Z")


def expose(view: NodeView) -> bytes:
    """Return all metrics of a node in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_View(view))
    return generate_latest(registry)


class _View(Collector):
    """What the client library asks for families."""

    def __init__(self, view: NodeView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        yield from _node_families(self._view)
        yield from _gate_state_families(self._view)
        yield from _firewall_families(self._view.firewall, self._view.order_ids)
        if self._view.report is not None:
            yield from _traffic_families(self._view.report)
            yield from _order_families(self._view.report, self._view.order_ids)


def _node_families(view: NodeView) -> Iterator[Metric]:
    """Yield what the node knows about the ledger, the feed and its own work."""
    info = GaugeMetricFamily("enforcer_node_info", "1, labelled.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    yield _gauge("enforcer_node_ledger_size", "Entries proven and folded.", view.ledger_size)
    yield _gauge(
        "enforcer_node_ledger_size_known",
        "Entries that the log has signed, as far as this node knows; more while it reads them.",
        view.ledger_size_known,
    )
    yield _gauge(
        "enforcer_node_ledger_recorded_timestamp_seconds",
        "When the newest entry was recorded, Unix time.",
        view.recorded_at_ms / 1_000,
    )
    yield _one_of("enforcer_node_feed_state", "The feed's state.", FeedState, view.feed.state)
    is_stale = view.feed.state is not FeedState.OK
    lag_seconds = max(view.t_ms - view.feed.since_ms, 0) / 1_000 if is_stale else 0.0
    yield _gauge(
        "enforcer_node_feed_stale_seconds", "How long the feed has not been OK.", lag_seconds
    )
    yield from _path_families(view.paths)
    yield _counter(
        "enforcer_node_feed_faults", "Garbage passed over in the feed.", view.feed_faults
    )
    yield _gauge(
        "enforcer_node_planned_size",
        "Entries behind what the gate should hold.",
        view.planned_size,
    )
    yield _gauge(
        "enforcer_node_orders_in_force", "Orders in force at this node.", view.orders_in_force
    )
    omitted = GaugeMetricFamily(
        "enforcer_node_orders_omitted", "Orders not enforced here.", labels=["reason"]
    )
    for reason in _names(NotEnforced):
        omitted.add_metric([reason], view.omissions.get(reason, 0))
    unnamed = view.omission_count - sum(view.omissions.values())
    omitted.add_metric(["UNNAMED"], max(unnamed, 0))
    yield omitted
    yield _gauge(
        "enforcer_node_unlogged_stops",
        "Stops obeyed that the ledger does not have yet.",
        view.unlogged_stops,
    )
    yield _gauge(
        "enforcer_node_unlogged_suspensions",
        "Safety officers' acts heeded that the ledger does not have yet.",
        view.unlogged_suspensions,
    )
    yield _gauge(
        "enforcer_node_canaries", "Canaries that new blocks wait for.", view.canaries.canaries
    )
    yield _gauge(
        "enforcer_node_canaries_answering", "Of those the ones that answer.",
        view.canaries.answering,
    )  # fmt: skip
    yield _counter(
        "enforcer_node_orders_untried",
        "Orders that began without a canary's word, since the start.",
        view.canaries.untried,
    )
    yield _gauge(
        "enforcer_node_witness_quorum",
        "Witnesses that new blocks wait for; 0: UNWITNESSED.",
        view.witness_quorum,
    )
    yield _gauge(
        "enforcer_node_witnessed_size",
        "Entries that a quorum of witnesses has seen.",
        view.witnessed_size,
    )
    yield _gauge(
        "enforcer_node_orders_unwitnessed",
        "Approved orders that wait for witnesses.",
        view.unwitnessed,
    )
    yield _gauge(
        "enforcer_node_split_views",
        "Checkpoints that contradict this node's history.",
        view.split_views,
    )
    yield _gauge(
        "enforcer_node_lists_missing", "Target lists wanted and not here.", view.missing_lists
    )
    yield _gauge(
        "enforcer_node_limits_unread",
        "Lists of past orders that nobody can bring: limits were judged without them.",
        view.limits_unread,
    )
    yield _counter(
        "enforcer_node_tables_applied", "Tables that the gate took over.", view.applied.times
    )
    if view.applied.took_seconds is not None and view.applied.age_seconds is not None:
        yield _gauge(
            "enforcer_node_apply_seconds",
            "From the decision to the gate's word, the last time.",
            view.applied.took_seconds,
        )
        yield _gauge(
            "enforcer_node_table_age_seconds",
            "Since the gate took over what it holds.",
            view.applied.age_seconds,
        )


def _path_families(paths: Sequence[PathView]) -> Iterator[Metric]:
    """Yield how it stands with each path that the node has; their names are in `PATHS`."""
    state = GaugeMetricFamily(
        "enforcer_node_path_state", "The state of a path to the ledger.", labels=["path", "state"]
    )
    size = GaugeMetricFamily(
        "enforcer_node_path_size", "Entries that a path's head claims.", labels=["path"]
    )
    for path in paths:
        for each in _names(PathState):
            state.add_metric([path.name, each], int(each == path.state.name))
        if path.size is not None:
            size.add_metric([path.name], path.size)
    yield state
    yield size


def _gate_state_families(view: NodeView) -> Iterator[Metric]:
    """Yield what the gate is and holds, also when it is away."""
    report = view.report
    mode = report.mode if report is not None else GateMode.UNSPECIFIED
    yield _gauge("enforcer_gate_up", "Whether the gate answers its node.", int(report is not None))
    yield _one_of("enforcer_gate_state", "What reading the gate back said.", GateState, view.gate)
    yield _one_of("enforcer_gate_mode", "What the gate does with verdicts.", GateMode, mode)
    if report is not None:
        yield _gauge("enforcer_gate_names", "Names in the table.", report.name_count)
        yield _gauge("enforcer_gate_orders", "Orders in the table.", len(report.rows))
        yield _gauge("enforcer_gate_ledger_size", "Entries behind the table.", report.ledger_size)


def _firewall_families(view: FirewallView, order_ids: Mapping[int, str]) -> Iterator[Metric]:
    """Yield what the firewall holds, and what each order has stopped there."""
    yield _one_of(
        "enforcer_firewall_state", "What reading the firewall back said.", FirewallState, view.state
    )
    yield _gauge("enforcer_firewall_orders", "Orders in the firewall.", view.orders)
    yield _gauge(
        "enforcer_firewall_pieces", "Disjoint ranges of addresses in the firewall.", view.pieces
    )
    yield _gauge(
        "enforcer_firewall_curtailed",
        "Orders that name addresses which the operator protects.",
        len(view.curtailed),
    )
    yield _counter(
        "enforcer_firewall_repairs",
        "How often others had altered the firewall.",
        view.repairs,
    )
    packets: Counter[str] = Counter()
    octets: Counter[str] = Counter()
    for index, count in view.counts.items():
        order = _order_label(order_ids, index)
        packets[order] += count.packets
        octets[order] += count.octets
    for name, words, counted in (
        ("enforcer_order_packets", "Packets that an order stopped.", packets),
        ("enforcer_order_octets", "Octets of packets that an order stopped.", octets),
    ):
        family = CounterMetricFamily(name, words, labels=["order"])
        for order, value in sorted(counted.items()):
            family.add_metric([order], value)
        yield family


def _traffic_families(report: GateReport) -> Iterator[Metric]:
    """Yield what the gate counted and measured, over all of its workers."""
    counted = report.counters
    yield _counter(
        "enforcer_gate_received", "Queries received, whatever became of them.",
        counted.get("received", 0),
    )  # fmt: skip
    yield _counter(
        "enforcer_gate_upstream_received", "Datagrams received from upstreams.",
        counted.get("upstream_received", 0),
    )  # fmt: skip
    yield _gauge(
        "enforcer_gate_in_flight", "Queries that wait for an upstream.",
        counted.get("in_flight", 0),
    )  # fmt: skip
    yield _gauge("enforcer_gate_workers", "Workers wanted.", counted.get("workers", 0))
    yield _gauge(
        "enforcer_gate_tcp_open", "TCP connections of clients.", counted.get("tcp_open", 0)
    )
    yield _gauge(
        "enforcer_gate_workers_serving", "Workers that serve.", counted.get("workers_serving", 0)
    )
    yield _gauge(
        "enforcer_gate_has_table", "Whether the gate has a table.", counted.get("has_table", 0)
    )
    yield _labelled(
        "enforcer_gate_queries", "Queries by what became of them.", QUERY_OUTCOMES, counted
    )
    yield _labelled(
        "enforcer_gate_upstream_datagrams", "Upstreams' datagrams by what became of them.",
        UPSTREAM_OUTCOMES, counted,
    )  # fmt: skip
    yield _labelled(
        "enforcer_gate_events", "What is counted beside.", EVENTS, counted, label="event"
    )
    latency = HistogramMetricFamily(
        "enforcer_gate_latency_seconds",
        "From a query's arrival to its answer's leaving.",
        labels=["stage"],
    )
    for stage in STAGES:
        if stage in report.histograms:
            histogram = report.histograms[stage]
            latency.add_metric([stage], _buckets(histogram), histogram.sum_us / 1_000_000)
    yield latency


def _order_families(report: GateReport, order_ids: Mapping[int, str]) -> Iterator[Metric]:
    """Yield what each order did; versions of an order are one order."""
    blocked: Counter[tuple[str, str]] = Counter()
    shadowed: Counter[str] = Counter()
    for index, outcomes in report.order_outcomes.items():
        order = _order_label(order_ids, index)
        for outcome in ORDER_OUTCOMES:
            if outcome in outcomes:
                blocked[order, outcome] += outcomes[outcome]
        shadowed[order] += outcomes.get("shadowed", 0)
    family = CounterMetricFamily(
        "enforcer_order_blocked",
        "Queries that an order blocked, by how they were answered.",
        labels=["order", "outcome"],
    )
    for (order, outcome), count in sorted(blocked.items()):
        family.add_metric([order, outcome], count)
    yield family
    family = CounterMetricFamily(
        "enforcer_order_shadowed",
        "Queries that an order would have blocked, in shadow mode.",
        labels=["order"],
    )
    for order, count in sorted(shadowed.items()):
        if count:
            family.add_metric([order], count)
    yield family


def _order_label(order_ids: Mapping[int, str], index: int) -> str:
    order = order_ids.get(index, OTHER_ORDERS)
    return order if _ORDER_ID.match(order) is not None else OTHER_ORDERS


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)


def _labelled(
    name: str,
    words: str,
    values: Iterable[str],
    counted: Mapping[str, int],
    *,
    label: str = "outcome",
) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for value in values:
        family.add_metric([value], counted.get(value, 0))
    return family


def _one_of(
    name: str,
    words: str,
    kind: type[FeedState | FirewallState | GateState | GateMode],
    present: FeedState | FirewallState | GateState | GateMode,
) -> Metric:
    """Return a gauge for each state, 1 for the present one."""
    label = "mode" if kind is GateMode else "state"
    family = GaugeMetricFamily(name, words, labels=[label])
    for each in _names(kind):
        family.add_metric([each], int(each == present.name))
    return family


def _names(
    kind: type[FeedState | FirewallState | GateState | GateMode | NotEnforced | PathState],
) -> list[str]:
    return [each.name for each in kind if each]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return cumulative counts by bound in seconds, the last without bound."""
    bounds = [repr(bound_us / 1_000_000) for bound_us in histogram.bounds_us]
    total, buckets = 0, []
    for bound, count in zip([*bounds, "+Inf"], histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
