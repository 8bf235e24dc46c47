"""Messages ⇄ the core's values; what a message may hold is checked here, once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from enforcer.core.envelope import Envelope, parse_envelope
from enforcer.core.receipt import Receipt
from enforcer.core.standing import Standing
from enforcer.core.state import PolicyRecord, Suspension
from enforcer.errors import InputError
from enforcer.services.guards import Held
from enforcer.services.ledger import Recorded
from enforcer.services.order_reader import OrderView
from enforcer.v1 import order_pb2, record_pb2, trust_pb2

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 500
EVIDENCE_SHOWN_MAX: Final = 20
RECORDS_SHOWN_MAX: Final = 50
"""Of each kind in one order's message, the newest: an order can have thousands over the years."""
ORDERS_BYTES_MAX: Final = 1 << 20
"""Of several orders in one message; beyond it a page is shorter than was asked."""


def envelope(data: bytes) -> Envelope:
    """Read a request's envelope.

    Raises:
        InputError: it is missing or malformed (``data["field"]``).
    """
    if not data:
        raise InputError(
            "the request has no envelope", advice="Send the signed act.", field="envelope"
        )
    return parse_envelope(data)


def recorded_to_message(recorded: Recorded) -> record_pb2.Recorded:
    """Write what a mutation answers."""
    return record_pb2.Recorded(
        entry_index=recorded.index,
        entry=recorded.leaf,
        receipt=recorded.receipt.format().decode("utf-8"),
        is_repeated=recorded.is_repeated,
    )


def recorded_from_message(message: record_pb2.Recorded) -> Recorded:
    """Read what a mutation answered; nothing in it is verified.

    Raises:
        IntegrityError: the receipt is none.
    """
    receipt = Receipt.parse(message.receipt.encode("utf-8"))
    return Recorded(message.entry_index, message.entry, receipt, message.is_repeated)


def order_to_message(
    view: OrderView, policy: PolicyRecord | None, payload: bytes = b""
) -> order_pb2.Order:
    """Write an order; `payload` is its exact signed bytes, where they are asked for."""
    record = view.record
    order = record.payload
    return order_pb2.Order(
        order_id=order.order_id,
        version=order.version,
        entry_index=record.index,
        payload_sha256=record.payload_sha256,
        status=order_pb2.OrderStatus.ValueType(view.standing),
        status_at_ms=view.at_ms,
        authority=order.authority,
        category=order_pb2.Category.ValueType(order.category),
        target_list_sha256=order.target_list_sha256,
        target_count=order.target_count,
        proposed_at_ms=record.proposed_at_ms,
        approved_index=record.approved_index,
        approved_at_ms=record.approved_at_ms,
        not_before_ms=order.not_before_ms,
        expires_at_ms=record.expires_at_ms,
        review_due_at_ms=record.review_due_at_ms,
        ended_index=record.ended_index,
        signers=[
            order_pb2.OrderSigner(
                person_id=signer.person_id, key_id=signer.key_id, entry_index=signer.index
            )
            for signer in record.signers
        ],
        register_url=policy.payload.register_url + order.order_id if policy else "",
        policy_sha256=policy.payload_sha256 if policy else "",
        payload=payload,
        decision_kind=order_pb2.DecisionKind.ValueType(record.decision_kind),
        holds=[order_pb2.Guard.ValueType(guard) for guard in sorted(record.holds)],
        lifts=[
            order_pb2.OrderLift(
                entry_index=lift.index,
                person_id=lift.person_id,
                guards=[order_pb2.Guard.ValueType(guard) for guard in sorted(lift.guards)],
                overrides=sorted(lift.overrides),
            )
            for lift in record.lifts[-RECORDS_SHOWN_MAX:]
        ],
        assessments=record.assessments[-RECORDS_SHOWN_MAX:],
        appeals=[
            order_pb2.OrderAppeal(
                entry_index=appeal.index,
                filed_at_ms=appeal.filed_at_ms,
                outcome=order_pb2.AppealOutcome.ValueType(appeal.outcome),
                decided_index=appeal.decided_index,
                decided_at_ms=appeal.decided_at_ms,
            )
            for appeal in record.appeals[-RECORDS_SHOWN_MAX:]
        ],
        suspensions=[
            suspension_to_message(each) for each in record.suspensions if each.holds(view.at_ms)
        ],
        reviews=view.reviews[-RECORDS_SHOWN_MAX:],
        until_ms=record.until_ms,
        list_secret=record.list_secret or "",
        cosigner_person_id=record.cosigner.person_id if record.cosigner else "",
    )


def suspension_to_message(suspension: Suspension) -> order_pb2.OrderSuspension:
    """Write whose suspension holds."""
    return order_pb2.OrderSuspension(
        operator=suspension.operator,
        payload_sha256=suspension.payload_sha256,
        person_id=suspension.person_id,
        since_ms=suspension.since_ms,
        until_ms=suspension.until_ms,
    )


def findings_to_messages(held: Held | None) -> list[order_pb2.GuardFinding]:
    """Write what holds an order."""
    if held is None:
        return []
    return [
        order_pb2.GuardFinding(
            guard=order_pb2.Guard.ValueType(each.guard),
            line_count=0 if held.told.are_counts_hidden else held.scan.counts[each.guard],
            evidence=() if held.told.is_hidden else each.evidence[:EVIDENCE_SHOWN_MAX],
            evidence_count=0
            if held.told.are_counts_hidden
            else held.scan.evidence_counts[each.guard],
        )
        for each in held.objections
    ]


def orders_to_messages(
    views: Iterable[OrderView], policy: PolicyRecord | None
) -> list[order_pb2.Order]:
    """Write orders without their payloads: as many as fit into a message, and at least one."""
    messages: list[order_pb2.Order] = []
    size_bytes = 0
    for view in views:
        message = order_to_message(view, policy)
        size_bytes += message.ByteSize()
        if messages and size_bytes > ORDERS_BYTES_MAX:
            break
        messages.append(message)
    return messages


def policy_to_message(policy: PolicyRecord, payload: bytes) -> trust_pb2.GetPolicyResponse:
    """Write the policy in force; `payload` is its exact signed bytes."""
    return trust_pb2.GetPolicyResponse(
        entry_index=policy.index, payload_sha256=policy.payload_sha256, payload=payload
    )


def wanted_standing(status: int) -> Standing | None:
    """Read the filter of a listing; None means all.

    Raises:
        InputError: no status has that number.
    """
    if status == 0:
        return None
    try:
        return Standing(status)
    except ValueError as error:
        raise InputError(
            f"no order status has the number {status}",
            advice="Give a value of OrderStatus, or none.",
            field="status",
        ) from error


def page_size(asked: int) -> int:
    """Return how many orders a page has.

    Raises:
        InputError: the number is negative.
    """
    if asked < 0:
        raise InputError(
            f"{asked} is no size of a page",
            advice=f"Give 1 to {PAGE_SIZE_MAX}, or 0 for {PAGE_SIZE_DEFAULT}.",
            field="page_size",
        )
    return min(asked, PAGE_SIZE_MAX) or PAGE_SIZE_DEFAULT


def page_token(next_index: int, wanted: Standing | None) -> str:
    """Return the token by which a listing goes on at an entry, with the same filter."""
    return f"{int(wanted or 0)}.{next_index}"


def page_start(token: str, wanted: Standing | None) -> int:
    """Read a token: the entry to go on from; 0 where there is none.

    Raises:
        InputError: it is none of ours, or of another filter.
    """
    if not token:
        return 0
    status, dot, index = token.partition(".")
    is_ours = bool(dot) and index.isascii() and index.isdecimal() and len(index) < 20
    if not is_ours or status != str(int(wanted or 0)):
        raise InputError(
            "the page token is not of this listing",
            advice="Give the last answer's next_page_token with the same status, or none.",
            field="page_token",
        )
    return int(index)
