"""The fleet as Prometheus metrics, shown by the control plane (text exposition format).

Labels are from closed lists, but for the ids of the nodes that are exceptions: of those the first
hundred. Always true: the same view gives the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from enforcer.core.attested import Exceptional
from enforcer.services.effect_history import BUCKETS_SECONDS, Latencies
from enforcer.services.fleet import Outcome
from enforcer.services.fleet_walk import FleetTotals

STANDBY_STATES: Final = ("READY", "SILENT")


@dataclass(frozen=True, slots=True)
class FleetView:
    """What a control plane knows of its nodes at one moment: values that do not change any more."""

    ledger_size: int
    recorded_until_ms: int
    """Up to when attestations are recorded; 0: none are."""
    totals: FleetTotals
    outcomes: Mapping[Outcome, int]
    began: Latencies
    ended: Latencies
    standbys: Mapping[str, int]
    """Control planes that stand by, by whether they are READY or SILENT."""


def expose_fleet(view: FleetView) -> bytes:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_View(view))
    return generate_latest(registry)


class _View(Collector):
    """What the client library asks for families."""

    def __init__(self, view: FleetView) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        view = self._view
        yield _gauge("enforcer_fleet_ledger_size", "Entries in the ledger.", view.ledger_size)
        yield _gauge(
            "enforcer_fleet_recorded_timestamp_seconds",
            "Up to when attestations are recorded in the ledger, Unix time.",
            view.recorded_until_ms / 1_000,
        )
        standbys = GaugeMetricFamily(
            "enforcer_control_standbys", "Control planes that stand by.", labels=["state"]
        )
        for state in STANDBY_STATES:
            standbys.add_metric([state], view.standbys.get(state, 0))
        yield standbys
        live = view.totals.live
        yield _gauge("enforcer_fleet_nodes_live", "Nodes heard within three minutes.", live)
        yield _states(view.totals)
        yield _named(view.totals)
        outcomes = CounterMetricFamily(
            "enforcer_fleet_attestations",
            "Attestations by what became of them.",
            labels=["outcome"],
        )
        for outcome in Outcome:
            if outcome:
                outcomes.add_metric([outcome.name], view.outcomes.get(outcome, 0))
        yield outcomes
        latency = HistogramMetricFamily(
            "enforcer_fleet_effect_seconds",
            "From when an order was to block, or was ended, until a node did so, by its own time.",
            labels=["act"],
        )
        for act, took in (("began", view.began), ("ended", view.ended)):
            latency.add_metric([act], _buckets(took), took.sum_ms / 1_000)
        yield latency


def _states(totals: FleetTotals) -> Metric:
    family = GaugeMetricFamily("enforcer_fleet_nodes", "Nodes by state.", labels=["state"])
    family.add_metric(["RIGHT"], totals.counts[None])
    for kind in Exceptional:
        if kind:
            family.add_metric([kind.name], totals.counts[kind])
    return family


def _named(totals: FleetTotals) -> Metric:
    """Return the nodes that are exceptions by name, the gravest first."""
    family = GaugeMetricFamily(
        "enforcer_fleet_node_exception",
        "1 for a node that is an exception; the first hundred.",
        labels=["node", "state"],
    )
    for kind, node_id in totals.named:
        family.add_metric([node_id, kind.name], 1)
    return family


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _buckets(took: Latencies) -> list[tuple[str, float]]:
    """Return cumulative counts by bound in seconds, the last without bound."""
    total, buckets = 0, []
    for bound, count in zip([*map(repr, BUCKETS_SECONDS), "+Inf"], took.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
