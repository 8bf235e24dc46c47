"""The fold: one entry in, one step of the state.

The state is a function of the entries and the trust roots alone: no clock, no I/O. An entry
that breaks a rule has no effect and says so in its :class:`Effect`; an entry that cannot be
understood at all raises, and changes nothing. The rules, who may do what and when, are
in ``judge``; what stands here is only what a lawful act changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from enforcer.core.entry import AnyPayload, Entry
from enforcer.core.envelope import Envelope, key_id
from enforcer.core.judge import judge
from enforcer.core.key import KeyRegistered, KeyRevoked
from enforcer.core.order import OrderApproved, OrderExtended, OrderProposed, OrderStopped
from enforcer.core.policy import PolicyAdopted
from enforcer.core.state import (
    ENDED,
    KeyRecord,
    OrderRecord,
    OrderStatus,
    PolicyRecord,
    Signer,
    State,
)
from enforcer.errors import EnforcerError, IntegrityError


@dataclass(frozen=True, slots=True)
class Effect:
    """What one entry did: nothing, with the reason, or what it was meant to do."""

    index: int
    recorded_at_ms: int
    kind: str
    refusal: EnforcerError | None
    order_index: int | None = None

    @property
    def is_effective(self) -> bool:
        """Tell whether the entry changed the state as it says."""
        return self.refusal is None


def apply(state: State, entry: Entry) -> Effect:
    """Fold the next entry in, and say what it did.

    Raises:
        IntegrityError: ``recorded_at_ms`` runs backwards, or the policy asks for a fold
            version that is not this one's; the state is as it was.
    """
    if entry.recorded_at_ms < state.recorded_at_ms:
        raise IntegrityError(
            f"entry {state.size} is recorded {state.recorded_at_ms - entry.recorded_at_ms} ms "
            "before the entry in front of it",
            advice="Stop following and ask the ledger's operator: its time ran backwards.",
            index=state.size,
        )
    index, order_index, refusal = state.size, None, None
    try:
        payload = judge(state, entry.envelope, entry.recorded_at_ms)
    except IntegrityError:
        raise
    except EnforcerError as error:
        refusal = error
    else:
        order_index = _commit(state, payload, entry)
        state.index_of_payload[entry.envelope.payload_sha256] = index
        for signature in entry.envelope.signatures:
            state.index_of_request[signature.key_id, payload.request_id] = index
    state.size += 1
    state.recorded_at_ms = entry.recorded_at_ms
    return Effect(index, entry.recorded_at_ms, entry.kind, refusal, order_index)


def _commit(state: State, payload: AnyPayload, entry: Entry) -> int | None:
    """Make the change that a judged payload asks for; return the order it concerns."""
    match payload:
        case PolicyAdopted():
            state.policy = PolicyRecord(state.size, payload, entry.envelope.payload_sha256)
            return None
        case KeyRegistered():
            public_key = bytes.fromhex(payload.public_key)
            identity = key_id(public_key)
            state.keys[identity] = KeyRecord(identity, public_key, payload, state.size)
            return None
        case KeyRevoked():
            _revoke(state, payload)
            return None
        case OrderProposed():
            _propose(state, payload, entry)
            return state.size
        case OrderApproved():
            _approve(state, payload, entry)
        case OrderExtended():
            _extend(state, payload, entry.envelope)
        case OrderStopped():
            _stop(state, payload.order.order_id)
    return payload.order.entry_index


def _revoke(state: State, payload: KeyRevoked) -> None:
    record = state.keys[payload.key_id]
    state.keys[payload.key_id] = replace(record, revoked_index=state.size)
    since = payload.compromised_since_index
    if since is None:
        return
    for order in tuple(state.orders.values()):
        rests_on_it = any(
            signer.key_id == payload.key_id and signer.index >= since for signer in order.signers
        )
        if rests_on_it and order.status not in ENDED:
            state.orders[order.index] = replace(order, status=OrderStatus.HELD)
            state.live.pop(order.index, None)


def _propose(state: State, payload: OrderProposed, entry: Entry) -> None:
    state.orders[state.size] = OrderRecord(
        index=state.size,
        payload=payload,
        payload_sha256=entry.envelope.payload_sha256,
        status=OrderStatus.PROPOSED,
        proposed_at_ms=entry.recorded_at_ms,
        signers=_signers(state, entry.envelope),
        expires_at_ms=payload.expires_at_ms,
        review_due_at_ms=payload.review_due_at_ms,
    )
    state.versions.setdefault(payload.order_id, []).append(state.size)


def _approve(state: State, payload: OrderApproved, entry: Entry) -> None:
    order = state.orders[payload.order.entry_index]
    for other in state.versions[order.payload.order_id]:
        if other != order.index and state.orders[other].status not in ENDED:
            _end(state, other, OrderStatus.SUPERSEDED)
    state.orders[order.index] = replace(
        order,
        status=OrderStatus.APPROVED,
        approved_index=state.size,
        approved_at_ms=entry.recorded_at_ms,
        signers=order.signers + _signers(state, entry.envelope),
    )
    now_ms = entry.recorded_at_ms
    state.live = {index: end for index, end in state.live.items() if end[0] > now_ms}
    state.live[order.index] = (order.until_ms, order.payload.target_count)


def _extend(state: State, payload: OrderExtended, envelope: Envelope) -> None:
    order = state.orders[payload.order.entry_index]
    extended = replace(
        order,
        expires_at_ms=payload.expires_at_ms,
        review_due_at_ms=payload.review_due_at_ms,
        signers=order.signers + _signers(state, envelope),
    )
    state.orders[order.index] = extended
    state.live[order.index] = (extended.until_ms, order.payload.target_count)


def _stop(state: State, order_id: str) -> None:
    """End every version of the order: a stop is of what is ordered, not of one wording."""
    for index in state.versions[order_id]:
        if state.orders[index].status not in ENDED:
            _end(state, index, OrderStatus.STOPPED)


def _end(state: State, index: int, status: OrderStatus) -> None:
    state.orders[index] = replace(state.orders[index], status=status, ended_index=state.size)
    state.live.pop(index, None)


def _signers(state: State, envelope: Envelope) -> tuple[Signer, ...]:
    return tuple(
        Signer(part.key_id, state.keys[part.key_id].registration.person_id or "", state.size)
        for part in envelope.signatures
    )
