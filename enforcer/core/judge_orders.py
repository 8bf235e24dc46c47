"""The rules for orders: who may propose, approve, extend and stop which one, and when.

Two to block, one to stop (law 1): persons are compared, never keys. Every order ends (law 2):
the cap is counted from the time that the approval is recorded. Each function returns when the
act is lawful, and raises the rule that it breaks.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.key import ORDERING_ROLES, STOPPING_ROLES, Category, Role
from enforcer.core.order import (
    OrderApproved,
    OrderExtended,
    OrderProposed,
    OrderRef,
    OrderStopped,
    PublicationMode,
)
from enforcer.core.policy import COURT_KINDS, DAY_MS, DecisionKind
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, OrderRecord, OrderStatus, PolicyRecord, State
from enforcer.core.table import Binding, DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, NotFoundError, RefusedError

PERSONS_TO_BLOCK: Final = 2
TARGETS_IN_FORCE_MAX: Final = 20_000_000
"""Most targets of all approved orders together: what every node must be able to hold."""
PROPOSAL_DAYS_MAX: Final = 30
"""Longest time from a proposal to its approval."""


def judge_proposal(
    state: State, order: OrderProposed, proposer: KeyRecord, recorded_at_ms: int
) -> None:
    """Check an order that its proposer signed; it may be of any lawful future.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    policy = _policy(state)
    _check_may_order(order, proposer, Role.PROPOSER)
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
    if order.decision_kind is DecisionKind.CERT_ADVISORY and order.binding is not Binding.ADVISORY:
        raise field_error("binding", "an advisory of a CERT binds nobody", "Give ADVISORY.")
    if order.publication.mode is not PublicationMode.FULL or order.publication.publish_at_ms:
        raise field_error(
            "publication",
            "this fold version takes fully published orders only",
            "Give mode FULL and publish_at_ms null.",
        )
    if order.not_before_ms >= order.expires_at_ms:
        raise field_error(
            "expires_at_ms", "the order would end before it begins", "Give a later end."
        )
    _check_end(order, policy, order.expires_at_ms, order.review_due_at_ms, recorded_at_ms)


def judge_approval(
    state: State, payload: OrderApproved, approver: KeyRecord, recorded_at_ms: int
) -> None:
    """Check the second signature: another person, the same authority, the policy of now.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = _order(state, payload.order)
    policy = _check_policy(state, payload.policy_sha256)
    _check_is("approved", order, OrderStatus.PROPOSED)
    _check_may_order(order.payload, approver, Role.APPROVER)
    (proposer,) = order.signers
    if approver.registration.person_id == proposer.person_id:
        raise RefusedError(
            f"{proposer.person_id} proposed this order and cannot approve it as well",
            advice="Have another person approve it: two to block.",
            field="signatures",
        )
    if state.keys[proposer.key_id].revoked_index is not None:
        raise RefusedError(
            "the key that proposed this order has been revoked",
            advice="Have the order proposed again with a valid key.",
            field="order",
        )
    if recorded_at_ms > order.proposed_at_ms + PROPOSAL_DAYS_MAX * DAY_MS:
        raise RefusedError(
            f"the proposal is more than {PROPOSAL_DAYS_MAX} days old",
            advice="Have the order proposed again.",
            field="order",
        )
    _check_succession(state, order.payload)
    _check_sum(state, order.payload, recorded_at_ms)
    _check_end(order.payload, policy, order.expires_at_ms, order.review_due_at_ms, recorded_at_ms)


def judge_extension(
    state: State, payload: OrderExtended, signers: tuple[KeyRecord, ...], recorded_at_ms: int
) -> None:
    """Check a later end: signed by a proposer and an approver, as a new approval is.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = _order(state, payload.order)
    policy = _check_policy(state, payload.policy_sha256)
    _check_is("extended", order, OrderStatus.APPROVED)
    if order.until_ms <= recorded_at_ms:
        raise RefusedError(
            "the order has ended already",
            advice="Have a new order proposed and approved.",
            field="order",
        )
    by_role = {record.registration.role: record for record in signers}
    persons = {record.registration.person_id for record in signers}
    if (
        len(signers) != PERSONS_TO_BLOCK
        or set(by_role) != ORDERING_ROLES
        or len(persons) != PERSONS_TO_BLOCK
    ):
        raise RefusedError(
            "an extension needs the signatures of a proposer and an approver, two persons",
            advice="Have both sign the same payload.",
            field="signatures",
        )
    for role, record in by_role.items():
        _check_may_order(order.payload, record, role)
    if order.payload.decision_kind is DecisionKind.EMERGENCY:
        raise RefusedError(
            "an emergency order cannot be extended",
            advice="Have an order with a decision of another kind proposed and approved.",
            field="order",
        )
    if payload.expires_at_ms <= order.expires_at_ms:
        raise field_error(
            "expires_at_ms", "the new end is not after the present one", "Give a later end."
        )
    _check_end(
        order.payload, policy, payload.expires_at_ms, payload.review_due_at_ms, recorded_at_ms
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
    order = _order(state, payload.order)
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


def _policy(state: State) -> PolicyRecord:
    if state.policy is None:
        raise RefusedError(
            "no policy is adopted", advice="Have the roots adopt one first.", field="policy_sha256"
        )
    return state.policy


def _check_policy(state: State, policy_sha256: str) -> PolicyRecord:
    policy = _policy(state)
    if policy_sha256 != policy.payload_sha256:
        raise ConflictError(
            f"the act was signed under another policy than that of entry {policy.index}",
            advice="Read the present policy and sign again.",
            field="policy_sha256",
        )
    return policy


def _order(state: State, ref: OrderRef) -> OrderRecord:
    order = state.orders.get(ref.entry_index)
    if order is None:
        raise NotFoundError(
            f"entry {ref.entry_index} proposes no order",
            advice="Name the order by the entry index of its proposal.",
            field="order.entry_index",
        )
    if ref.order_id != order.payload.order_id:
        raise field_error(
            "order.order_id",
            f"entry {ref.entry_index} proposes {order.payload.order_id}, not {ref.order_id}",
            "Name the order by its id and entry index together.",
        )
    if ref.payload_sha256 != order.payload_sha256:
        raise field_error(
            "order.payload_sha256",
            "the hash is not that of the order's payload",
            "Read the order again and sign what it says.",
        )
    return order


def _check_is(act: str, order: OrderRecord, wanted: OrderStatus) -> None:
    if order.status is not wanted:
        raise ConflictError(
            f"the order is {order.status.name} and cannot be {act}",
            advice="Look at the order's present state first.",
            field="order",
        )


def _check_may_order(order: OrderProposed, record: KeyRecord, role: Role) -> None:
    registration = record.registration
    if registration.role is not role:
        raise RefusedError(
            f"a {registration.role.name} cannot act as {role.name}",
            advice=f"Sign with the key of a registered {role.name}.",
            field="signatures",
        )
    if registration.authority != order.authority:
        raise RefusedError(
            f"the signer acts for {registration.authority}, not for {order.authority}",
            advice="Have a person of the order's authority sign.",
            field="authority",
        )
    if order.category not in registration.categories:
        raise RefusedError(
            f"the signer has no power over {order.category.name}",
            advice="Have a person sign who is registered for the category.",
            field="category",
        )
    country = order.territory.partition("-")[0]
    if not {order.territory, country} & set(registration.territories):
        raise RefusedError(
            f"the signer has no power in {order.territory}",
            advice="Have a person sign who is registered for the territory.",
            field="territory",
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
    former = _order(state, order.supersedes)
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


def _check_sum(state: State, order: OrderProposed, t_ms: int) -> None:
    others = sum(count for until_ms, count in state.live.values() if until_ms > t_ms)
    targets = order.target_count + others
    if targets > TARGETS_IN_FORCE_MAX:
        raise RefusedError(
            f"all orders together would have {targets} targets, over {TARGETS_IN_FORCE_MAX}",
            advice="Stop or supersede orders that are no longer needed first.",
            field="order",
        )


def _check_end(
    order: OrderProposed,
    policy: PolicyRecord,
    expires_at_ms: int,
    review_due_at_ms: int,
    recorded_at_ms: int,
) -> None:
    if expires_at_ms <= recorded_at_ms:
        raise RefusedError(
            f"the order would have ended at {expires_at_ms}, and it is {recorded_at_ms}",
            advice="Have it signed with a later expires_at_ms.",
            field="expires_at_ms",
        )
    lifetime_ms_max = policy.payload.lifetime_ms_max(order.category, order.decision_kind)
    if expires_at_ms - recorded_at_ms > lifetime_ms_max:
        raise RefusedError(
            f"the order would last over {lifetime_ms_max // DAY_MS} days, the cap for "
            f"{order.category.name} by {order.decision_kind.name}",
            advice="Give an earlier end; it can be extended by a new approval.",
            field="expires_at_ms",
        )
    if not recorded_at_ms < review_due_at_ms <= expires_at_ms:
        raise RefusedError(
            "the review is due before now or after the end",
            advice="Give a review_due_at_ms between now and expires_at_ms.",
            field="review_due_at_ms",
        )
