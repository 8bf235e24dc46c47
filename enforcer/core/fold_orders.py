"""What a lawful act changes of an order; the judges have said before that it may.

Every record is replaced, never altered. What the state keeps beside its records is kept in step:
what may still block, what an authority has added within a day, what limits look back at.
"""

from __future__ import annotations

from dataclasses import replace

from enforcer.core.entry import Entry, OrderAct
from enforcer.core.envelope import Envelope
from enforcer.core.growth import added_targets, note_growth
from enforcer.core.guard import Guard
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.judge_parts import present_policy
from enforcer.core.key import Role
from enforcer.core.life import ENDED, OrderStatus
from enforcer.core.order import (
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderPublished,
    OrderRejected,
    OrderStopped,
    PublicationMode,
)
from enforcer.core.policy import ADMINISTRATIVE_KINDS, DAY_MS
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.core.sharing import one, share
from enforcer.core.state import (
    NO_GUARDS,
    Appeal,
    Grant,
    Lift,
    OrderRecord,
    Signer,
    State,
    Suspension,
)


def propose(state: State, payload: OrderProposed, entry: Entry) -> None:
    """Begin an order's life, under the entry index that is being folded.

    Oversight signs that a list may stay hidden: it is no person behind the block.
    """
    signed = _signers(state, entry.envelope)
    by_oversight = [each for each in signed if _role(state, each.key_id) is Role.OVERSIGHT]
    state.orders[state.size] = OrderRecord(
        index=state.size,
        payload=share(payload),
        payload_sha256=entry.envelope.payload_sha256,
        status=OrderStatus.PROPOSED,
        proposed_at_ms=entry.recorded_at_ms,
        signers=tuple(each for each in signed if each not in by_oversight),
        cosigner=by_oversight[0] if by_oversight else None,
        expires_at_ms=payload.expires_at_ms,
        review_due_at_ms=payload.review_due_at_ms,
        decision_kind=payload.decision_kind,
    )
    order_id = state.orders[state.size].payload.order_id
    state.versions[order_id] = (*state.versions.get(order_id, ()), state.size)
    for name in payload.publication.names:
        state.sealings.setdefault(name, payload)


def change_order(state: State, act: OrderAct, entry: Entry) -> None:
    """Make the change that a judged act asks for on the order that it names."""
    order = state.orders[act.order.entry_index]
    match act:
        case OrderApproved():
            _approve(state, order, entry)
        case OrderRejected():
            _end(state, order.index, OrderStatus.REJECTED, entry)
        case OrderStopped():
            _stop(state, act.order.order_id, entry)
        case OrderConfirmed():
            confirmed = replace(
                order, decision_kind=act.decision_kind, confirmed_at_ms=entry.recorded_at_ms
            )
            _prolong(state, confirmed, act, entry)
        case OrderExtended():
            _prolong(state, order, act, entry)
        case OrderPublished():
            published_ms = entry.recorded_at_ms
            _put(state, replace(order, list_secret=act.list_secret, published_at_ms=published_ms))
        case ReviewDone():
            _put(state, replace(order, review_due_at_ms=act.review_due_at_ms))
        case OrderHeld():
            _hold(state, order, act, entry.envelope)
        case AssessmentRecorded():
            state.orders[order.index] = replace(order, assessments=(*order.assessments, state.size))
        case HoldLifted():
            _lift(state, order, act, entry.envelope)
        case AppealFiled():
            appeal = Appeal(state.size, entry.recorded_at_ms)
            state.orders[order.index] = replace(order, appeals=(*order.appeals, appeal))
        case AppealDecided():
            _decide(state, order, act, entry)
        case OrderSuspended() | OrderResumed():
            _suspend_or_resume(state, order, act, entry)
        case NotificationSent():
            pass  # that it was recorded is all


def hold_what_rests_on(state: State, key_id: str, since_index: int) -> None:
    """Put on hold every order that a key signed for from an entry on (KeyRevoked)."""
    for order in tuple(state.orders.values()):
        if order.status in ENDED:
            continue
        forged = {
            each for each in order.lifts if each.key_id == key_id and each.index >= since_index
        }
        signed = any(
            signer.key_id == key_id and signer.index >= since_index for signer in order.all_signers
        )
        if forged or signed:
            lifts = tuple(each for each in order.lifts if each not in forged)
            still = frozenset(guard for lift in lifts for guard in lift.guards)
            again = frozenset(guard for lift in forged for guard in lift.guards) - still
            holds = order.holds | again | ({Guard.COMPROMISED_KEY} if signed else set())
            if holds:
                held = replace(order, status=OrderStatus.HELD, holds=holds, lifts=lifts)
                _put(state, held)


def _approve(state: State, order: OrderRecord, entry: Entry) -> None:
    now_ms = entry.recorded_at_ms
    signed = replace(order, signers=order.signers + _signers(state, entry.envelope))
    if len(signed.persons) < present_policy(state).payload.persons_min:
        state.orders[order.index] = signed
        return
    added = added_targets(state, order.payload)
    for other in state.versions[order.payload.order_id]:
        if other != order.index and state.orders[other].status not in ENDED:
            _end(state, other, OrderStatus.SUPERSEDED, entry)
    if order.payload.decision_kind in ADMINISTRATIVE_KINDS:
        state.administrative.append(order.index)
    if order.payload.publication.mode is PublicationMode.DELAYED:
        state.delayed.append(order.index)
    note_growth(state, order.payload.authority, now_ms, added)
    state.live.forget_ended(now_ms)
    if order.payload.publication.is_sealed:
        for name in (*order.payload.publication.names, order.payload.target_list_sha256):
            state.hidden_since_ms.setdefault(name, now_ms)
    _put(
        state,
        replace(
            signed,
            status=OrderStatus.APPROVED,
            approved_index=state.size,
            approved_at_ms=now_ms,
            granted=_grant(state, entry),
        ),
    )


def _prolong(
    state: State, order: OrderRecord, act: OrderExtended | OrderConfirmed, entry: Entry
) -> None:
    _put(
        state,
        replace(
            order,
            expires_at_ms=act.expires_at_ms,
            review_due_at_ms=act.review_due_at_ms,
            signers=order.signers + _signers(state, entry.envelope),
            granted=_grant(state, entry),
        ),
    )


def _grant(state: State, entry: Entry) -> Grant:
    days_max = present_policy(state).payload.administrative_days_max
    return Grant(state.size, entry.recorded_at_ms, one(days_max * DAY_MS))


def _hold(state: State, order: OrderRecord, act: OrderHeld, envelope: Envelope) -> None:
    (signature,) = envelope.signatures
    is_oversight = _role(state, signature.key_id) is Role.OVERSIGHT
    _put(
        state,
        replace(
            order,
            status=OrderStatus.HELD,
            holds=order.holds | frozenset(act.guards),
            is_held_by_oversight=order.is_held_by_oversight or is_oversight,
        ),
    )


def _lift(state: State, order: OrderRecord, act: HoldLifted, envelope: Envelope) -> None:
    (signer,) = _signers(state, envelope)
    guards = frozenset(act.guards)
    pins = present_policy(state).payload.pins
    overrides = frozenset(act.overrides)
    lift = Lift(state.size, signer.key_id, signer.person_id, guards, overrides, pins)
    holds = order.holds - guards
    stood = OrderStatus.PROPOSED if order.approved_index is None else OrderStatus.APPROVED
    _put(
        state,
        replace(
            order,
            status=OrderStatus.HELD if holds else stood,
            holds=holds,
            is_held_by_oversight=order.is_held_by_oversight and Guard.PERSON not in guards,
            lifts=(*order.lifts, lift),
        ),
    )


def _decide(state: State, order: OrderRecord, act: AppealDecided, entry: Entry) -> None:
    appeals = tuple(
        replace(
            appeal,
            outcome=act.outcome,
            decided_index=state.size,
            decided_at_ms=entry.recorded_at_ms,
        )
        if appeal.index == act.appeal_index
        else appeal
        for appeal in order.appeals
    )
    state.orders[order.index] = replace(order, appeals=appeals)
    if act.outcome is AppealOutcome.GRANTED:
        _stop(state, act.order.order_id, entry)


def _suspend_or_resume(
    state: State, order: OrderRecord, act: OrderSuspended | OrderResumed, entry: Entry
) -> None:
    (signature,) = entry.envelope.signatures
    signer = state.keys[signature.key_id].registration
    operator = signer.operator or ""
    suspensions = tuple(each for each in order.suspensions if each.operator != operator)
    standing = order.suspension(operator, entry.recorded_at_ms)
    if isinstance(act, OrderSuspended):
        own = Suspension(
            operator=operator,
            payload_sha256=entry.envelope.payload_sha256,
            person_id=signer.person_id or "",
            since_ms=entry.recorded_at_ms if standing is None else standing.since_ms,
            until_ms=act.until_ms,
            reason_sha256=act.reason_sha256,
        )
        suspensions = (*suspensions, own)
    state.orders[order.index] = replace(order, suspensions=suspensions)


def _stop(state: State, order_id: str, entry: Entry) -> None:
    """End every version of the order: a stop is of what is ordered, not of one wording."""
    for index in state.versions[order_id]:
        if state.orders[index].status not in ENDED:
            _end(state, index, OrderStatus.STOPPED, entry)


def _end(state: State, index: int, status: OrderStatus, entry: Entry) -> None:
    if status is OrderStatus.STOPPED and state.orders[index].approved_index is not None:
        state.stopped.append(index)
    _put(
        state,
        replace(
            state.orders[index],
            status=status,
            holds=NO_GUARDS,
            ended_index=state.size,
            ended_at_ms=entry.recorded_at_ms,
        ),
    )


def _put(state: State, order: OrderRecord) -> None:
    """Keep a record whose standing may be another, and `live` in step with it."""
    state.orders[order.index] = order
    if order.status is OrderStatus.APPROVED:
        state.live.put(order.index, order.until_ms, order.payload.target_count)
    else:
        state.live.remove(order.index)


def _role(state: State, key_id: str) -> Role:
    return state.keys[key_id].registration.role


def _signers(state: State, envelope: Envelope) -> tuple[Signer, ...]:
    return tuple(
        Signer(key.key_id, key.registration.person_id or "", state.size)
        for key in (state.keys[part.key_id] for part in envelope.signatures)
    )
