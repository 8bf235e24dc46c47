"""What is known, without asking anyone, of what an order would hit beside its aim.

Facts are a document in one spelling, the same wherever they are made: of the order's list, of
what the policy pins, and of other orders in the ledger. Who assesses signs for them together with
the statement of necessity, whose form stands here as well. Nothing here reads a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from enforcer.core import fields
from enforcer.core.fields import Items, Text
from enforcer.core.guard_facts import NO_PINS
from enforcer.core.order import OrderRef
from enforcer.core.policy import Pins
from enforcer.core.standing import standing
from enforcer.core.state import OrderRecord, State
from enforcer.errors import InputError

FACTS_FORMAT: Final = "enforcer collateral facts 1"
LINES_TOLD_MAX: Final = 500
"""Of the lines of a list about which something is known, the first ones are told one by one."""
ENTRIES_TOLD_MAX: Final = 500
"""Of ranges, protected entries and orders each; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Necessity:
    """Why an order is needed that hits more than its aim, in the words of who attests it."""

    considered: Annotated[tuple[Annotated[str, Text(2_000)], ...], Items(1, 20)]
    """What else would do, and why it does not: asking the host, the holder, a shorter time."""
    why_no_dns_order: Annotated[str, Text(4_000)]
    """Why blocking names would not reach the aim."""
    attested_by: Annotated[str, Text(200)]
    """Name and office of the person who signs."""


@dataclass(frozen=True, slots=True)
class CollateralJob:
    """What is compared: an order's list, pinned data, other orders' lists."""

    target_list_sha256: str
    pins: Pins
    others: tuple[tuple[int, str], ...]
    """Entry index and list of each other order, ascending."""

    @property
    def lists(self) -> tuple[str, ...]:
        """All lists that are read, each once."""
        others = (sha256 for _, sha256 in self.others)
        pinned = (self.pins.protected_core, self.pins.protected_names, self.pins.shared_ranges)
        named = [self.target_list_sha256, *(each for each in pinned if each), *others]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """One range or protected entry, and what of the list lies in it or around it."""

    line: str
    addresses: str
    """How many it has, in decimal."""
    lines_in_it: int
    """Lines of the order's list that are it, or lie in it."""
    nearest_for: int
    """Lines for which no smaller entry is known."""
    lies_in_list: bool
    """Whether it is a target of the order, or lies in one."""


@dataclass(frozen=True, slots=True)
class OtherOrder:
    """Another order of the ledger that shares targets."""

    entry_index: int
    lines_in_it: int
    """Lines of the order's list that are targets of the other, or lie in one."""
    its_lines_in_list: int
    """Lines of the other's list that are targets of this order, or lie in one."""


@dataclass(frozen=True, slots=True)
class LineFound:
    """One line about which something is known."""

    number: int
    line: str
    addresses: str
    nearest: str | None
    """The smallest known range or protected entry around it."""
    also: tuple[str, ...]
    """Wider ones."""
    orders: tuple[int, ...]
    """Entry indices of other orders with a target at or around it."""


@dataclass(frozen=True, slots=True)
class CollateralFound:
    """What comparing whole lists gives."""

    ipv4_addresses: str
    """How many addresses the list spans, each once, in decimal."""
    ipv6_addresses: str
    prefixes: tuple[tuple[str, int], ...]
    """Outermost targets by their length, as ``ipv4/24``, and how many have it."""
    ranges: tuple[KnownEntry, ...]
    protected: tuple[KnownEntry, ...]
    others: tuple[OtherOrder, ...]
    lines: tuple[LineFound, ...]
    lines_known: int
    """Lines that lie in a known range or a protected entry."""


def collateral_job(state: State, order: OrderRecord) -> CollateralJob:
    """Return what an order must be compared with: all that ever blocked, and is public."""
    others = tuple(
        (each.index, each.payload.target_list_sha256)
        for each in state.orders.values()
        if each.approved_index is not None
        and each.payload.order_id != order.payload.order_id
        and not each.payload.publication.is_sealed
    )
    pins = state.policy.payload.pins if state.policy is not None else NO_PINS
    return CollateralJob(order.payload.target_list_sha256, pins, others)


def facts_document(state: State, order: OrderRecord, found: CollateralFound, t_ms: int) -> bytes:
    """Return the facts of an order at `t_ms` as its assessment names them.

    Of an order whose list is sealed they say nothing that describes a target: they are in clear,
    also after its list was published, so that the audit makes the same.
    """
    job = collateral_job(state, order)
    ref = OrderRef(order.payload.order_id, order.index, order.payload_sha256)
    told: Mapping[str, object] = {
        "format": FACTS_FORMAT,
        "order": fields.to_plain(ref),
        "target_list_sha256": order.payload.target_list_sha256,
        "targets": order.payload.target_count,
        "pins": {
            "protected_core": job.pins.protected_core,
            "protected_names": job.pins.protected_names,
            "shared_ranges": job.pins.shared_ranges,
        },
        "orders_compared": len(job.others),
        **({} if order.payload.publication.is_sealed else _found(state, found, t_ms)),
    }
    return (json.dumps(told, ensure_ascii=True, indent=1) + "\n").encode("ascii")


def _found(state: State, found: CollateralFound, t_ms: int) -> dict[str, object]:
    return {
        "ipv4_addresses": found.ipv4_addresses,
        "ipv6_addresses": found.ipv6_addresses,
        "prefixes": dict(found.prefixes),
        "lines_known": found.lines_known,
        "ranges": _entries(found.ranges),
        "protected": _entries(found.protected),
        "orders": [
            {
                "order_id": state.orders[each.entry_index].payload.order_id,
                "standing": standing(state.orders[each.entry_index], t_ms).name,
                **_plain(each),
            }
            for each in found.others[:ENTRIES_TOLD_MAX]
        ],
        "lines": [_plain(each) for each in found.lines],
    }


def _entries(entries: tuple[KnownEntry, ...]) -> dict[str, object]:
    shown = entries[:ENTRIES_TOLD_MAX]
    return {"count": len(entries), "entries": [_plain(each) for each in shown]}


def _plain(value: object) -> dict[str, fields.Json]:
    plain = fields.to_plain(value)
    if not isinstance(plain, dict):
        raise TypeError("only dataclasses are told")
    return plain


def read_necessity(document: bytes) -> Necessity:
    """Read a statement of necessity.

    Raises:
        InputError: it is not in its form, or says nothing where it must say something.
    """
    what = "statement of necessity"
    found = fields.read(Necessity, fields.load(document, what), what)
    empty = [
        name
        for name, words in (
            ("why_no_dns_order", (found.why_no_dns_order,)),
            ("attested_by", (found.attested_by,)),
            ("considered", found.considered),
        )
        if not all(word.strip() for word in words)
    ]
    if empty:
        raise InputError(
            f"the statement of necessity says nothing in {', '.join(empty)}",
            advice="Say what was considered, why a DNS order does not do, and who attests it.",
            field=empty[0],
        )
    return found


def draft_necessity() -> bytes:
    """Return a statement of necessity to be completed; as it is, it is refused."""
    empty: dict[str, object] = {"considered": [], "why_no_dns_order": "", "attested_by": ""}
    return (json.dumps(empty, indent=1) + "\n").encode("ascii")


def difference(expected: bytes, got: bytes) -> str | None:
    """Return the first line in which facts differ from what they must be, or None."""
    if expected == got:
        return None
    pairs: Iterable[tuple[bytes, bytes]] = zip(
        expected.split(b"\n"), got.split(b"\n"), strict=False
    )
    for number, (ours, theirs) in enumerate(pairs, 1):
        if ours != theirs:
            return f"line {number}"
    return "their length"
