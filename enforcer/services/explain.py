"""What decides a name, and why: one look-up in the ledger's own data, with the oracle's rules.

Reads the canonical lists as they are, sorted text, by bisection; no list becomes objects, only
the few lines that can matter to this name. The verdict is `core.verdict`'s, so it is what a
node that has the same ledger and lists must do, less what it obeys or protects on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from enforcer.core.name import Name
from enforcer.core.state import OrderRecord, State
from enforcer.core.target import parse_line
from enforcer.core.verdict import Cause, Rules, Verdict, decide
from enforcer.errors import NotFoundError

ROW_OF_CAUSE: Final = {
    Cause.PROTECTED_CORE: 1,
    Cause.PROTECTED_LIST: 2,
    Cause.ORDER: 2,
    Cause.NO_MATCH: 4,
}
"""The row of DESIGN's table of precedence that a cause belongs to."""
BELOW_LINES_MAX: Final = 10_000
COUNT_CHUNK_BYTES: Final = 1 << 20


class ListText(Protocol):
    """A target list's whole text, such as bytes or a mapped file."""

    def __len__(self) -> int:
        """Return its size in bytes."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of it, for code that reads it in place."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a part of it."""

    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return where `sub` stands first, or -1."""

    def rfind(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return where `sub` stands last, or -1."""


Lists: TypeAlias = Callable[[str], ListText]
"""``lists(sha256)``: the text of a list; raises NotFoundError when it is not here."""


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
            orders.append((row, _list_of(found)))
            zones += [line.partition(b" ")[2] for line in found]
    rules = Rules(
        orders,
        core=_list_of([*_present(core, wanted), *below(core, zones)]),
        protected=_list_of([*_present(protected, wanted), *below(protected, zones)]),
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


def find_line(text: ListText, line: bytes) -> int | None:
    """Return the offset of `line` in a sorted list, or None, by bisection."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        start = text.rfind(b"\n", low, middle) + 1 or low
        end = text.find(b"\n", start)
        here = text[start:end]
        if here == line:
            return start
        if here < line:
            low = end + 1
        else:
            high = start
    return None


def line_number(text: ListText, offset: int) -> int:
    """Return the number, from 1, of the line that begins at `offset`."""
    count = 1
    for start in range(0, offset, COUNT_CHUNK_BYTES):
        count += text[start : min(start + COUNT_CHUNK_BYTES, offset)].count(b"\n")
    return count


def below(text: ListText, zones: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the lines at or below `zones`: a pass rule there turns NXDOMAIN into NODATA."""
    for zone in zones:
        ending, at, found = zone + b"\n", 0, 0
        while found < BELOW_LINES_MAX and (at := text.find(ending, at)) >= 0:
            start = text.rfind(b"\n", 0, at) + 1
            if text[at - 1 : at] in (b".", b" "):
                found += 1
                yield text[start : at + len(zone)]
            at += len(ending)


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


def _present(text: ListText, wanted: Sequence[bytes]) -> Iterator[bytes]:
    return (line for line in wanted if find_line(text, line) is not None)


def _list_of(lines: Sequence[bytes]) -> bytes:
    """Return a canonical list of some lines."""
    return b"".join(line + b"\n" for line in sorted(set(lines)))
