"""The rules for what follows a block: reviews, notices, appeals, one operator's suspension.

Nothing here needs two persons, for nothing here can begin a block or widen one.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.judge_parts import (
    check_may_order,
    check_meets,
    check_policy,
    check_role,
    named_order,
)
from enforcer.core.key import STOPPING_ROLES, Role
from enforcer.core.order import OrderRef
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, OrderRecord, State, Suspension
from enforcer.errors import ConflictError, RefusedError

REVIEWING_ROLES: Final = frozenset((Role.APPROVER, Role.OVERSIGHT))
TELLING_ROLES: Final = STOPPING_ROLES | {Role.CONTROL}
"""Who may record a notice or an appeal; the control plane takes appeals in."""
APPEALS_OPEN_MAX: Final = 16
"""Undecided appeals that one order can have."""

SO_ALREADY: Final = "so already"
"""The problem of an act that asks for what holds already."""


def judge_review(state: State, payload: ReviewDone, signer: KeyRecord, recorded_at_ms: int) -> None:
    """Check a review: in time, and the next one no later than the end.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_policy(state, payload.policy_sha256)
    check_role(order.payload, signer, REVIEWING_ROLES, "review this order")
    if signer.registration.role is Role.APPROVER:
        check_may_order(order.payload, signer, Role.APPROVER)
    check_meets(ReviewDone, "reviewed", order)
    if order.until_ms <= recorded_at_ms:
        raise RefusedError(
            "the order has ended, or lapsed for want of a review",
            advice="Have a new order proposed and approved.",
            field="order",
        )
    if not recorded_at_ms < payload.review_due_at_ms <= order.expires_at_ms:
        raise field_error(
            "review_due_at_ms",
            "the next review is due before now or after the end",
            f"Give a time up to {order.expires_at_ms}.",
        )


def judge_notice(
    state: State, payload: NotificationSent, signer: KeyRecord, recorded_at_ms: int
) -> None:
    """Check a notice: of a known order, sent by now.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_role(order.payload, signer, TELLING_ROLES, "record a notice")
    check_meets(NotificationSent, "told of", order)
    if payload.sent_at_ms > recorded_at_ms:
        raise field_error("sent_at_ms", "the notice is yet to be sent", "Record it then.")


def judge_appeal(state: State, payload: AppealFiled, signer: KeyRecord) -> None:
    """Check an appeal: of a known order that has not too many open ones.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_role(order.payload, signer, TELLING_ROLES, "record an appeal")
    check_meets(AppealFiled, "appealed", order)
    if sum(not appeal.outcome for appeal in order.appeals) >= APPEALS_OPEN_MAX:
        raise RefusedError(
            f"{APPEALS_OPEN_MAX} appeals of this order wait for a decision",
            advice="Have oversight decide those first; join this one to one of them.",
            field="order",
        )


def judge_decision(state: State, payload: AppealDecided, signer: KeyRecord) -> None:
    """Check a decision: by oversight, of an appeal that waits for one.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_role(order.payload, signer, frozenset((Role.OVERSIGHT,)), "decide an appeal")
    check_meets(AppealDecided, "judged", order)
    appeal = next((each for each in order.appeals if each.index == payload.appeal_index), None)
    if appeal is None:
        filed = ", ".join(str(each.index) for each in order.appeals)
        raise field_error(
            "appeal_index",
            "it names no appeal of this order",
            f"Its appeals are in entry {filed}." if filed else "Nobody has filed one.",
        )
    if appeal.outcome is not AppealOutcome.UNSPECIFIED:
        raise ConflictError(
            f"the appeal was {appeal.outcome.name} in entry {appeal.decided_index}",
            advice="Nothing needs to be done; a new appeal is a new entry.",
            index=appeal.decided_index,
            field="appeal_index",
        )


def judge_suspension(
    state: State, payload: OrderSuspended, signer: KeyRecord, recorded_at_ms: int
) -> None:
    """Check that a safety officer suspends an order that is not suspended there for as long.

    One that ends later takes the place of the one that holds, so that the block is not back in
    between; for an earlier end, that one is resumed.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = _order_of_officer(state, payload.order, signer)
    check_meets(OrderSuspended, "suspended", order)
    standing = order.suspension(signer.registration.operator, recorded_at_ms)
    if standing is not None and _lasts(standing, payload.until_ms):
        raise ConflictError(
            f"{signer.registration.operator} has suspended the order already",
            advice="Nothing needs to be done; for an earlier end, resume it first.",
            field="order",
            problem=SO_ALREADY,
        )
    if payload.until_ms is not None and payload.until_ms <= recorded_at_ms:
        raise field_error(
            "until_ms", "the suspension would have ended already", "Give a later end, or none."
        )


def judge_resumption(
    state: State, payload: OrderResumed, signer: KeyRecord, recorded_at_ms: int
) -> None:
    """Check that a safety officer ends the suspension that holds on the same network.

    It names that one: so an old resumption, kept back, ends no later suspension.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = _order_of_officer(state, payload.order, signer)
    check_meets(OrderResumed, "resumed", order)
    suspension = order.suspension(signer.registration.operator, recorded_at_ms)
    if suspension is None:
        raise ConflictError(
            f"{signer.registration.operator} has not suspended the order",
            advice="Nothing needs to be done.",
            field="order",
            problem=SO_ALREADY,
        )
    if suspension.payload_sha256 != payload.suspension_sha256:
        raise ConflictError(
            f"the order is suspended by {suspension.payload_sha256[:16]}…, and this is an answer "
            f"to {payload.suspension_sha256[:16]}…",
            advice="Read the order again, and end the suspension that holds now.",
            field="suspension_sha256",
        )


def _lasts(standing: Suspension, until_ms: int | None) -> bool:
    """Tell whether a suspension that holds ends no earlier than one until then would."""
    if standing.until_ms is None:
        return True
    return until_ms is not None and until_ms <= standing.until_ms


def _order_of_officer(state: State, ref: OrderRef, signer: KeyRecord) -> OrderRecord:
    order = named_order(state, ref)
    check_role(order.payload, signer, frozenset((Role.SAFETY_OFFICER,)), "suspend on a network")
    return order
