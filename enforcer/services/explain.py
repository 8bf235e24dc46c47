"""What decides a name, and why: one look-up in the ledger's own data, with the oracle's rules.

Reads the canonical lists as they are, sorted text, by bisection; no list becomes objects, only
the few lines that can matter to this name. The verdict is `core.verdict`'s, so it is what a
node that has the same ledger and lists must do, less what it obeys or protects on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enforcer.core.name import Name
from enforcer.core.state import OrderRecord, State
from enforcer.core.target import parse_line
from enforcer.core.verdict import Cause, Rules, Verdict, decide
from enforcer.errors import NotFoundError
from enforcer.services.explain_lines import (
    Lists,
    ListText,
    below,
    find_line,
    line_number,
    list_of,
    present,
)

ROW_OF_CAUSE: Final = {
    Cause.PROTECTED_CORE: 1,
    Cause.PROTECTED_LIST: 2,
    Cause.ORDER: 2,
    Cause.NO_MATCH: 4,
}
"""The row of DESIGN's table of precedence that a cause belongs to."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list, and where it stands there, counted from 1."""

    text: str
    number: int
    list_sha256: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict on one name at one time, and what it rests on."""

    name: Name
    qtype: int
    t_ms: int
    verdict: Verdict
    row: int
    """Row of the table of precedence, 1 to 4."""
    line: Line | None
    """The line that decided; None where nothing matched."""
    order: OrderRecord | None
    also: tuple[OrderRecord, ...]
    """Other orders now in force that have a target at or above this name."""
    missing: tuple[OrderRecord, ...]
    """Orders now in force whose list is not here, so that they were not looked at."""


def explain(state: State, lists: Lists, name: Name, qtype: int, t_ms: int) -> Explanation:
    """Decide `name` at `t_ms` by the ledger folded into `state`.

    Raises:
        NotFoundError: a protected list that the policy pins is not here.
    """
    wanted = candidates(name)
    pins = state.policy.payload.pins if state.policy else None
    core = _text(lists, pins.protected_core if pins else None)
    protected = _text(lists, pins.protected_names if pins else None)
    orders, missing, zones = [], [], []
    for order in state.orders.values():
        row = order.row
        if row is None or not row.is_in_force(t_ms):
            continue
        try:
            text = lists(row.target_list_sha256)
        except NotFoundError:
            missing.append(order)
            continue
        found = [line for line in wanted if find_line(text, line) is not None]
        if found:
            orders.append((row, list_of(found)))
            zones += [line.partition(b" ")[2] for line in found]
    rules = Rules(
        orders,
        core=list_of([*present(core, wanted), *below(core, zones)]),
        protected=list_of([*present(protected, wanted), *below(protected, zones)]),
        overrides={
            (row.index, parse_line(each.encode("ascii")))
            for row, _ in orders
            for each in row.overrides
        },
    )
    verdict = decide(rules, name, qtype, t_ms)
    order_of = {row.index: state.orders[row.index] for row, _ in orders}
    deciding = order_of.pop(verdict.order.index) if verdict.order else None
    line = _deciding_line(verdict, state, lists)
    is_shared = line is not None and any(
        row.index in order_of and line.text.encode("ascii") in text.split(b"\n")
        for row, text in orders
    )
    return Explanation(
        name=name,
        qtype=qtype,
        t_ms=t_ms,
        verdict=verdict,
        row=3 if is_shared and deciding else ROW_OF_CAUSE[verdict.cause],
        line=line,
        order=deciding,
        also=tuple(order_of.values()),
        missing=tuple(missing),
    )


def candidates(name: Name) -> list[bytes]:
    """Return the lines that can decide `name`, the most specific first."""
    zones = [zone for zone in name.ancestors() if zone.wire != b"\0"]
    lines = [f"subtree {zone.text}" for zone in zones]
    return [line.encode("ascii") for line in [f"exact {name.text}", *lines]]


def _deciding_line(verdict: Verdict, state: State, lists: Lists) -> Line | None:
    if verdict.zone is None:
        return None
    pins = state.policy.payload.pins if state.policy else None
    sha256 = {
        Cause.PROTECTED_CORE: pins.protected_core if pins else None,
        Cause.PROTECTED_LIST: pins.protected_names if pins else None,
        Cause.ORDER: verdict.order.target_list_sha256 if verdict.order else None,
    }[verdict.cause]
    line = f"{verdict.kind.name.lower()} {verdict.zone.text}"
    if sha256 is None:
        return None
    text = lists(sha256)
    offset = find_line(text, line.encode("ascii"))
    return None if offset is None else Line(line, line_number(text, offset), sha256)


def _text(lists: Lists, sha256: str | None) -> ListText:
    return b"" if sha256 is None else lists(sha256)
