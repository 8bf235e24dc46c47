"""Acts and orders in plain words: what a person sees before signing, and after.

Every field that a signature covers and that means something to people is shown, none is
shortened but hashes, which are shown whole where they are what is signed.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from enforcer.cli.output import counted, when
from enforcer.core.attested import AttestationsRecorded
from enforcer.core.entry import AnyPayload, RootAct
from enforcer.core.guard import Guard
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
    Publication,
    PublicationMode,
)
from enforcer.core.policy import PolicyAdopted
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    AppealOutcome,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.core.table import Binding, DnsMeasure, IpMeasure

OrderLife: TypeAlias = (
    OrderProposed
    | OrderApproved
    | OrderRejected
    | OrderConfirmed
    | OrderExtended
    | OrderPublished
    | OrderStopped
)
After: TypeAlias = (
    OrderHeld
    | AssessmentRecorded
    | HoldLifted
    | ReviewDone
    | NotificationSent
    | AppealFiled
    | AppealDecided
    | OrderSuspended
    | OrderResumed
)

_MEASURES = {
    DnsMeasure.NONE: "names are left alone",
    DnsMeasure.NEGATIVE: "names are answered as if they did not exist",
    DnsMeasure.BLOCK_PAGE: "names lead to the operator's page",
}
_IP_MEASURES = {
    IpMeasure.NONE: "addresses are left alone",
    IpMeasure.REJECT: "packets of addresses are rejected, and who sends them is told",
    IpMeasure.DROP: "packets of addresses are dropped in silence",
}


def sentence(payload: AnyPayload) -> str:
    """Return what the act does, in one sentence."""
    if isinstance(payload, RootAct):
        return _root_sentence(payload)
    if isinstance(payload, OrderLife):
        return _order_sentence(payload)
    if isinstance(payload, AttestationsRecorded):
        return f"Records what {counted(payload.node_count, 'node')} attested; it changes no order."
    return _after_sentence(payload)


def lines(payload: AnyPayload) -> dict[str, str | None]:
    """Return the fields of an act, by name, as words."""
    if isinstance(payload, RootAct):
        return _root_lines(payload)
    if isinstance(payload, OrderLife):
        return _order_lines(payload)
    if isinstance(payload, AttestationsRecorded):
        return _attested_lines(payload)
    return _after_lines(payload)


def _attested_lines(payload: AttestationsRecorded) -> dict[str, str | None]:
    named = [f"{each.node_id}: {each.kind.name}" for each in payload.exceptions]
    unnamed = payload.exception_count - len(named)
    return {
        "received": f"{when(payload.from_ms)} to {when(payload.until_ms)}",
        "exceptions": "\n".join([*named, *([f"and {unnamed} more"] if unnamed else [])]) or None,
        "batch": f"SHA-256 {payload.batch_sha256}, root {payload.root_sha256}",
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
        f"{_IP_MEASURES[order.measure.ip]} ({order.measure.ip.name})",
        "from": when(order.not_before_ms),
        "until": when(order.expires_at_ms),
        "review by": review_words(order.review_due_at_ms, order.expires_at_ms),
        "appeal": f"{order.appeal.body}, {order.appeal.address}"
        + (f", until {when(deadline)}" if deadline else ""),
        "reasons": _document(order.statement_of_reasons_sha256),
        "decision text": _document(order.decision_sha256),
        "to be told": ", ".join(order.notifications) or None,
        **_publication(order.publication),
    }


def review_words(review_due_at_ms: int, expires_at_ms: int) -> str:
    """Return when an order must be reviewed, and what if not."""
    unreviewed = "; it ends then if nobody does" if review_due_at_ms < expires_at_ms else ""
    return when(review_due_at_ms) + unreviewed


def _publication(publication: Publication) -> dict[str, str | None]:
    """Return how the list is made public, unless it is so at once."""
    at_ms = publication.publish_at_ms
    if publication.mode is PublicationMode.RESTRICTED_TARGETS:
        words = "restricted: targets not shown; oversight signs too"
    elif publication.mode is PublicationMode.DELAYED and at_ms is not None:
        words = f"delayed: by {when(at_ms)}, or the order ends then; targets not shown until then"
    else:
        return {}
    return {
        "publication": words,
        "sealed list": f"SHA-256 {publication.sealed_sha256}, for {publication.list_recipient}",
    }


def _root_sentence(payload: RootAct) -> str:
    match payload:
        case PolicyAdopted():
            return "Adopts the policy under which orders are judged from here on."
        case KeyRegistered():
            who = payload.person_id or payload.machine_id
            return f"Lets {who} sign as {payload.role.name} until {when(payload.not_after_ms)}."
        case KeyRevoked():
            return "Ends a key: it can sign nothing more."
        case RootsChanged():
            return "Puts other root keys in the place of the present ones."
        case LogKeyRotated():
            return "Lets another key sign the checkpoints from here on."


def _order_sentence(payload: OrderLife) -> str:
    match payload:
        case OrderProposed():
            return (
                f"Asks that {counted(payload.target_count, 'target')} be blocked until "
                f"{when(payload.expires_at_ms)}. It blocks nothing before a second person approves."
            )
        case OrderApproved():
            return "Approves the order: from when it is recorded, its targets are blocked."
        case OrderStopped():
            return "Stops the order, at once and for good."
        case OrderExtended():
            return f"Lets the order last until {when(payload.expires_at_ms)}; two persons sign."
        case OrderPublished():
            return "Makes the order's delayed list public: from now on everybody can open it."
        case OrderRejected():
            return "Turns the proposal down, for good."
        case OrderConfirmed():
            return (
                f"Confirms the emergency by a decision of kind {payload.decision_kind.name}: the "
                f"order lasts until {when(payload.expires_at_ms)}; two persons sign."
            )


def _after_sentence(payload: After) -> str:
    match payload:
        case OrderHeld():
            return f"Puts the order on hold {_why_held(payload.guards)}: it blocks nothing."
        case AssessmentRecorded():
            return "Attests what the order would hit beside its aim, and why it is needed."
        case HoldLifted():
            return f"Lifts what was put on hold {_why_held(payload.guards)}."
        case ReviewDone():
            return (
                f"The order was reviewed; the next review is by {when(payload.review_due_at_ms)}."
            )
        case NotificationSent():
            return f"Records that the {_words(payload.recipient)} was told of the order."
        case AppealFiled():
            return "Files an appeal; the order stays as it is until oversight decides."
        case AppealDecided():
            granted = payload.outcome is AppealOutcome.GRANTED
            return (
                "Grants the appeal: the order ends, for good."
                if granted
                else "Dismisses the appeal: the order stays as it is."
            )
        case OrderSuspended():
            end = "" if payload.until_ms is None else f" until {when(payload.until_ms)}"
            return f"Suspends the order on the own network alone{end}."
        case OrderResumed():
            return "Ends the suspension on the own network."


def _root_lines(payload: RootAct) -> dict[str, str | None]:
    match payload:
        case PolicyAdopted():
            return {
                "register": payload.register_url,
                "register domain": payload.register_domain,
                "targets": f"at most {payload.targets_max} in one order",
                "growth": f"at most {payload.growth_targets_max} targets a day for each authority",
                "without a court": f"at most {payload.administrative_days_max} days for a target",
                "delayed lists": f"public after {payload.delayed_days_max} days at the latest"
                if payload.delayed_days_max
                else "none",
                "persons": f"{payload.persons_min} sign a block",
                "shorter caps": "\n".join(
                    f"{cap.category.name} by {cap.decision_kind.name}: {cap.lifetime_days_max} days"
                    for cap in payload.lifetime_caps
                )
                or None,
                "protected core": payload.pins.protected_core,
                "protected names": payload.pins.protected_names,
                "public suffixes": payload.pins.public_suffixes,
                "shared ranges": payload.pins.shared_ranges,
                "fold version": str(payload.fold_version),
            }
        case KeyRegistered():
            return {
                "holder": payload.person_id or payload.machine_id,
                "role": payload.role.name,
                "authority": payload.authority,
                "operator": payload.operator,
                "categories": ", ".join(each.name for each in payload.categories) or None,
                "territories": ", ".join(payload.territories) or None,
                "public key": payload.public_key,
                "encryption key": payload.encryption_key,
                "until": when(payload.not_after_ms),
            }
        case KeyRevoked():
            since = payload.compromised_since_index
            return {
                "key": payload.key_id,
                "orders on hold": None if since is None else f"those signed from entry {since} on",
                "reason": _document(payload.reason_sha256),
            }
        case RootsChanged():
            return {
                "root keys": "\n".join(payload.public_keys),
                "threshold": str(payload.threshold),
                "reason": _document(payload.reason_sha256),
            }
        case LogKeyRotated():
            return {"log key": payload.log_vkey, "reason": _document(payload.reason_sha256)}


def _order_lines(payload: OrderLife) -> dict[str, str | None]:
    match payload:
        case OrderProposed():
            return order_lines(payload)
        case OrderApproved():
            return {**_ref(payload.order), "policy": payload.policy_sha256}
        case OrderStopped():
            return {**_ref(payload.order), "reason": _document(payload.reason_sha256)}
        case OrderExtended():
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "until": when(payload.expires_at_ms),
                "review by": when(payload.review_due_at_ms),
                "reason": _document(payload.reason_sha256),
            }
        case OrderConfirmed():
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "decision": payload.decision_kind.name,
                "decision text": _document(payload.decision_sha256),
                "evidence": "\n".join(f"SHA-256 {each}" for each in payload.evidence_sha256),
                "until": when(payload.expires_at_ms),
                "review by": when(payload.review_due_at_ms),
            }
        case OrderPublished():
            return {**_ref(payload.order), "secret": payload.list_secret}
        case OrderRejected():
            return {**_ref(payload.order), "reason": _document(payload.reason_sha256)}


def _after_lines(payload: After) -> dict[str, str | None]:
    match payload:
        case OrderSuspended():
            return {**_ref(payload.order), "reason": _document(payload.reason_sha256)}
        case OrderResumed():
            return {
                **_ref(payload.order),
                "suspension": payload.suspension_sha256,
                "reason": _document(payload.reason_sha256),
            }
        case OrderHeld():
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "guards": _guards(payload.guards),
                "report": _document(payload.report_sha256),
            }
        case AssessmentRecorded():
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "facts": _document(payload.facts_sha256),
                "necessity": _document(payload.necessity_sha256),
            }
        case HoldLifted():
            index = payload.assessment_index
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "guards": _guards(payload.guards),
                "overrides": "\n".join(payload.overrides) or None,
                "assessment": None if index is None else f"entry {index}",
                "reason": _document(payload.reason_sha256),
            }
        case ReviewDone():
            return {
                **_ref(payload.order),
                "policy": payload.policy_sha256,
                "next review by": when(payload.review_due_at_ms),
                "reason": _document(payload.reason_sha256),
            }
        case NotificationSent():
            return {
                **_ref(payload.order),
                "told": _words(payload.recipient),
                "notice": _document(payload.notice_sha256),
                "sent": when(payload.sent_at_ms),
            }
        case AppealFiled():
            return {**_ref(payload.order), "appeal": _document(payload.statement_sha256)}
        case AppealDecided():
            return {
                **_ref(payload.order),
                "appeal": f"entry {payload.appeal_index}",
                "outcome": payload.outcome.name,
                "decision": _document(payload.decision_sha256),
            }


def _ref(ref: OrderRef) -> dict[str, str | None]:
    return {
        "order": f"{ref.order_id}, entry {ref.entry_index}",
        "payload": ref.payload_sha256,
    }


def _document(sha256: str | None) -> str | None:
    """Return how an act names a document: by its hash."""
    return f"SHA-256 {sha256}" if sha256 is not None else None


def _words(member: Enum) -> str:
    return member.name.lower().replace("_", " ")


def _why_held(guards: tuple[Guard, ...]) -> str:
    return "by hand" if guards == (Guard.PERSON,) else f"for {_guards(guards)}"


def _guards(guards: tuple[Guard, ...]) -> str:
    return ", ".join(guard.name for guard in guards)
