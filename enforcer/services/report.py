"""The transparency report of one period: every figure, from a ledger copy and a trust alone.

Folds the ledger up to the end of the period by the same code that nodes run, and proves that what
was folded is under the root. Always true: the same entries, attestations and period give the
same report; nothing in it depends on when or where it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from enforcer.core.entry import parse
from enforcer.core.envelope import Verify
from enforcer.core.fold import apply
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.state import State, in_force
from enforcer.core.table import OrderRow, PolicyRef
from enforcer.core.trust import Trust
from enforcer.errors import IntegrityError, NotFoundError
from enforcer.ports import Batches, LedgerFiles
from enforcer.services.audit import Progress
from enforcer.services.audit_batches import recorded_in
from enforcer.services.audit_claims import KeptAttestation
from enforcer.services.report_chronicle import Chronicle
from enforcer.services.report_facts import is_restricted
from enforcer.services.report_figures import FIGURES
from enforcer.services.report_nodes import NodeWatch
from enforcer.services.report_period import Period
from enforcer.services.report_tally import Row, Tally


@dataclass(frozen=True, slots=True)
class OrderInForce:
    """One order in force at the end of the period."""

    row: OrderRow
    authority: str
    category: str
    decision_kind: str
    target_count: int | None
    """None for a restricted list: nothing of it is told but that it exists."""


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one period, and what they were computed from."""

    period: Period
    origin: str
    size: int
    root: bytes
    recorded_at_ms: int
    """Time of the last entry; also the time that the report bears."""
    policy: PolicyRef | None
    """The policy at the end of the period."""
    attestations: int
    attestations_sha256: str
    """Over the sorted hashes of the attestations that figures rest on."""
    attestations_left_out: int
    figures: Mapping[str, tuple[Row, ...]]
    """Figure id -> rows, in the order of the declarations."""
    in_force: tuple[OrderInForce, ...]

    @property
    def known_until_ms(self) -> int:
        """The time up to which this copy of the ledger can tell."""
        return min(self.period.to_ms, self.recorded_at_ms)

    @property
    def is_whole(self) -> bool:
        """Tell whether the copy reaches beyond the period's end."""
        return self.recorded_at_ms >= self.period.to_ms


def make_report(
    files: LedgerFiles,
    size: int,
    trust: Trust,
    kept: Sequence[KeptAttestation],
    verify: Verify,
    period: Period,
    progress: Progress | None = None,
    *,
    batches: Batches | None = None,
) -> Report:
    """Compute the report from the first `size` entries, at most ``files.size``.

    What nodes attested is in `kept`, and in those of `batches` that these entries name.

    Raises:
        IntegrityError: an entry cannot be read, or the entries are not under the ledger's root.
        NotFoundError: there is no entry.
    """
    if size == 0:
        raise NotFoundError("the ledger is empty", advice="Name a ledger that has entries.")
    named = recorded_in(files) if batches is not None else ()
    recorded = [payload for index, payload in named if index < size]
    nodes = NodeWatch(kept, period.to_ms, recorded, batches)
    state, tree = trust.genesis(verify), CompactRange()
    chronicle, tally = Chronicle(nodes), Tally(period)
    is_open, leaf = True, b""
    for index, leaf in enumerate(files.entries(0, size)):
        tree.append(leaf_hash(leaf))
        entry = parse(leaf) if is_open else None
        is_open = entry is not None and entry.recorded_at_ms < period.to_ms
        if entry is not None and is_open:
            for fact in chain(
                chronicle.until(entry.recorded_at_ms),
                chronicle.recorded(state, apply(state, entry), entry),
                nodes.attested(state, tree.root),
            ):
                tally.add(fact)
        if progress is not None:
            progress("replay entries", index + 1, size)
    _check_root(tree.root(), files.root_at(size))
    recorded_at_ms = parse(leaf).recorded_at_ms
    end_ms = min(period.to_ms, recorded_at_ms)
    for fact in chronicle.until(end_ms):
        tally.add(fact)
    for fact in chronicle.at_end(state, end_ms):
        tally.add_at_end(fact)
    return Report(
        period=period,
        origin=trust.origin,
        size=size,
        root=tree.root(),
        recorded_at_ms=recorded_at_ms,
        policy=state.policy.ref if state.policy else None,
        attestations=nodes.count,
        attestations_sha256=nodes.sha256,
        attestations_left_out=nodes.left_out,
        figures={figure.id: tally.rows(figure) for figure in FIGURES},
        in_force=_in_force(state, end_ms),
    )


def _in_force(state: State, t_ms: int) -> tuple[OrderInForce, ...]:
    found = []
    for row in in_force(state, t_ms):
        order = state.orders[row.index]
        payload = order.payload
        found.append(
            OrderInForce(
                row=row,
                authority=payload.authority,
                category=payload.category.name,
                decision_kind=order.decision_kind.name,
                target_count=None if is_restricted(order) else row.target_count,
            )
        )
    return tuple(found)


def _check_root(found: bytes, expected: bytes) -> None:
    if found != expected:
        raise IntegrityError(
            f"the entries have the root {found.hex()}, the ledger's tiles have {expected.hex()}",
            advice="Run `enforcer audit verify`, and keep this copy as evidence.",
            problem="altered",
        )
