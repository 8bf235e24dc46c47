"""The rules: who may do what to which order, and when.

One function a kind; each returns when the act is lawful and raises, with the reason and the
remedy, when it is not. The same code runs at the control plane before an act is recorded, at
every node, and at the auditor (law 3). Limits stand in code; the policy only narrows them.
Two to block, one to stop (law 1); every order ends (law 2); zero permits nothing (law 8).
"""

from __future__ import annotations

from typing import Final

from enforcer.core.entry import AnyPayload, parse_payload
from enforcer.core.envelope import Envelope, key_id
from enforcer.core.key import (
    MACHINE_ROLES,
    ORDERING_ROLES,
    Category,
    KeyRegistered,
    KeyRevoked,
    Role,
)
from enforcer.core.order import (
    OrderApproved,
    OrderExtended,
    OrderProposed,
    OrderRef,
    OrderStopped,
    PublicationMode,
)
from enforcer.core.payload import Payload
from enforcer.core.policy import (
    COURT_KINDS,
    DAY_MS,
    FOLD_VERSION,
    LIFETIME_DAYS_MAX_BY_CATEGORY,
    LIFETIME_DAYS_MAX_BY_KIND,
    DecisionKind,
    PolicyAdopted,
)
from enforcer.core.state import ENDED, KeyRecord, OrderRecord, OrderStatus, PolicyRecord, State
from enforcer.core.table import Binding, DnsMeasure, IpMeasure
from enforcer.errors import ConflictError, IntegrityError, NotFoundError, RefusedError

PERSONS_TO_BLOCK: Final = 2
VALIDITY_DAYS_MAX: Final = 30
"""Longest time that a signed act may wait to be recorded."""
PROPOSAL_DAYS_MAX: Final = 30
"""Longest time from a proposal to its approval."""


def judge(state: State, envelope: Envelope, recorded_at_ms: int) -> AnyPayload:
    """Return the payload if its act is lawful as the next entry, recorded at that time.

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
        case PolicyAdopted():
            _check_roots(state, envelope)
            _judge_policy(payload)
        case KeyRegistered():
            _check_roots(state, envelope)
            _judge_key(state, payload, recorded_at_ms)
        case KeyRevoked():
            _check_roots(state, envelope)
            _judge_revocation(state, payload)
        case OrderProposed():
            _judge_proposal(
                state, payload, _only_signer(state, envelope, recorded_at_ms), recorded_at_ms
            )
        case OrderApproved():
            _judge_approval(
                state, payload, _only_signer(state, envelope, recorded_at_ms), recorded_at_ms
            )
        case OrderExtended():
            _judge_extension(
                state, payload, _signers(state, envelope, recorded_at_ms), recorded_at_ms
            )
        case OrderStopped():
            _judge_stop(state, payload, _only_signer(state, envelope, recorded_at_ms))
    return payload


def judge_unlogged_stop(state: State, envelope: Envelope, t_ms: int) -> OrderStopped:
    """Return the stop if a node must obey it at once, before it is in the ledger (law 1).

    Raises:
        RefusedError, ConflictError, NotFoundError, InputError: as for `judge`, and when the
            act is no stop.
    """
    payload = parse_payload(envelope)
    if not isinstance(payload, OrderStopped):
        raise RefusedError(
            "only a stop is obeyed before it is in the ledger",
            advice="Send this act to the control plane.",
            field="payloadType",
        )
    _check_origin(state, payload)
    _judge_stop(state, payload, _only_signer(state, envelope, t_ms))
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
    for signature in envelope.signatures:
        index = state.index_of_request.get((signature.key_id, payload.request_id))
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


def _check_roots(state: State, envelope: Envelope) -> None:
    for signature in envelope.signatures:
        public_key = state.root_keys.get(signature.key_id)
        if public_key is None:
            raise _signature_error(signature.key_id, "is by no root key")
        if not state.verify(public_key, envelope.message, signature.octets):
            raise _signature_error(signature.key_id, "is not valid")
    if len(envelope.signatures) < state.roots.threshold:
        raise RefusedError(
            f"{len(envelope.signatures)} root keys signed, and {state.roots.threshold} must",
            advice="Collect the missing root signatures over the same payload.",
            field="signatures",
        )


def _signers(state: State, envelope: Envelope, t_ms: int) -> tuple[KeyRecord, ...]:
    """Return the registered keys that signed, each checked."""
    records = []
    for signature in envelope.signatures:
        record = state.keys.get(signature.key_id)
        if record is None:
            raise _signature_error(signature.key_id, "is by a key that is not registered")
        if record.revoked_index is not None:
            raise _signature_error(
                signature.key_id, f"is by a key that entry {record.revoked_index} revoked"
            )
        if t_ms > record.registration.not_after_ms:
            raise _signature_error(signature.key_id, "is by a key whose registration has ended")
        if not state.verify(record.public_key, envelope.message, signature.octets):
            raise _signature_error(signature.key_id, "is not valid")
        records.append(record)
    return tuple(records)


def _only_signer(state: State, envelope: Envelope, t_ms: int) -> KeyRecord:
    records = _signers(state, envelope, t_ms)
    if len(records) != 1:
        raise RefusedError(
            f"the act has {len(records)} signatures, and takes one",
            advice="Send the act with the signature of the one person whose act it is.",
            field="signatures",
        )
    return records[0]


def _signature_error(identity: str, problem: str) -> RefusedError:
    return RefusedError(
        f"the signature of key {identity[:16]}… {problem}",
        advice="Sign with a key that is registered for this act and has not ended.",
        field="signatures",
        key_id=identity,
    )


# Acts of the roots.


def _judge_policy(payload: PolicyAdopted) -> None:
    if payload.fold_version != FOLD_VERSION:
        raise IntegrityError(
            f"the policy needs fold version {payload.fold_version}, and this is {FOLD_VERSION}",
            advice="Stop following and update this software.",
            field="fold_version",
        )
    for at, cap in enumerate(payload.lifetime_caps):
        days = min(
            LIFETIME_DAYS_MAX_BY_CATEGORY[cap.category],
            LIFETIME_DAYS_MAX_BY_KIND[cap.decision_kind],
        )
        if cap.lifetime_days_max > days:
            raise RefusedError(
                f"the policy allows {cap.lifetime_days_max} days where the law allows {days}",
                advice="Lower the cap: a policy can only narrow.",
                field=f"lifetime_caps[{at}].lifetime_days_max",
            )


def _judge_key(state: State, payload: KeyRegistered, recorded_at_ms: int) -> None:
    identity = key_id(bytes.fromhex(payload.public_key))
    if identity in state.keys or identity in state.root_keys:
        raise ConflictError(
            f"the key {identity[:16]}… is registered already",
            advice="Make a new key: a key has one holder and one role for ever.",
            field="public_key",
        )
    is_machine = payload.role in MACHINE_ROLES
    if (payload.person_id is None) != is_machine or (payload.machine_id is None) == is_machine:
        raise _field_error(
            "machine_id" if is_machine else "person_id",
            f"{payload.role.name} is the role of a {'machine' if is_machine else 'person'}",
            "Give person_id for a person, machine_id for a machine, and never both.",
        )
    if payload.role in ORDERING_ROLES:
        if payload.authority is None or not payload.categories or not payload.territories:
            raise _field_error(
                "authority",
                f"{payload.role.name} needs an authority, categories and territories",
                "Name what the person may act for.",
            )
    elif payload.authority is not None or payload.categories:
        raise _field_error(
            "authority",
            f"{payload.role.name} acts for no authority and no category",
            "Leave authority null and categories empty.",
        )
    if payload.not_after_ms <= recorded_at_ms:
        raise _field_error("not_after_ms", "the registration would have ended", "Give a later end.")


def _judge_revocation(state: State, payload: KeyRevoked) -> None:
    record = state.keys.get(payload.key_id)
    if record is None:
        raise NotFoundError(
            f"no key {payload.key_id[:16]}… is registered",
            advice="Name a registered key by its id.",
            field="key_id",
        )
    if record.revoked_index is not None:
        raise ConflictError(
            f"entry {record.revoked_index} revoked this key already",
            advice="Nothing needs to be done.",
            field="key_id",
        )
    since = payload.compromised_since_index
    if since is not None and since > state.size:
        raise _field_error(
            "compromised_since_index",
            f"{since} is beyond the ledger's {state.size} entries",
            "Name an entry that exists.",
        )


# Acts on orders.


def _judge_proposal(
    state: State, order: OrderProposed, proposer: KeyRecord, recorded_at_ms: int
) -> None:
    policy = _policy(state)
    _check_may_order(order, proposer, Role.PROPOSER)
    _check_version(state, order)
    if order.target_count > policy.payload.targets_max:
        raise _field_error(
            "target_count",
            f"the list has {order.target_count} targets and the policy allows "
            f"{policy.payload.targets_max}",
            "Split the order.",
        )
    if order.measure.dns is DnsMeasure.NONE and order.measure.ip is IpMeasure.NONE:
        raise _field_error("measure", "the order blocks nothing", "Name a measure.")
    if order.category is Category.COURT_DECISION and order.decision_kind not in COURT_KINDS:
        raise _field_error(
            "decision_kind",
            "the category COURT_DECISION rests on a decision of a court",
            "Give COURT_FINAL or COURT_INTERIM, or the category of the crime.",
        )
    if order.decision_kind is DecisionKind.CERT_ADVISORY and order.binding is not Binding.ADVISORY:
        raise _field_error("binding", "an advisory of a CERT binds nobody", "Give ADVISORY.")
    if order.publication.mode is not PublicationMode.FULL or order.publication.publish_at_ms:
        raise _field_error(
            "publication",
            "this fold version takes fully published orders only",
            "Give mode FULL and publish_at_ms null.",
        )
    if order.not_before_ms >= order.expires_at_ms:
        raise _field_error(
            "expires_at_ms", "the order would end before it begins", "Give a later end."
        )
    _check_end(order, policy, order.expires_at_ms, order.review_due_at_ms, recorded_at_ms)


def _judge_approval(
    state: State, payload: OrderApproved, approver: KeyRecord, recorded_at_ms: int
) -> None:
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
    _check_end(order.payload, policy, order.expires_at_ms, order.review_due_at_ms, recorded_at_ms)


def _judge_extension(
    state: State, payload: OrderExtended, signers: tuple[KeyRecord, ...], recorded_at_ms: int
) -> None:
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
        raise _field_error(
            "expires_at_ms", "the new end is not after the present one", "Give a later end."
        )
    _check_end(
        order.payload, policy, payload.expires_at_ms, payload.review_due_at_ms, recorded_at_ms
    )


def _judge_stop(state: State, payload: OrderStopped, signer: KeyRecord) -> None:
    order = _order(state, payload.order)
    if order.status in ENDED:
        raise ConflictError(
            f"the order is {order.status.name} since entry {order.ended_index}",
            advice="Nothing needs to be done: it does not block.",
            index=order.ended_index,
            field="order",
        )
    registration = signer.registration
    is_oversight = registration.role is Role.OVERSIGHT
    is_approver = (
        registration.role is Role.APPROVER and registration.authority == order.payload.authority
    )
    is_signer = registration.person_id in {signer.person_id for signer in order.signers}
    if not (is_oversight or is_approver or (is_signer and registration.role in ORDERING_ROLES)):
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
        raise _field_error(
            "order.order_id",
            f"entry {ref.entry_index} proposes {order.payload.order_id}, not {ref.order_id}",
            "Name the order by its id and entry index together.",
        )
    if ref.payload_sha256 != order.payload_sha256:
        raise _field_error(
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
            raise _field_error(
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
        raise _field_error(
            "supersedes", "it names another order id", "A version supersedes its own order only."
        )
    versions = state.versions[order.order_id]
    if any(state.orders[index].status is OrderStatus.HELD for index in versions):
        raise RefusedError(
            "a version of this order is on hold",
            advice="Have the hold decided first.",
            field="supersedes",
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
            advice="Give an earlier expires_at_ms; it can be extended by a new approval.",
            field="expires_at_ms",
        )
    if not recorded_at_ms < review_due_at_ms <= expires_at_ms:
        raise RefusedError(
            "the review is due before now or after the end",
            advice="Give a review_due_at_ms between now and expires_at_ms.",
            field="review_due_at_ms",
        )


def _field_error(field: str, problem: str, advice: str) -> RefusedError:
    return RefusedError(problem, advice=advice, field=field)
