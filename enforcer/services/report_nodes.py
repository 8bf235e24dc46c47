"""From attestations to facts: when an order took effect at a node, and when it was gone there.

A time counts only between two attestations of one node, before and after: without the one before
nobody knows whether the one after was the first. Those in recorded batches count as those that lie
beside the ledger do, each once. What is not validly signed by a registered node
about this very history is left out and counted; whether the table that a node attests is the
right one is for ``audit verify``. An order that a node leaves out by its operator's
decision never counts as late there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from heapq import heapify, heappop, heappush
from typing import Final

from enforcer.core.attestation import (
    NOTHING_ENFORCED,
    Attestation,
    GateState,
    NotEnforced,
    parse_attestation,
)
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.batch import parse_batch
from enforcer.core.envelope import Envelope, format_envelope, parse_envelope
from enforcer.core.key import Role
from enforcer.core.state import KeyRecord, OrderRecord, State
from enforcer.errors import EnforcerError
from enforcer.ports import Batches
from enforcer.services.audit_claims import KeptAttestation
from enforcer.services.plan import is_concerned
from enforcer.services.report_facts import Fact, What

BY_OPERATOR: Final = NOTHING_ENFORCED | {NotEnforced.SUSPENDED}
"""Reasons that are the operator's own decision."""


@dataclass(frozen=True, slots=True)
class _Change:
    """An order's begin or stop, by an entry; due at nodes from a time."""

    index: int
    order: OrderRecord
    t_ms: int
    is_stop: bool


@dataclass(slots=True)
class _Node:
    """What one node said last, and what it has not said yet."""

    position: int
    """How many of all changes it has read."""
    said: Attestation
    waiting: dict[int, _Change] = field(default_factory=dict)
    """Orders that are due and were not attested yet."""
    leaving: dict[int, _Change] = field(default_factory=dict)
    """Stopped orders that were not attested as gone yet."""


class NodeWatch:
    """Reads each attestation at its own ledger size, while the ledger is folded."""

    def __init__(
        self,
        kept: Sequence[KeptAttestation],
        until_ms: int,
        recorded: Iterable[AttestationsRecorded] = (),
        batches: Batches | None = None,
    ) -> None:
        """Read those of `kept`, and of what `batches` has, that speak of a time before `until_ms`.

        `recorded` is what the ledger says of batches.
        """
        self.left_out = 0
        """How many cannot be believed, or cannot be read."""
        self._kept = [(each.ledger_size, each.place, each) for each in kept]
        heapify(self._kept)
        self._batches = batches
        self._recorded = sorted(recorded, key=lambda each: -each.read_from_size)
        """What of batches is still to be opened, the one of the least size last."""
        self._until_ms = until_ms
        self._hashes: set[bytes] = set()
        self._nodes: dict[str, _Node] = {}
        self._changes: list[_Change] = []

    @property
    def count(self) -> int:
        """How many attestations figures rest on."""
        return len(self._hashes)

    @property
    def sha256(self) -> str:
        """The hash over the sorted hashes of these attestations."""
        return sha256(b"".join(sorted(self._hashes))).hexdigest()

    def due(self, order: OrderRecord, index: int, t_ms: int) -> None:
        """Remember that entry `index` makes the order block from `t_ms` on."""
        self._changes.append(_Change(index, order, t_ms, is_stop=False))

    def stopped(self, order: OrderRecord, index: int, t_ms: int) -> None:
        """Remember that an act at `t_ms` ended the order while it was in force."""
        self._changes.append(_Change(index, order, t_ms, is_stop=True))

    def attested(self, state: State, root: Callable[[], bytes]) -> Iterator[Fact]:
        """Yield what attestations for exactly this size and root say."""
        while self._recorded and self._recorded[-1].read_from_size <= state.size:
            self._open(self._recorded.pop())
        while self._kept and self._kept[0][0] <= state.size:
            kept = heappop(self._kept)[2]
            try:
                envelope = parse_envelope(kept.read())
                said = parse_attestation(envelope)
            except EnforcerError:
                self.left_out += 1
                continue
            t_ms = max(said.t_ms, state.recorded_at_ms)
            if t_ms >= self._until_ms:
                continue
            key = _signer(state, envelope, said)
            if (
                key is None
                or kept.ledger_size != said.ledger_size
                or said.root_sha256 != root().hex()
            ):
                self.left_out += 1
                continue
            digest = sha256(format_envelope(envelope)).digest()
            if digest in self._hashes:  # in a batch, and beside the ledger
                continue
            self._hashes.add(digest)
            yield from self._said(state, said, t_ms, key.registration.operator or "")

    def _open(self, recorded: AttestationsRecorded) -> None:
        """Take in what a batch has, if it is here and is what was signed."""
        if self._batches is None:
            return
        try:
            data = self._batches.read(recorded.until_ms, recorded.batch_sha256)
            envelopes = parse_batch(data)
        except EnforcerError:
            return  # the report says what it rests on; that it is gone is for the audit to find
        for at, envelope in enumerate(envelopes):
            try:
                size = parse_attestation(envelope).ledger_size
            except EnforcerError:
                self.left_out += 1
                continue
            place = f"batch {recorded.batch_sha256} {at:05}"
            kept = KeptAttestation(place, size, partial(format_envelope, envelope))
            heappush(self._kept, (size, place, kept))

    def _said(self, state: State, said: Attestation, t_ms: int, operator: str) -> Iterator[Fact]:
        index = state.size - 1
        who = {"node": said.node_id, "operator": operator}
        yield Fact(What.ATTESTED, t_ms, index, None, {**who, "gate": said.gate.name})
        for reason in sorted({each.reason for each in said.omissions}):
            yield Fact(What.OMITTED, t_ms, index, None, {**who, "reason": reason.name})
        node = self._nodes.get(said.node_id)
        if node is None:
            self._nodes[said.node_id] = _Node(len(self._changes), said)
            return
        for change in self._changes[node.position :]:
            _take(node, change)
        node.position, node.said = len(self._changes), said
        is_whole = said.omission_count == len(said.omissions) or _enforces_nothing(said)
        if said.gate in (GateState.HOLDS_TABLE, GateState.NONE) and is_whole:
            yield from _settle(state, node, t_ms, who)


def _take(node: _Node, change: _Change) -> None:
    """Note what a change makes the node owe; `node.said` is what it said before the change."""
    index = change.order.index
    if not is_concerned(change.order, blocks_names=node.said.gate is not GateState.NONE):
        return
    if not change.is_stop:
        node.waiting[index] = change
        return
    if node.waiting.pop(index, None) is None and _enforced(node.said, change.order):
        node.leaving[index] = change


def _enforced(said: Attestation, order: OrderRecord) -> bool:
    """Tell whether the node enforced an order, or had let go of it by a stop not yet recorded."""
    if order.approved_index is None or order.approved_index >= said.ledger_size:
        return False
    reasons = {each.reason for each in said.omissions if each.order_index == order.index}
    return not _enforces_nothing(said) and reasons <= {NotEnforced.STOPPED_UNLOGGED}


def _settle(state: State, node: _Node, t_ms: int, who: dict[str, str]) -> Iterator[Fact]:
    """Yield what the node's newest word settles of what it owes."""
    omitted = {each.order_index: each.reason for each in node.said.omissions}
    for index, change in tuple(node.leaving.items()):
        del node.leaving[index]
        took_ms = max(0, t_ms - change.t_ms)
        yield Fact(What.GONE, t_ms, change.index, change.order, who, took_ms)
    for index, change in tuple(node.waiting.items()):
        row = state.orders[index].row
        if change.t_ms > t_ms and row is not None:
            continue
        reason = NotEnforced.BYPASSED if _enforces_nothing(node.said) else omitted.get(index)
        if reason is not None and reason not in BY_OPERATOR:
            continue
        del node.waiting[index]
        if reason is None and row is not None and row.is_in_force(t_ms):
            took_ms = t_ms - change.t_ms
            yield Fact(What.IN_EFFECT, t_ms, change.index, change.order, who, took_ms)


def _enforces_nothing(said: Attestation) -> bool:
    return any(each.reason in NOTHING_ENFORCED for each in said.omissions)


def _signer(state: State, envelope: Envelope, said: Attestation) -> KeyRecord | None:
    """Return the node's key if the one signature is validly by it, at that size of the ledger."""
    record = state.keys.get(envelope.signatures[0].key_id)
    if record is None or len(envelope.signatures) != 1 or said.ledger_origin != state.origin:
        return None
    known = record.registration
    is_its_own = known.role is Role.NODE and known.machine_id == said.node_id
    if not is_its_own or record.revoked_index is not None or said.t_ms > known.not_after_ms:
        return None
    is_signed = state.verify(record.public_key, envelope.message, envelope.signatures[0].octets)
    return record if is_signed else None
