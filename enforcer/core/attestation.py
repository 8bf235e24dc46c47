"""What a node signs about itself: which ledger it has read and what it really enforces.

An auditor recomputes ``table_digest`` from the ledger: the rows in force at ``t_ms`` after
``ledger_size`` entries, less those listed in ``omissions``, and the local layer's digest. Of a node
without a gate (``NONE``) these are the rows that need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final

from enforcer.core import fields
from enforcer.core.envelope import Envelope
from enforcer.core.fields import EntryIndex, Identifier, Items, Sha256, UnixMs
from enforcer.core.firewall import FirewallState
from enforcer.core.payload import Payload
from enforcer.core.state import State, in_force
from enforcer.core.table import DnsMeasure, OrderRow, digest_beside
from enforcer.errors import InputError

OMISSIONS_MAX: Final = 100
EFFECTS_MAX: Final = 100
EFFECT_AGE_MS_MAX: Final = 3_600_000
"""So long a node goes on saying when its enforcement of an order changed."""

CLOCKS_APART_MS_MAX: Final = 120_000
"""How far the clock of an honest node may be ahead of the ledger's."""


class NotEnforced(IntEnum):
    """Why an order that the ledger has in force is not enforced by this node."""

    UNSPECIFIED = 0
    STOPPED_UNLOGGED = 1
    LIST_MISSING = 2
    SUSPENDED = 3
    CANNOT_ENFORCE = 4
    BYPASSED = 5
    """The operator has switched blocking off: no order is enforced."""
    SHADOW = 6
    """The gate counts what it would block, and blocks nothing."""
    UNWITNESSED = 7
    """Too few witnesses have cosigned a checkpoint that covers what it rests on."""
    GUARD = 8
    """A guard fires at its list, and no lift answers that."""
    CANARY_AWAITED = 9
    """It waits, for a bounded time, until a canary of its network has tried it."""
    CANARY_BLAMED = 10
    """The gate of a canary of its network refuses it."""


NOTHING_ENFORCED: Final = frozenset({NotEnforced.BYPASSED, NotEnforced.SHADOW})
"""Reasons that are the whole gate's: where one is named, every order in force is omitted."""


class GateState(IntEnum):
    """What the read-back of the gate said."""

    UNSPECIFIED = 0
    HOLDS_TABLE = 1
    DIFFERS = 2
    UNREACHABLE = 3
    NONE = 4
    """There is none: of orders that need one the node does nothing, and says nothing."""


@dataclass(frozen=True, slots=True)
class Omission:
    """One order in force by the ledger, and why this node does not enforce it."""

    order_index: EntryIndex
    reason: NotEnforced
    act_payload_sha256: Sha256 | None
    """The stop that was obeyed before it was logged, or the suspension."""
    since_ms: UnixMs


@dataclass(frozen=True, slots=True)
class Resumption:
    """A suspension that the ledger has, and that its officer has ended here ahead of it."""

    order_index: EntryIndex
    act_payload_sha256: Sha256
    since_ms: UnixMs


@dataclass(frozen=True, slots=True)
class EffectTime:
    """When this node's enforcement of one order changed, by reading gate and firewall back.

    The later of the two times says how it stands; they may lie a moment after ``t_ms``.
    """

    order_index: EntryIndex
    in_force_at_ms: UnixMs | None
    """When gate and firewall held it; null: before what the node remembers."""
    out_at_ms: UnixMs | None
    """When it was gone from one of them, whatever ended it; null: it was not."""

    @property
    def changed_at_ms(self) -> int:
        """The later of the two."""
        return max(self.in_force_at_ms or 0, self.out_at_ms or 0)


@dataclass(frozen=True, slots=True)
class Attestation(Payload):
    """One node's signed word; ``request_id`` is new each time."""

    TYPE: ClassVar = "application/vnd.enforcer.attestation.v1+json"

    node_id: Identifier
    t_ms: UnixMs
    """The node's time, and the time that ``table_digest`` is for."""
    ledger_size: EntryIndex
    root_sha256: Sha256
    table_digest: Sha256
    local_digest: Sha256
    gate: GateState
    firewall: FirewallState
    pieces_digest: Sha256 | None
    """What the firewall held when it was read back, as core.firewall.pieces_digest gives it; None
    unless the firewall HOLDS. The operator's own protections are not in it."""
    repairs: EntryIndex
    """How often since its start the node found its firewall altered by others."""
    curtailed: Annotated[tuple[EntryIndex, ...], Items(0, OMISSIONS_MAX)]
    """Orders of which the local layer lets some addresses pass, ascending (the first of them)."""
    omission_count: EntryIndex
    """All orders in force that are not enforced here."""
    omissions: Annotated[tuple[Omission, ...], Items(0, OMISSIONS_MAX)]
    """The first of them; `table_digest` leaves out all."""
    ineffective: Annotated[tuple[EntryIndex, ...], Items(0, OMISSIONS_MAX)]
    """Entries that broke a rule and had no effect here (the first of them)."""
    effects: Annotated[tuple[EffectTime, ...], Items(0, EFFECTS_MAX)] = ()
    """Orders whose enforcement changed in the last hour, ascending (the newest of them)."""
    resumed: Annotated[tuple[Resumption, ...], Items(0, OMISSIONS_MAX)] = ()
    """Orders enforced here though the ledger has them as suspended, ascending (the first)."""
    carried: bool = False
    """Whether no network leads from the node to the control plane. Then somebody else brings its
    word, and it says nothing about when entries were there to be read."""


def rows_for(gate: GateState, rows: Iterable[OrderRow]) -> list[OrderRow]:
    """Return the rows that a node speaks of: where it has no gate, those that need none."""
    if gate is not GateState.NONE:
        return list(rows)
    return [row for row in rows if row.dns_measure is DnsMeasure.NONE]


def enforced_rows(rows: Iterable[OrderRow], omissions: Iterable[Omission]) -> list[OrderRow]:
    """Return the rows without those that the omissions name."""
    absent = {omission.order_index for omission in omissions}
    return [row for row in rows if row.index not in absent]


def expected_digest(state: State, attestation: Attestation) -> str | None:
    """Return the table digest that the ledger, at the attested size, gives at the attested time.

    Of the local layer the digest is the node's word: what it protects is its operator's to show.
    None where more orders are omitted than an attestation can name, unless all are: nobody can
    recompute that. `state` must have been folded to ``attestation.ledger_size`` entries, or further
    by entries that are no news, and have a policy.
    """
    if state.policy is None or not state.news_size <= attestation.ledger_size <= state.size:
        raise ValueError("the state is not that of the attested ledger size")
    rows = rows_for(attestation.gate, in_force(state, attestation.t_ms))
    if any(each.reason in NOTHING_ENFORCED for each in attestation.omissions):
        if attestation.omission_count != len(rows):
            return None
        rows = []
    elif attestation.omission_count != len(attestation.omissions):
        return None
    enforced = enforced_rows(rows, attestation.omissions)
    return digest_beside(state.origin, state.policy.ref, enforced, attestation.local_digest)


def parse_attestation(envelope: Envelope) -> Attestation:
    """Read an attestation's payload.

    Raises:
        InputError: another payload type, or with ``data["field"]``.
    """
    if envelope.payload_type != Attestation.TYPE:
        raise InputError(
            f"the payload type {envelope.payload_type} is no attestation",
            advice=f"Send {Attestation.TYPE}.",
            field="payloadType",
        )
    return fields.read(Attestation, fields.load(envelope.payload, "attestation"), "attestation")
