"""Parts that the rules for orders share: which order is meant, may this person act for it, when.

Each function returns when its condition holds, and raises the rule that is broken.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.key import ORDERING_ROLES, Role
from enforcer.core.life import can_meet
from enforcer.core.order import OrderProposed, OrderRef
from enforcer.core.payload import Payload
from enforcer.core.policy import ADMINISTRATIVE_KINDS, DAY_MS, DecisionKind
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, OrderRecord, PolicyRecord, State
from enforcer.errors import ConflictError, NotFoundError, RefusedError

PERSONS_TO_BLOCK: Final = 2
TARGETS_IN_FORCE_MAX: Final = 20_000_000
"""Most targets of all approved orders together: what every node must be able to hold."""


def present_policy(state: State) -> PolicyRecord:
    """Return the policy in force.

    Raises:
        RefusedError: none was adopted.
    """
    if state.policy is None:
        raise RefusedError(
            "no policy is adopted", advice="Have the roots adopt one first.", field="policy_sha256"
        )
    return state.policy


def check_policy(state: State, policy_sha256: str) -> PolicyRecord:
    """Return the policy in force, which must be the one that was signed under.

    Raises:
        RefusedError, ConflictError: it is not.
    """
    policy = present_policy(state)
    if policy_sha256 != policy.payload_sha256:
        raise ConflictError(
            f"the act was signed under another policy than that of entry {policy.index}",
            advice="Read the present policy and sign again.",
            field="policy_sha256",
        )
    return policy


def named_order(state: State, ref: OrderRef) -> OrderRecord:
    """Return the order that is named by index, id and payload hash together.

    Raises:
        NotFoundError, RefusedError: there is none, or the three do not fit.
    """
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


def check_meets(act: type[Payload], done: str, order: OrderRecord) -> None:
    """Check the table of transitions; `done` is what the act does, as in ``approved``.

    Raises:
        ConflictError: the act cannot meet the order where it stands.
    """
    if can_meet(act, order.status):
        return
    holds = ", ".join(guard.name for guard in sorted(order.holds))
    why = f" by {holds}" if holds else ""
    raise ConflictError(
        f"the order is {order.status.name}{why} and cannot be {done}",
        advice="Have the hold lifted first." if holds else "Look at the order's present state.",
        field="order",
        index=order.ended_index,
    )


def check_may_order(order: OrderProposed, record: KeyRecord, role: Role) -> None:
    """Check that a person has this role for the order's authority, category and territory.

    Raises:
        RefusedError: what is missing.
    """
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


def check_role(order: OrderProposed, record: KeyRecord, roles: frozenset[Role], act: str) -> None:
    """Check a signer who prolongs nothing: of `roles`, and of the order's authority if of one.

    Raises:
        RefusedError: the signer is not.
    """
    registration = record.registration
    is_foreign = registration.role in ORDERING_ROLES and registration.authority != order.authority
    if registration.role not in roles or is_foreign:
        names = ", ".join(sorted(role.name for role in roles))
        raise RefusedError(
            f"a {registration.role.name} of {registration.authority or 'no authority'} "
            f"cannot {act}",
            advice=f"Who can: {names}; of the order's own authority where they act for one.",
            field="signatures",
        )


def check_persons(
    order: OrderProposed, signers: tuple[KeyRecord, ...], policy: PolicyRecord, act: str
) -> None:
    """Check that a proposer and approvers of the order signed one payload, as many as must.

    Raises:
        RefusedError: they did not.
    """
    persons_min = policy.payload.persons_min
    roles = [record.registration.role for record in signers]
    persons = {record.registration.person_id for record in signers}
    if (
        len(persons) != len(signers)
        or len(signers) != persons_min
        or roles.count(Role.PROPOSER) != 1
        or set(roles) != ORDERING_ROLES
    ):
        who = "a proposer and an approver, two persons"
        if persons_min > PERSONS_TO_BLOCK:
            who = f"a proposer and approvers, {persons_min} persons"
        raise RefusedError(
            f"{act} needs the signatures of {who}",
            advice="Have each sign the same payload.",
            field="signatures",
        )
    for record in signers:
        check_may_order(order, record, record.registration.role)


def check_sum(state: State, order: OrderProposed, t_ms: int) -> None:
    """Check that all orders together stay within what every node must be able to hold.

    Raises:
        RefusedError: they would not.
    """
    targets = order.target_count + state.live.targets(t_ms)
    if targets > TARGETS_IN_FORCE_MAX:
        raise RefusedError(
            f"all orders together would have {targets} targets, over {TARGETS_IN_FORCE_MAX}",
            advice="Stop or supersede orders that are no longer needed first.",
            field="order",
        )


def check_end(
    order: OrderProposed,
    kind: DecisionKind,
    policy: PolicyRecord,
    expires_at_ms: int,
    review_due_at_ms: int,
    recorded_at_ms: int,
    *,
    began_at_ms: int | None = None,
) -> None:
    """Check an end and a review: after now, and within all caps for category and kind.

    `began_at_ms` is when the order's first version was approved, where one was: without a court
    its whole time is capped, however often it is extended or worded anew (law 2), and an
    emergency's to the emergency.

    Raises:
        RefusedError: what is too late or too long.
    """
    if expires_at_ms <= recorded_at_ms:
        raise RefusedError(
            f"the order would have ended at {expires_at_ms}, and it is {recorded_at_ms}",
            advice="Have it signed with a later expires_at_ms.",
            field="expires_at_ms",
        )
    lifetime_ms_max = policy.payload.lifetime_ms_max(order.category, kind)
    since_ms = recorded_at_ms if began_at_ms is None else began_at_ms
    counted_ms = since_ms if kind is DecisionKind.EMERGENCY else recorded_at_ms
    if expires_at_ms - counted_ms > lifetime_ms_max:
        raise RefusedError(
            f"the order would last over {lifetime_ms_max // DAY_MS} days, the cap for "
            f"{order.category.name} by {kind.name}",
            advice="Give an earlier end; it can be extended by a new approval.",
            field="expires_at_ms",
        )
    days_max = policy.payload.administrative_days_max
    if kind in ADMINISTRATIVE_KINDS and expires_at_ms - since_ms > days_max * DAY_MS:
        raise RefusedError(
            f"the order would last over {days_max} days in all without a court",
            advice="Give an earlier end, or bring a court's decision.",
            field="expires_at_ms",
        )
    if not recorded_at_ms < review_due_at_ms <= expires_at_ms:
        raise RefusedError(
            "the review is due before now or after the end",
            advice="Give a review_due_at_ms between now and expires_at_ms.",
            field="review_due_at_ms",
        )
