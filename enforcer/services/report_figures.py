"""The figures of a transparency report, each declared once: what it counts, and by what.

Ids are stable: they stand in CSV and JSON, and in the catalogues that name and explain them. A new
figure is a new line here and its words there; nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from enforcer.services.report_facts import Fact, What, is_restricted, members

ORDERED: Final = (
    ("authority",),
    ("category",),
    ("decision_kind",),
    ("instrument",),
    ("authority", "category"),
)


class Measure(StrEnum):
    """What a figure makes of its facts."""

    COUNT = "count"
    TARGETS = "targets"
    """The sum of the orders' target counts, those of restricted lists left out."""
    TIME = "time"
    """How long it took: number, median, 95th percentile (nearest rank), and longest."""
    MEMBERS = "members"
    """How many different members one dimension has."""


class Source(StrEnum):
    """What a figure rests on, and so who can recompute it."""

    LEDGER = "ledger"
    ATTESTATIONS = "attestations"
    """The ledger, and those attestations that happen to be kept."""


ADDITIVE: Final = frozenset((Measure.COUNT, Measure.TARGETS))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: a total, and its breakdowns."""

    id: str
    section: str
    what: What
    unit: str
    by: tuple[tuple[str, ...], ...] = ()
    measure: Measure = Measure.COUNT
    source: Source = Source.LEDGER
    of: str = ""
    """The dimension whose members are counted, for MEMBERS."""
    where: Mapping[str, str] | None = None
    """Dimension -> member: only facts that stand there."""
    is_at_end: bool = False
    """It tells what holds at the end of the period, not what happened in it."""

    @property
    def is_additive(self) -> bool:
        """Tell whether two adjoining periods' values add up to that of both."""
        return self.measure in ADDITIVE and not self.is_at_end

    def counts(self, fact: Fact) -> bool:
        """Tell whether a fact is one of those that are counted."""
        if self.measure is Measure.TARGETS and fact.order is not None and is_restricted(fact.order):
            return False
        return all(value in members(fact, key) for key, value in (self.where or {}).items())


def _at_end(
    identity: str, section: str, what: What, unit: str, by: tuple[tuple[str, ...], ...]
) -> Figure:
    return Figure(identity, section, what, unit, by, is_at_end=True)


_MONTH: Final = ("month",)
_KIND: Final = ("decision_kind",)
_AUTHORITY: Final = ("authority",)
_CATEGORY: Final = ("category",)
_OPERATOR: Final = ("operator",)
_GUARD: Final = ("guard",)
_NODES: Final = Source.ATTESTATIONS

FIGURES: Final = (
    Figure("orders.proposed", "orders", What.PROPOSED, "orders", (*ORDERED, _MONTH)),
    Figure(
        "orders.approved",
        "orders",
        What.APPROVED,
        "orders",
        (*ORDERED, ("binding",), ("territory",), ("publication",), _MONTH),
    ),
    Figure("orders.extended", "orders", What.EXTENDED, "orders", (_AUTHORITY, _CATEGORY)),
    Figure(
        "targets.approved",
        "orders",
        What.APPROVED,
        "targets",
        (_AUTHORITY, _CATEGORY, _KIND),
        Measure.TARGETS,
    ),
    Figure(
        "orders.ended",
        "ends",
        What.ENDED,
        "orders",
        (("outcome",), ("stage", "outcome"), ("authority", "outcome"), _MONTH),
    ),
    Figure("orders.stopped", "ends", What.STOPPED, "acts", (("role",), _AUTHORITY, _CATEGORY)),
    Figure(
        "orders.rejected",
        "ends",
        What.ENDED,
        "orders",
        (_AUTHORITY, _CATEGORY),
        where={"outcome": "REJECTED"},
    ),
    Figure(
        "orders.lapsed",
        "ends",
        What.ENDED,
        "orders",
        (_AUTHORITY, _CATEGORY),
        where={"outcome": "LAPSED"},
    ),
    Figure(
        "emergencies.approved",
        "emergencies",
        What.APPROVED,
        "orders",
        (_AUTHORITY, _CATEGORY),
        where={"decision_kind": "EMERGENCY"},
    ),
    Figure("emergencies.decided", "emergencies", What.EMERGENCY_DECIDED, "orders", (("outcome",),)),
    Figure("holds.placed", "holds", What.HELD, "holds", (_GUARD, ("guard", "category"))),
    Figure("holds.ended", "holds", What.RELEASED, "holds", (("guard", "outcome"), ("outcome",))),
    Figure("holds.time", "holds", What.RELEASED, "holds", (_GUARD,), Measure.TIME),
    _at_end("holds.open", "holds", What.NOW_HELD, "holds", (_GUARD,)),
    Figure("assessments.recorded", "holds", What.ASSESSED, "acts", (_AUTHORITY,)),
    Figure("time.decide", "times", What.APPROVED, "orders", (_KIND, _AUTHORITY), Measure.TIME),
    Figure(
        "time.effect",
        "times",
        What.IN_EFFECT,
        "pairs",
        (_OPERATOR,),
        Measure.TIME,
        _NODES,
    ),
    Figure("time.release", "times", What.GONE, "pairs", (_OPERATOR,), Measure.TIME, _NODES),
    Figure("suspensions.made", "operators", What.SUSPENDED, "acts", (_OPERATOR, _CATEGORY)),
    Figure("suspensions.ended", "operators", What.RESUMED, "acts", (_OPERATOR,)),
    _at_end("suspensions.open", "operators", What.NOW_SUSPENDED, "orders", (_OPERATOR,)),
    Figure("reviews.done", "remedies", What.REVIEWED, "acts", (("role",), _AUTHORITY)),
    Figure("appeals.filed", "remedies", What.APPEALED, "appeals", (_AUTHORITY, _CATEGORY)),
    Figure(
        "appeals.decided",
        "remedies",
        What.APPEAL_DECIDED,
        "appeals",
        (("outcome",), ("authority", "outcome")),
    ),
    Figure("time.appeal", "remedies", What.APPEAL_DECIDED, "appeals", (), Measure.TIME),
    _at_end("appeals.open", "remedies", What.NOW_APPEALED, "appeals", (_AUTHORITY,)),
    Figure("notices.sent", "remedies", What.NOTIFIED, "acts", (("recipient",),)),
    _at_end("in_force.orders", "in_force", What.NOW_IN_FORCE, "orders", ORDERED),
    Figure(
        "in_force.targets",
        "in_force",
        What.NOW_IN_FORCE,
        "targets",
        (_AUTHORITY, _CATEGORY),
        Measure.TARGETS,
        is_at_end=True,
    ),
    _at_end("orders.waiting", "in_force", What.NOW_WAITING, "orders", (_AUTHORITY,)),
    Figure("entries.recorded", "ledger", What.RECORDED, "entries", (("entry_kind",), _MONTH)),
    Figure(
        "entries.ineffective",
        "ledger",
        What.INEFFECTIVE,
        "entries",
        (("entry_kind", "error"),),
    ),
    Figure("keys.registered", "ledger", What.KEY_REGISTERED, "keys", (("role",),)),
    Figure("keys.revoked", "ledger", What.KEY_REVOKED, "keys", (("role",),)),
    _at_end("nodes.registered", "nodes", What.NOW_REGISTERED, "nodes", (_OPERATOR,)),
    Figure(
        "nodes.attesting",
        "nodes",
        What.ATTESTED,
        "nodes",
        (_OPERATOR,),
        Measure.MEMBERS,
        _NODES,
        of="node",
    ),
    Figure(
        "attestations.kept",
        "nodes",
        What.ATTESTED,
        "attestations",
        (_OPERATOR, ("gate",)),
        source=_NODES,
    ),
    Figure(
        "attestations.omitting",
        "nodes",
        What.OMITTED,
        "attestations",
        (("reason",), ("operator", "reason")),
        source=_NODES,
    ),
)

NOT_IN_THE_LEDGER: Final = ("hits",)
"""What a reader may look for, and no evidence holds: nothing that is signed counts hits."""

SECTIONS: Final = tuple(dict.fromkeys(figure.section for figure in FIGURES))

FIGURES_OF: Final[Mapping[What, tuple[Figure, ...]]] = {
    what: tuple(figure for figure in FIGURES if figure.what is what) for what in What
}
