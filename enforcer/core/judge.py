"""The judge says whether an act is lawful as the ledger's next entry.

The same code runs at the control plane before an act is recorded, at every node, and at the
auditor (law 3). Here stands what every act must satisfy, and which rules rule which kind;
limits stand in code, the policy only narrows them, and zero permits nothing (law 8).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeAlias, assert_never

from enforcer.core import judge_attested as attested
from enforcer.core import judge_holds as holds
from enforcer.core import judge_orders as orders
from enforcer.core import judge_publication as publication
from enforcer.core import judge_remedies as remedies
from enforcer.core import judge_roots as roots
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.entry import AnyPayload, RootAct, parse_payload
from enforcer.core.envelope import Envelope
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.key import KeyRegistered, KeyRevoked, LogKeyRotated, RootsChanged
from enforcer.core.order import (
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderPublished,
    OrderRef,
    OrderRejected,
    OrderStopped,
)
from enforcer.core.payload import Payload
from enforcer.core.policy import DAY_MS, PolicyAdopted
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.core.signing import check_roots, only_signer, past_signer, signers
from enforcer.core.state import KeyRecord, State
from enforcer.errors import ConflictError, RefusedError

VALIDITY_DAYS_MAX: Final = 30
"""Longest time that a signed act may wait to be recorded."""

OneSignerAct: TypeAlias = (
    OrderApproved
    | OrderRejected
    | OrderPublished
    | OrderHeld
    | AssessmentRecorded
    | HoldLifted
    | ReviewDone
    | NotificationSent
    | AppealFiled
    | AppealDecided
    | OrderSuspended
    | OrderResumed
    | AttestationsRecorded
)
"""What one person or the control plane signs alone, but for a stop."""


def judge(state: State, envelope: Envelope, recorded_at_ms: int) -> AnyPayload:
    """Return the payload if its act is lawful as the next entry, recorded at that time.

    A stop is returned as it counts: with a version of its order that the ledger has.

    Raises:
        InputError: the payload is malformed (``data["field"]``).
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
        IntegrityError: the policy needs a newer fold: whoever follows must stop.
    """
    payload = parse_payload(envelope)
    _check_origin(state, payload)
    _check_repetition(state, envelope, payload)
    if not isinstance(payload, OrderStopped):
        _check_validity(payload, recorded_at_ms)
    match payload:
        case PolicyAdopted() | RootsChanged() | KeyRegistered() | KeyRevoked() | LogKeyRotated():
            _judge_root_act(state, payload, envelope, recorded_at_ms)
        case OrderProposed():
            who = signers(state, envelope, recorded_at_ms)
            orders.judge_proposal(state, payload, who, recorded_at_ms)
        case OrderExtended():
            both = signers(state, envelope, recorded_at_ms)
            orders.judge_extension(state, payload, both, recorded_at_ms)
        case OrderConfirmed():
            both = signers(state, envelope, recorded_at_ms)
            orders.judge_confirmation(state, payload, both, recorded_at_ms)
        case OrderStopped():
            return _judge_stop(state, payload, only_signer(state, envelope, recorded_at_ms))
        case _:
            signer = only_signer(state, envelope, recorded_at_ms)
            _judge_persons_act(state, payload, signer, recorded_at_ms)
    return payload


def _judge_root_act(
    state: State, payload: RootAct, envelope: Envelope, recorded_at_ms: int
) -> None:
    if isinstance(payload, RootsChanged):
        roots.judge_roots(state, payload, envelope)
        return
    check_roots(state, envelope)
    match payload:
        case PolicyAdopted():
            roots.judge_policy(state, payload)
        case KeyRegistered():
            roots.judge_key(state, payload, recorded_at_ms)
        case KeyRevoked():
            roots.judge_revocation(state, payload)
        case LogKeyRotated():
            roots.judge_log_key(state, payload)


def _judge_persons_act(
    state: State, payload: OneSignerAct, signer: KeyRecord, recorded_at_ms: int
) -> None:
    match payload:
        case OrderApproved():
            orders.judge_approval(state, payload, signer, recorded_at_ms)
        case OrderRejected():
            orders.judge_rejection(state, payload, signer)
        case OrderPublished():
            publication.judge_publication(state, payload, signer)
        case OrderHeld():
            holds.judge_hold(state, payload, signer)
        case AssessmentRecorded():
            holds.judge_assessment(state, payload, signer)
        case HoldLifted():
            holds.judge_lift(state, payload, signer, recorded_at_ms)
        case ReviewDone():
            remedies.judge_review(state, payload, signer, recorded_at_ms)
        case NotificationSent():
            remedies.judge_notice(state, payload, signer, recorded_at_ms)
        case AppealFiled():
            remedies.judge_appeal(state, payload, signer)
        case AppealDecided():
            remedies.judge_decision(state, payload, signer)
        case OrderSuspended():
            remedies.judge_suspension(state, payload, signer, recorded_at_ms)
        case OrderResumed():
            remedies.judge_resumption(state, payload, signer, recorded_at_ms)
        case AttestationsRecorded():
            attested.judge_attested(state, payload, signer, recorded_at_ms)
        case _:
            assert_never(payload)


def judge_unlogged_stop(state: State, envelope: Envelope, t_ms: int) -> OrderStopped:
    """Return the stop if a node must obey it at once, before it is in the ledger (law 1).

    Raises:
        RefusedError, ConflictError, NotFoundError, InputError: as for `judge`, and when the
            act is no stop.
    """
    payload = _unlogged_stop(state, envelope)
    _judge_stop(state, payload, only_signer(state, envelope, t_ms))
    return payload


def judge_obeyed_stop(state: State, envelope: Envelope) -> OrderStopped:
    """Return the stop if a node that obeyed it once must go on, whatever became of its key since.

    A key that is revoked later says nothing about what it stopped before; and only the ledger
    can end the stopping (law 1).

    Raises:
        RefusedError, ConflictError, NotFoundError, InputError: as for `judge_unlogged_stop`.
    """
    payload = _unlogged_stop(state, envelope)
    _judge_stop(state, payload, past_signer(state, envelope))
    return payload


def _unlogged_stop(state: State, envelope: Envelope) -> OrderStopped:
    payload = parse_payload(envelope)
    if not isinstance(payload, OrderStopped):
        raise RefusedError(
            "only a stop is obeyed before it is in the ledger",
            advice="Send this act to the control plane.",
            field="payloadType",
        )
    _check_origin(state, payload)
    return payload


def _judge_stop(state: State, payload: OrderStopped, signer: KeyRecord) -> OrderStopped:
    """Judge a stop, and return it with a version of its order that the ledger has.

    A stop ends all versions of an order, so one that names another than there are is of the
    newest: who withholds that from a node must not keep the others in force there, and what a
    node obeys the ledger takes, however long it has grown by then (law 1).
    """
    versions = state.versions.get(payload.order.order_id)
    if versions is not None:
        known = [state.orders[index] for index in versions]
        refs = [OrderRef(each.payload.order_id, each.index, each.payload_sha256) for each in known]
        if payload.order not in refs:
            payload = replace(payload, order=refs[-1])
    orders.judge_stop(state, payload, signer)
    return payload


# What every act must satisfy.


def _check_origin(state: State, payload: Payload) -> None:
    if payload.ledger_origin != state.origin:
        raise RefusedError(
            f"the act is meant for the ledger {payload.ledger_origin}, and this is {state.origin}",
            advice="Sign a new act for this ledger; one signature serves one ledger.",
            field="ledger_origin",
        )


def _check_repetition(state: State, envelope: Envelope, payload: Payload) -> None:
    if (index := state.index_of_payload.get(envelope.payload_sha256)) is not None:
        raise ConflictError(
            f"the same payload is recorded already, as entry {index}",
            advice="Nothing needs to be done: a repeated payload has no effect.",
            index=index,
            field="payload",
        )
    if isinstance(payload, OrderStopped):
        return  # a stop that is new can only lift: nothing else may keep it from counting
    for signature in envelope.signatures:
        index = state.index_of_request.get(signature.key_id, {}).get(payload.request_id)
        if index is not None:
            raise ConflictError(
                f"the signer used request_id {payload.request_id} already, in entry {index}",
                advice="Sign a new act with a new request_id.",
                index=index,
                field="request_id",
            )


def _check_validity(payload: Payload, recorded_at_ms: int) -> None:
    if payload.valid_until_ms < recorded_at_ms:
        raise RefusedError(
            f"the act was to be recorded by {payload.valid_until_ms}, and it is {recorded_at_ms}",
            advice="Sign it again with a later valid_until_ms.",
            field="valid_until_ms",
        )
    if payload.valid_until_ms > recorded_at_ms + VALIDITY_DAYS_MAX * DAY_MS:
        raise RefusedError(
            f"the act could be recorded for more than {VALIDITY_DAYS_MAX} days",
            advice=f"Sign it with a valid_until_ms at most {VALIDITY_DAYS_MAX} days ahead.",
            field="valid_until_ms",
        )
