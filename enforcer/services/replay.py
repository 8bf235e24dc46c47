"""The ledger as a story: each act with who signed it and what it did, and how things stood when.

Folds with the rules that nodes run, so nothing here can say something else than they do. Times
are the ledger's own: how things stood at a time is what the entries recorded by then amount to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from enforcer.core.entry import Entry, parse, parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.fold import apply
from enforcer.core.order import OrderProposed
from enforcer.core.standing import Standing, standing
from enforcer.core.state import OrderRecord, State, in_force
from enforcer.core.table import NO_LOCAL_LAYER, OrderRow, table_digest
from enforcer.errors import InputError
from enforcer.ports import LedgerFiles


@dataclass(frozen=True, slots=True)
class Act:
    """One entry, in words."""

    index: int
    recorded_at_ms: int
    kind: str
    order_id: str | None
    """The order that it concerns; None for acts of the roots."""
    signers: tuple[str, ...]
    """Persons and machines by their ids; keys that nobody has registered by the key's."""
    refusal: str | None
    """Why it had no effect; None where it had the one that it asks for."""


@dataclass(frozen=True, slots=True)
class Then:
    """How things stood at a time."""

    t_ms: int
    state: State
    rows: tuple[OrderRow, ...]
    """What was in force, ascending by entry index."""
    table_digest: str | None
    """What a node without local protections attests of it; None before the first policy."""

    def standing(self, order: OrderRecord) -> Standing:
        """Return where an order of this state stood."""
        return standing(order, self.t_ms)


class Change(IntEnum):
    """What became of an order between two times."""

    UNSPECIFIED = 0
    CAME = 1
    ENDED = 2
    ALTERED = 3
    """In force at both, until another time."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One order that is in force at one of two times, or at both with another end."""

    change: Change
    order: OrderRecord
    """As it stood at the later time."""
    standing: Standing
    """At the later time."""


def read_entries(ledger: LedgerFiles, start: int = 0, end: int | None = None) -> Iterator[Entry]:
    """Yield the entries of a ledger, all of them or a range.

    Raises:
        IntegrityError: while iterating, at a leaf that is no entry or a damaged file.
    """
    return map(parse, ledger.entries(start, ledger.size if end is None else end))


def fold(state: State, entries: Iterable[Entry]) -> Iterator[Act]:
    """Fold entries into `state`, yielding each one's act when it has been folded.

    Raises:
        IntegrityError: while iterating, at time that runs backwards.
    """
    for entry in entries:
        effect = apply(state, entry)
        order_id = order_id_of(entry.envelope)
        refusal = effect.refusal.message if effect.refusal is not None else None
        signers = tuple(signer_of(state, part.key_id) for part in entry.envelope.signatures)
        yield Act(effect.index, effect.recorded_at_ms, effect.kind, order_id, signers, refusal)


@dataclass(slots=True)
class Story:
    """What happened up to a time, and after it."""

    then: State
    """After the entries recorded by that time."""
    now: State
    """After all entries."""
    acts: list[Act]
    """All of them, ascending."""


def tell_all(state: State, entries: Iterable[Entry], t_ms: int | None = None) -> Story:
    """Fold all entries into `state`, and keep how it was after those recorded by `t_ms`.

    Raises:
        IntegrityError: an entry cannot be understood, or time runs backwards.
    """
    then: State | None = None
    acts: list[Act] = []
    for entry in entries:
        if then is None and t_ms is not None and entry.recorded_at_ms > t_ms:
            then = state.copy()
        acts.extend(fold(state, (entry,)))
    return Story(then or state, state, acts)


def at_time(state: State, t_ms: int) -> Then:
    """Return how things stand at `t_ms` after the entries folded into `state`."""
    rows = in_force(state, t_ms)
    digest = None
    if state.policy is not None:
        digest = table_digest(state.origin, state.policy.ref, rows, NO_LOCAL_LAYER)
    return Then(t_ms, state, rows, digest)


def changes(earlier: Then, later: Then) -> list[Changed]:
    """Return what came into force, what ended and what was altered, ascending by entry index."""
    before = {row.index: row for row in earlier.rows}
    after = {row.index: row for row in later.rows}
    found = []
    for index in sorted(before.keys() | after.keys()):
        if before.get(index) == after.get(index):
            continue
        change = Change.ALTERED
        if index not in before:
            change = Change.CAME
        elif index not in after:
            change = Change.ENDED
        order = later.state.orders[index]
        found.append(Changed(change, order, later.standing(order)))
    return found


def common_size(first: LedgerFiles, second: LedgerFiles) -> int:
    """Return how many entries two ledgers have in common, from the first entry on.

    Equal to the smaller size unless they fork. Reads a few tiles, whatever the size.

    Raises:
        IntegrityError: a tile is damaged.
    """
    same, differs = 0, min(first.size, second.size) + 1
    size = differs - 1  # where ledgers that do not fork are equal
    while differs - same > 1:
        if first.root_at(size) == second.root_at(size):
            same = size
        else:
            differs = size
        size = (same + differs) // 2
    return same


def order_id_of(envelope: Envelope) -> str | None:
    """Return the order that an envelope's payload names, if it can be read and names one."""
    try:
        payload = parse_payload(envelope)
    except InputError:
        return None
    if isinstance(payload, OrderProposed):
        return payload.order_id
    ref = getattr(payload, "order", None)
    order_id = getattr(ref, "order_id", None)
    return order_id if isinstance(order_id, str) else None


def signer_of(state: State, key_id: str) -> str:
    """Return the id of the person or machine that holds a key."""
    if key_id in state.root_keys:
        return f"root {key_id[:16]}"
    record = state.keys.get(key_id)
    if record is None:
        return f"unregistered key {key_id[:16]}"
    registration = record.registration
    return registration.person_id or registration.machine_id or f"key {key_id[:16]}"
