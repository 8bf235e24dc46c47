"""The gate: the DNS data plane, in its own process."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from enforcer.core.table import OrderRow
from enforcer.ports.lists import SealedTable


class GateMode(IntEnum):
    """What a gate does with a verdict that says block."""

    UNSPECIFIED = 0
    ENFORCE = 1
    SHADOW = 2
    """Counts it, and passes the query."""
    BYPASS = 3
    """Judges nothing: the operator has switched blocking off."""


@dataclass(frozen=True, slots=True)
class ModeOverride:
    """The operator's word that the gate does something else than its configuration says."""

    mode: GateMode
    reason: str
    by: str
    since_ms: int
    until_ms: int
    """When it ends by itself."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took, as counts of it by duration since the start."""

    bounds_us: tuple[int, ...]
    """Ascending; a duration of just as much belongs to the bound."""
    counts: tuple[int, ...]
    """Between one bound and the next, not cumulative; the last is what lies above all bounds."""
    sum_us: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate says it holds; empty digests where it holds no table."""

    table_digest: str
    """Of what counts: the overlay's where there is one, else the base's."""
    body_sha256: str
    """Of the base's bytes in use, when they were last hashed: at the load, or to verify."""
    ledger_size: int
    name_count: int
    rows: tuple[OrderRow, ...]
    """Read back from the table in use, not from what was sent: the rows that count."""
    counters: dict[str, int]
    order_counters: dict[int, int]
    """Order's entry index -> queries blocked."""
    overlay_sha256: str = ""
    """Of the overlay's bytes, as the base's; empty where there is no overlay."""
    mode: GateMode = GateMode.UNSPECIFIED
    override: ModeOverride | None = None
    """Why `mode` is not the configuration's."""
    upstreams_down: tuple[str, ...] = ()
    """Resolvers behind the gate that do not answer it."""
    upstreams: tuple[str, ...] = ()
    """The addresses of all resolvers behind the gate."""
    confirmed_at_ms: int = 0
    """When a node last handed over tables or had them verified; 0: never since the start."""
    order_outcomes: dict[int, dict[str, int]] = field(default_factory=dict)
    """Order's entry index -> what it did to queries, by outcome, without what is 0."""
    histograms: dict[str, Histogram] = field(default_factory=dict)
    """Latencies by stage: blocked, cached, upstream."""


class Gate(Protocol):
    """The data plane, in its own process.

    A base that is loaded replaces base and overlay at once, an overlay only the overlay; queries
    see the pair as it was or as it is. What is older than the pair in use, by the ledger size and
    the time floor of its overlay (or of its base alone), is refused.
    """

    async def load(self, base: SealedTable, overlay: SealedTable | None = None) -> GateReport:
        """Hand over a base, and its overlay; when it returns, new queries are judged by them.

        Raises:
            IntegrityError, ConflictError: the gate refused it and keeps what it has.
        """

    async def overlay(self, overlay: SealedTable) -> GateReport:
        """Hand over an overlay of the base in use; as `load` otherwise.

        Raises:
            IntegrityError, ConflictError: the gate refused it and keeps what it has; also
                when it has another base.
        """

    async def status(self, *, verify: bool = False) -> GateReport:
        """Ask what it holds; cheap, unless its tables are to be hashed again (`verify`)."""
