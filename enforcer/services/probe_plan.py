"""Which names of which orders a probe asks for: a few, the same ones for the same seed.

Draws lines by their numbers, all alike, from the names of a list that everybody may read. Leaves
out names that the ledger itself lets pass (a protection) or has another order decide: their
answers would say nothing of this order.
"""

from __future__ import annotations

from random import Random
from typing import Final

from enforcer.core.name import Name
from enforcer.core.standing import Standing, standing
from enforcer.core.state import OrderRecord, State
from enforcer.errors import NotFoundError
from enforcer.services.explain import explain
from enforcer.services.explain_lines import Lists, ListText
from enforcer.services.probe import Plan

NAMES_MAX: Final = 50
DRAWN_TIMES: Final = 4
"""Lines drawn for each name that is asked for: some may be left out."""

_QTYPE_A: Final = 1
_CHUNK_BYTES: Final = 1 << 20


def plan(
    state: State,
    lists: Lists,
    order: OrderRecord,
    t_ms: int,
    *,
    names_max: int,
    seed: str,
    operator: str | None = None,
) -> Plan:
    """Plan the probe of one order at the network of `operator`, if one is named."""
    stands = standing(order, t_ms)
    is_suspended = order.suspension(operator, t_ms) is not None
    is_in_force = stands is Standing.IN_FORCE
    names: list[Name] = []
    because = None
    if not order.is_public:
        because = "its list is not public"
    else:
        try:
            text = lists(order.payload.target_list_sha256)
        except NotFoundError:
            because = "its list is not here"
        else:
            drawn = sample(text, names_max * DRAWN_TIMES, f"{seed} {order.index}")
            for name in drawn:
                if len(names) == names_max:
                    break
                decided = explain(state, lists, name, _QTYPE_A, t_ms).verdict.order
                if (decided.index if decided else None) == (order.index if is_in_force else None):
                    names.append(name)
            if not names:
                because = "no name in its list is decided by it alone"
    return Plan(
        order.payload.order_id,
        order.index,
        is_in_force and not is_suspended,
        f"{stands.name}, suspended here" if is_suspended else stands.name,
        tuple(names),
        because,
    )


def sample(text: ListText, count: int, seed: str) -> list[Name]:
    """Draw up to `count` different names of a canonical list, by `seed`, in the order drawn."""
    names = [_section(text, b"exact "), _section(text, b"subtree ")]
    sizes = [_count_lines(text, start, end) for start, end in names]
    numbers = Random(seed).sample(range(sum(sizes)), min(count, sum(sizes)))  # noqa: S311
    found: dict[int, Name] = {}
    for number in sorted(numbers):
        (start, end), within = names[0], number
        if number >= sizes[0]:
            (start, end), within = names[1], number - sizes[0]
        line = _line_at(text, start, end, within)
        found[number] = Name.from_text(line.partition(b" ")[2].decode("ascii"))
    return list(dict.fromkeys(found[number] for number in numbers))


def _section(text: ListText, kind: bytes) -> tuple[int, int]:
    """Return where the lines of a kind begin and end in a sorted list."""
    return _lower_bound(text, kind), _lower_bound(text, kind[:-1] + b"!")


def _lower_bound(text: ListText, line: bytes) -> int:
    """Return the offset of the first line that is not below `line`, by bisection."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high) // 2
        start = text.rfind(b"\n", low, middle) + 1 or low
        end = text.find(b"\n", start)
        if text[start:end] < line:
            low = end + 1
        else:
            high = start
    return low


def _count_lines(text: ListText, start: int, end: int) -> int:
    return sum(
        text[at : min(at + _CHUNK_BYTES, end)].count(b"\n")
        for at in range(start, end, _CHUNK_BYTES)
    )


def _line_at(text: ListText, start: int, end: int, number: int) -> bytes:
    """Return line `number`, from 0, of the lines from `start` to `end`."""
    for at in range(start, end, _CHUNK_BYTES):
        in_chunk = text[at : min(at + _CHUNK_BYTES, end)].count(b"\n")
        if number <= in_chunk:
            start = at
            break
        number -= in_chunk
    else:
        raise ValueError("the list has no such line")
    for _ in range(number):
        start = text.find(b"\n", start) + 1
    return text[start : text.find(b"\n", start)]
