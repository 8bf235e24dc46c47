"""Acts and orders in plain words: what a person sees before signing, and after.

Every field that a signature covers and that means something to people is shown, none is
shortened but hashes, which are shown whole where they are what is signed.
"""

from __future__ import annotations

from enforcer.cli.output import when
from enforcer.core.entry import AnyPayload
from enforcer.core.key import KeyRegistered, KeyRevoked
from enforcer.core.order import OrderApproved, OrderExtended, OrderProposed, OrderRef, OrderStopped
from enforcer.core.policy import PolicyAdopted
from enforcer.core.table import Binding, DnsMeasure

_MEASURES = {
    DnsMeasure.NONE: "names are left alone",
    DnsMeasure.NEGATIVE: "names are answered as if they did not exist",
    DnsMeasure.BLOCK_PAGE: "names lead to the operator's page",
}


def sentence(payload: AnyPayload) -> str:
    """Return what the act does, in one sentence."""
    match payload:
        case OrderProposed():
            return (
                f"Asks that {payload.target_count} targets be blocked until "
                f"{when(payload.expires_at_ms)}. It blocks nothing before a second person approves."
            )
        case OrderApproved():
            return "Approves the order: from when it is recorded, its targets are blocked."
        case OrderStopped():
            return "Stops the order, at once and for good."
        case OrderExtended():
            return f"Lets the order last until {when(payload.expires_at_ms)}; two persons sign."
        case PolicyAdopted():
            return "Adopts the policy under which orders are judged from here on."
        case KeyRegistered():
            who = payload.person_id or payload.machine_id
            return f"Lets {who} sign as {payload.role.name} until {when(payload.not_after_ms)}."
        case KeyRevoked():
            return "Ends a key: it can sign nothing more."


def lines(payload: AnyPayload) -> dict[str, str | None]:
    """Return the fields of an act, by name, as words."""
    match payload:
        case OrderProposed():
            return order_lines(payload)
        case OrderApproved():
            return {**_ref(payload.order), "policy": payload.policy_sha256}
        case OrderStopped():
            return {**_ref(payload.order), "reason": payload.reason_sha256}
        case OrderExtended():
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "until": when(payload.expires_at_ms),
                "review by": when(payload.review_due_at_ms),
                "reason": payload.reason_sha256,
            }
        case PolicyAdopted():
            return {
                "register": payload.register_url,
                "register domain": payload.register_domain,
                "targets": f"at most {payload.targets_max} in one order",
                "protected core": payload.pins.protected_core,
                "protected names": payload.pins.protected_names,
                "fold version": str(payload.fold_version),
            }
        case KeyRegistered():
            return {
                "holder": payload.person_id or payload.machine_id,
                "role": payload.role.name,
                "authority": payload.authority,
                "categories": ", ".join(each.name for each in payload.categories) or None,
                "territories": ", ".join(payload.territories) or None,
                "public key": payload.public_key,
                "until": when(payload.not_after_ms),
            }
        case KeyRevoked():
            since = payload.compromised_since_index
            return {
                "key": payload.key_id,
                "orders on hold": None if since is None else f"those signed from entry {since} on",
                "reason": payload.reason_sha256,
            }


def order_lines(order: OrderProposed) -> dict[str, str | None]:
    """Return an order's fields as words."""
    bases = [
        f"{basis.instrument}, {basis.provision}" + (f" ({basis.uri})" if basis.uri else "")
        for basis in order.legal_basis
    ]
    binding = "binds" if order.binding is Binding.BINDING else "is advisory"
    deadline = order.appeal.deadline_ms
    return {
        "order": f"{order.order_id} version {order.version}",
        "supersedes": _ref(order.supersedes)["order"] if order.supersedes else None,
        "authority": order.authority,
        "legal basis": "\n".join(bases),
        "case": order.case_reference,
        "decision": f"{order.decision_kind.name}; it {binding}",
        "category": order.category.name,
        "territory": order.territory,
        "targets": f"{order.target_count}, SHA-256 {order.target_list_sha256}",
        "measure": f"{_MEASURES[order.measure.dns]} ({order.measure.dns.name}); "
        f"addresses: {order.measure.ip.name}",
        "from": when(order.not_before_ms),
        "until": when(order.expires_at_ms),
        "review by": when(order.review_due_at_ms),
        "appeal": f"{order.appeal.body}, {order.appeal.address}"
        + (f", until {when(deadline)}" if deadline else ""),
        "reasons": order.statement_of_reasons_sha256,
        "decision text": order.decision_sha256,
        "to be told": ", ".join(order.notifications) or None,
    }


def _ref(ref: OrderRef) -> dict[str, str | None]:
    return {
        "order": f"{ref.order_id}, entry {ref.entry_index}",
        "payload": ref.payload_sha256,
    }
