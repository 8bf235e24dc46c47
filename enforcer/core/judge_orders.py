"""The rules for orders: who may propose, approve, confirm, extend, reject and stop, and when.

Two to block, one to stop (law 1): persons are compared, never keys. Every order ends (law 2):
the cap is counted from the time that the approval is recorded. Each function returns when the
act is lawful, and raises the rule that it breaks.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.growth import grows_too_fast
from enforcer.core.guard import Guard
from enforcer.core.judge_parts import (
    check_end,
    check_may_order,
    check_meets,
    check_persons,
    check_policy,
    check_role,
    check_sum,
    named_order,
    present_policy,
)
from enforcer.core.judge_publication import (
    check_cosigner,
    check_proposers,
    check_publication,
    check_unpublished,
)
from enforcer.core.key import STOPPING_ROLES, Category, Role
from enforcer.core.life import OrderStatus
from enforcer.core.order import (
    OrderApproved,
    OrderConfirmed,
    OrderExtended,
    OrderProposed,
    OrderRejected,
    OrderStopped,
)
from enforcer.core.policy import COURT_KINDS, DAY_MS, DecisionKind
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, OrderRecord, PolicyRecord, State
from enforcer.core.table import Binding, DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, RefusedError

PROPOSAL_DAYS_MAX: Final = 30
"""Longest time from a proposal to its approval."""


def judge_proposal(
    state: State, order: OrderProposed, signers: tuple[KeyRecord, ...], recorded_at_ms: int
) -> None:
    """Check an order that its proposer signed; it may be of any lawful future.

    Oversight has signed it as well where its targets are to stay hidden.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    policy = present_policy(state)
    check_may_order(order, check_proposers(order, signers), Role.PROPOSER)
    _check_version(state, order)
    if order.target_count > policy.payload.targets_max:
        raise field_error(
            "target_count",
            f"the list has {order.target_count} targets and the policy allows "
            f"{policy.payload.targets_max}",
            "Split the order.",
        )
    if order.measure.dns is DnsMeasure.NONE and order.measure.ip is IpMeasure.NONE:
        raise field_error("measure", "the order blocks nothing", "Name a measure.")
    if order.category is Category.COURT_DECISION and order.decision_kind not in COURT_KINDS:
        raise field_error(
            "decision_kind",
            "the category COURT_DECISION rests on a decision of a court",
            "Give COURT_FINAL or COURT_INTERIM, or the category of the crime.",
        )
    if order.decision_kind in COURT_KINDS and order.decision_sha256 is None:
        raise field_error(
            "decision_sha256",
            "the order rests on a court's decision and does not name it",
            "Give the decision's text: it goes beside the ledger, by its salted hash.",
        )
    if order.decision_kind is DecisionKind.CERT_ADVISORY and order.binding is not Binding.ADVISORY:
        raise field_error("binding", "an advisory of a CERT binds nobody", "Give ADVISORY.")
    check_publication(state, order, policy, recorded_at_ms)
    if order.not_before_ms >= order.expires_at_ms:
        raise field_error(
            "expires_at_ms", "the order would end before it begins", "Give a later end."
        )
    check_end(
        order,
        order.decision_kind,
        policy,
        order.expires_at_ms,
        order.review_due_at_ms,
        recorded_at_ms,
    )


def judge_approval(
    state: State, payload: OrderApproved, approver: KeyRecord, recorded_at_ms: int
) -> None:
    """Check the second signature: another person, the same authority, the policy of now.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    policy = check_policy(state, payload.policy_sha256)
    check_meets(OrderApproved, "approved", order)
    check_may_order(order.payload, approver, Role.APPROVER)
    _check_new_person(order, approver)
    check_cosigner(order, (approver,))
    check_unpublished(order, recorded_at_ms)
    for signer in order.all_signers:
        if state.keys[signer.key_id].revoked_index is not None:
            raise RefusedError(
                f"the key of {signer.person_id}, who signed this order, has been revoked",
                advice="Have the order proposed again with a valid key.",
                field="order",
            )
    for lift in order.lifts:
        if state.keys[lift.key_id].revoked_index is not None:
            raise RefusedError(
                f"the key of {lift.person_id}, who lifted a hold of this order, has been revoked",
                advice="Have the order proposed again, and its holds lifted with a valid key.",
                field="order",
            )
    if recorded_at_ms > order.proposed_at_ms + PROPOSAL_DAYS_MAX * DAY_MS:
        raise RefusedError(
            f"the proposal is more than {PROPOSAL_DAYS_MAX} days old",
            advice="Have the order proposed again.",
            field="order",
        )
    _check_succession(state, order.payload)
    check_sum(state, order.payload, recorded_at_ms)
    if Guard.GROWTH not in order.lifted and grows_too_fast(state, order.payload, recorded_at_ms):
        raise RefusedError(
            f"{order.payload.authority} would add more than "
            f"{policy.payload.growth_targets_max} targets within a day",
            advice="The order must be held for GROWTH, and a third person lift that hold.",
            field="target_count",
            guard=Guard.GROWTH.name,
        )
    check_end(
        order.payload,
        order.decision_kind,
        policy,
        order.expires_at_ms,
        order.review_due_at_ms,
        recorded_at_ms,
        began_at_ms=_began_at_ms(state, order),
    )


def judge_extension(
    state: State, payload: OrderExtended, signers: tuple[KeyRecord, ...], recorded_at_ms: int
) -> None:
    """Check a later end: signed by a proposer and an approver, as a new approval is.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order, policy = _signed_anew(
        state, payload, signers, recorded_at_ms, done="extended", act="an extension"
    )
    if order.decision_kind is DecisionKind.EMERGENCY:
        raise RefusedError(
            "an emergency order cannot be extended",
            advice="Have it confirmed by a decision of another kind.",
            field="order",
        )
    if payload.expires_at_ms <= order.expires_at_ms:
        raise field_error(
            "expires_at_ms", "the new end is not after the present one", "Give a later end."
        )
    check_end(
        order.payload,
        order.decision_kind,
        policy,
        payload.expires_at_ms,
        payload.review_due_at_ms,
        recorded_at_ms,
        began_at_ms=_began_at_ms(state, order),
    )


def judge_confirmation(
    state: State, payload: OrderConfirmed, signers: tuple[KeyRecord, ...], recorded_at_ms: int
) -> None:
    """Check that an emergency, while it lasts, becomes an order of a regular decision.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order, policy = _signed_anew(
        state, payload, signers, recorded_at_ms, done="confirmed", act="a confirmation"
    )
    if order.decision_kind is not DecisionKind.EMERGENCY:
        raise RefusedError(
            f"the order rests on a decision of kind {order.decision_kind.name}",
            advice="Only an emergency order is confirmed; extend this one.",
            field="order",
        )
    if payload.decision_kind in (DecisionKind.EMERGENCY, DecisionKind.CERT_ADVISORY):
        raise field_error(
            "decision_kind",
            f"{payload.decision_kind.name} confirms no emergency",
            "Give the kind of the decision that was taken: ADMINISTRATIVE or a court's.",
        )
    check_end(
        order.payload,
        payload.decision_kind,
        policy,
        payload.expires_at_ms,
        payload.review_due_at_ms,
        recorded_at_ms,
        began_at_ms=_began_at_ms(state, order),
    )


def judge_rejection(state: State, payload: OrderRejected, signer: KeyRecord) -> None:
    """Check the one signature that turns a proposal down: of its authority, or of oversight.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_role(order.payload, signer, STOPPING_ROLES, "reject this order")
    check_meets(OrderRejected, "rejected", order)
    if order.approved_index is not None:
        raise ConflictError(
            f"the order was approved in entry {order.approved_index}",
            advice="Stop it: enforcer order stop.",
            index=order.approved_index,
            field="order",
        )


def judge_stop(state: State, payload: OrderStopped, signer: KeyRecord) -> None:
    """Check the one signature that ends an order for good.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    registration = signer.registration
    if registration.role not in STOPPING_ROLES:  # whether or not the order is known
        raise RefusedError(
            f"a {registration.role.name} stops no orders",
            advice="One who signed it, any approver of its authority, or oversight can.",
            field="signatures",
        )
    order = named_order(state, payload.order)
    if state.is_over(order.payload.order_id):
        raise ConflictError(
            f"the order is {order.status.name} since entry {order.ended_index}",
            advice="Nothing needs to be done: it does not block.",
            index=order.ended_index,
            field="order",
        )
    is_oversight = registration.role is Role.OVERSIGHT
    is_approver = (
        registration.role is Role.APPROVER and registration.authority == order.payload.authority
    )
    versions = [state.orders[index] for index in state.versions[order.payload.order_id]]
    signed_by = {signer.person_id for version in versions for signer in version.signers}
    is_signer = registration.person_id in signed_by
    if not (is_oversight or is_approver or is_signer):
        raise RefusedError(
            f"a {registration.role.name} of {registration.authority or 'no authority'} who did "
            "not sign this order cannot stop it",
            advice="One who signed it, any approver of its authority, or oversight can.",
            field="signatures",
        )


# Parts of the rules.


def _signed_anew(
    state: State,
    payload: OrderExtended | OrderConfirmed,
    signers: tuple[KeyRecord, ...],
    recorded_at_ms: int,
    *,
    done: str,
    act: str,
) -> tuple[OrderRecord, PolicyRecord]:
    """Return the order that goes on by a new approval, which has all signatures of one.

    `done` and `act` name what it is, as in ``extended`` and ``an extension``.
    """
    order = named_order(state, payload.order)
    policy = check_policy(state, payload.policy_sha256)
    check_meets(type(payload), done, order)
    _check_lasts(order, recorded_at_ms)
    check_persons(order.payload, signers, policy, act)
    check_cosigner(order, signers)
    check_unpublished(order, recorded_at_ms, payload.expires_at_ms)
    return order, policy


def _check_new_person(order: OrderRecord, approver: KeyRecord) -> None:
    """Check that whoever approves has not signed for this block before, nor lifted its guards."""
    person = approver.registration.person_id
    if person == order.signers[0].person_id:
        raise RefusedError(
            f"{person} proposed this order and cannot approve it as well",
            advice="Have another person approve it: two to block.",
            field="signatures",
        )
    if person in order.persons:
        raise RefusedError(
            f"{person} approved this order already, and the policy asks for more persons",
            advice="Have another person approve it.",
            field="signatures",
        )
    if any(person == lift.person_id and lift.guards != {Guard.PERSON} for lift in order.lifts):
        raise RefusedError(
            f"{person} lifted a hold of this order and cannot approve it as well",
            advice="Have another person approve it.",
            field="signatures",
        )


def _began_at_ms(state: State, order: OrderRecord) -> int | None:
    """Return when the first version of the order was approved: another wording is no new order."""
    versions = (state.orders[index] for index in state.versions[order.payload.order_id])
    return min(
        (each.approved_at_ms for each in versions if each.approved_at_ms is not None), default=None
    )


def _check_lasts(order: OrderRecord, recorded_at_ms: int) -> None:
    if order.until_ms <= recorded_at_ms:
        raise RefusedError(
            "the order has ended already",
            advice="Have a new order proposed and approved.",
            field="order",
        )


def _check_version(state: State, order: OrderProposed) -> None:
    versions = state.versions.get(order.order_id)
    if versions is None:
        if order.version != 1 or order.supersedes is not None:
            raise field_error(
                "version", "the order id is new, so its version is 1", "Give 1 and supersedes null."
            )
        return
    latest = versions[-1]
    former = state.orders[latest]
    if order.supersedes is None or order.version != former.payload.version + 1:
        raise ConflictError(
            f"{order.order_id} version {former.payload.version} stands in entry {latest}",
            advice="Give a new order id, or the next version with supersedes.",
            field="order_id",
            index=latest,
        )
    _check_succession(state, order)


def _check_succession(state: State, order: OrderProposed) -> None:
    if order.supersedes is None:
        return
    former = named_order(state, order.supersedes)
    if former.payload.authority != order.authority:
        raise RefusedError(
            f"the order belongs to {former.payload.authority}",
            advice="Only its own authority can supersede an order.",
            field="supersedes",
        )
    if former.payload.order_id != order.order_id:
        raise field_error(
            "supersedes", "it names another order id", "A version supersedes its own order only."
        )
    statuses = {state.orders[index].status for index in state.versions[order.order_id]}
    if OrderStatus.STOPPED in statuses:
        raise RefusedError(
            "this order was stopped, and a stop is for good",
            advice="Propose a new order under a new order id.",
            field="supersedes",
        )
    if OrderStatus.HELD in statuses:
        raise RefusedError(
            "a version of this order is on hold",
            advice="Have the hold decided first.",
            field="supersedes",
        )
