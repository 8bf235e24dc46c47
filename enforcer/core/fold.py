"""The fold: one entry in, one step of the state.

The state is a function of the entries and the trust roots alone: no clock, no I/O. An entry
that breaks a rule has no effect and says so in its :class:`Effect`; an entry that cannot be
understood at all raises, and changes nothing. The rules, who may do what and when, are
in ``judge``; what stands here is only what a lawful act changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from enforcer.core.attested import AttestationsRecorded
from enforcer.core.entry import AnyPayload, Entry
from enforcer.core.envelope import key_id
from enforcer.core.fold_orders import change_order, hold_what_rests_on, propose
from enforcer.core.judge import judge
from enforcer.core.key import KeyRegistered, KeyRevoked, LogKeyRotated, RootsChanged
from enforcer.core.order import OrderProposed
from enforcer.core.policy import PolicyAdopted
from enforcer.core.sharing import one
from enforcer.core.state import KeyRecord, PolicyRecord, Roots, State
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
    try:
        payload = judge(state, entry.envelope, entry.recorded_at_ms)
    except IntegrityError:
        raise
    except EnforcerError as error:
        return _step(state, entry, refusal=error)
    return fold_judged(state, payload, entry)


def fold_judged(state: State, payload: AnyPayload, entry: Entry) -> Effect:
    """Fold the next entry in, whose payload `judge` has just returned for this very state."""
    index = state.size
    order_index = _commit(state, payload, entry)
    order = state.orders.get(index)  # one string serves both: each is a hundred octets
    sha256 = entry.envelope.payload_sha256 if order is None else order.payload_sha256
    state.index_of_payload[sha256] = index
    for signature in entry.envelope.signatures:
        requests = state.index_of_request.setdefault(one(signature.key_id), {})
        requests[payload.request_id] = index
    return _step(state, entry, order_index=order_index)


def _step(
    state: State,
    entry: Entry,
    *,
    refusal: EnforcerError | None = None,
    order_index: int | None = None,
) -> Effect:
    index = state.size
    state.size += 1
    state.recorded_at_ms = entry.recorded_at_ms
    if refusal is not None or entry.kind != AttestationsRecorded.__name__:
        state.news_size, state.news_at_ms = state.size, entry.recorded_at_ms
    return Effect(index, entry.recorded_at_ms, entry.kind, refusal, order_index)


def _commit(state: State, payload: AnyPayload, entry: Entry) -> int | None:
    """Make the change that a judged payload asks for; return the order it concerns."""
    match payload:
        case PolicyAdopted():
            former_pins = state.policy.payload.pins if state.policy is not None else None
            state.policy = PolicyRecord(
                state.size, payload, entry.envelope.payload_sha256, former_pins
            )
            state.pinned |= set(payload.pins.lists)
            return None
        case KeyRegistered():
            public_key = bytes.fromhex(payload.public_key)
            identity = key_id(public_key)
            state.keys[identity] = KeyRecord(identity, public_key, payload, state.size)
            return None
        case KeyRevoked():
            record = state.keys[payload.key_id]
            state.keys[payload.key_id] = replace(record, revoked_index=state.size)
            if payload.compromised_since_index is not None:
                hold_what_rests_on(state, payload.key_id, payload.compromised_since_index)
            return None
        case RootsChanged():
            public_keys = tuple(bytes.fromhex(each) for each in payload.public_keys)
            state.set_roots(Roots(public_keys, payload.threshold))
            return None
        case LogKeyRotated():
            state.log_vkey, state.log_key_index = payload.log_vkey, state.size
            return None
        case AttestationsRecorded():
            state.attested_until_ms = payload.until_ms
            return None
        case OrderProposed():
            propose(state, payload, entry)
            return state.size
    change_order(state, payload, entry)
    return payload.order.entry_index
