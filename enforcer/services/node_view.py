"""A node at one moment, for whoever shows it: values alone, which do not change any more.

Owns what monitoring may know. Always true: nothing in it names a client or a query; what is
counted is counted for the whole gate, or for an order.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from enforcer.core.attestation import GateState
from enforcer.core.firewall import FirewallState
from enforcer.core.state import State
from enforcer.ports import FirewallCount, GateReport
from enforcer.services.canaries import CanaryView
from enforcer.services.follow import FeedHealth
from enforcer.services.paths import PathView
from enforcer.services.plan import Plan


@dataclass(frozen=True, slots=True)
class Applied:
    """How the gate came to what it holds; None where it was given nothing yet."""

    times: int = 0
    took_seconds: float | None = None
    """From the decision to the gate's word that it holds it, the last time."""
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class FirewallView:
    """What a node knows about its firewall."""

    state: FirewallState = FirewallState.NONE
    problem: str = ""
    """Why it does not hold what it should, where that is known."""
    unproven_seconds: float = 0.0
    """How long it has not been known to hold what it should."""
    is_real: bool = False
    """Whether packets are touched; a dry run only says what it would do."""
    orders: int = 0
    pieces: int = 0
    protected: tuple[str, ...] = ()
    """The operator's own, which no order can cut off."""
    curtailed: tuple[int, ...] = ()
    """Orders that name some of those, by entry index: for that part alone they do nothing."""
    repairs: int = 0
    """How often others had altered it."""
    lacks: tuple[str, ...] = ()
    """What this kernel cannot do."""
    counts: Mapping[int, FirewallCount] = field(default_factory=dict)
    """Order's entry index -> what it has stopped."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a node knows about itself and its gate."""

    t_ms: int
    ledger_size: int
    recorded_at_ms: int
    ledger_size_known: int
    """Entries that the log is known to have signed; more than `ledger_size` while it reads them."""
    feed: FeedHealth
    paths: tuple[PathView, ...]
    """The paths by which the ledger reaches this node, in their order."""
    feed_faults: int
    planned_size: int
    """Entries behind what the gate should hold; the ledger may be further on."""
    orders_in_force: int
    omissions: Mapping[str, int]
    """Orders that are not enforced here, by reason; of as many as an attestation can name."""
    omission_count: int
    unlogged_stops: int
    unlogged_suspensions: int
    """What the network's safety officers signed and the ledger does not have."""
    witness_quorum: int
    """0: UNWITNESSED."""
    witnessed_size: int
    """Entries that a quorum of witnesses has seen."""
    unwitnessed: int
    """Approved orders that wait for witnesses."""
    split_views: int
    """Checkpoints that contradict this node's history."""
    missing_lists: int
    limits_unread: int
    """Lists of past orders that nobody can bring, and that limits were judged without."""
    canaries: CanaryView
    gate: GateState
    report: GateReport | None
    order_ids: Mapping[int, str]
    """Of the orders that gate and firewall count, by entry index."""
    applied: Applied
    firewall: FirewallView = FirewallView()


class Applying:
    """Watches how the gate is given what it holds."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._begun_seconds = 0.0
        self._ended_seconds = 0.0
        self._took_seconds: float | None = None
        self._held: tuple[str, str] | None = None
        self._times = 0

    def begin(self) -> None:
        """Note that the gate may now be given something."""
        self._begun_seconds = self._seconds()

    def end(self, report: GateReport | None) -> None:
        """Note what the gate says that it holds; a gate that is away has not lost it."""
        if report is None or not report.body_sha256:
            return
        held = (report.body_sha256, report.overlay_sha256)
        if held != self._held:
            self._held = held
            self._times += 1
            self._ended_seconds = self._seconds()
            self._took_seconds = self._ended_seconds - self._begun_seconds

    @property
    def applied(self) -> Applied:
        """What was noted, as of now."""
        if self._held is None:
            return Applied()
        return Applied(self._times, self._took_seconds, self._seconds() - self._ended_seconds)


def omissions_of(plan: Plan | None) -> dict[str, int]:
    """Return how many of the plan's omissions have which reason."""
    return Counter(each.reason.name for each in plan.omissions) if plan is not None else {}


def order_ids_of(state: State, report: GateReport | None, firewall: FirewallView) -> dict[int, str]:
    """Return the ids of the orders that gate or firewall count, by entry index."""
    indices = set(firewall.counts)
    if report is not None:
        indices.update(report.order_outcomes, report.order_counters)
    return {
        index: state.orders[index].payload.order_id for index in indices if index in state.orders
    }
