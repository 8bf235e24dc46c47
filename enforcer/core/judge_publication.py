"""The rules for lists that are not public at once: which orders, with whose signature, how long.

RESTRICTED_TARGETS is for child abuse material alone and needs oversight's signature on the
proposal, by a person who stands behind no part of the block. DELAYED is for any category and for
days: the order ends at ``publish_at_ms`` unless its list was published before. Whoever publishes
gives the identity of the list's recipient, which any judge can check; whether the list is sealed
for that recipient shows when it is opened. A recipient serves one list, and a sealed file has one
recipient: whoever publishes it for one order does so for all.
"""

from __future__ import annotations

from enforcer.core import age
from enforcer.core.judge_parts import check_meets, check_role, named_order
from enforcer.core.key import STOPPING_ROLES, Category, Role
from enforcer.core.order import OrderProposed, OrderPublished, PublicationMode
from enforcer.core.policy import DAY_MS
from enforcer.core.signing import field_error
from enforcer.core.state import KeyRecord, OrderRecord, PolicyRecord, State
from enforcer.errors import ConflictError, InputError, RefusedError

_RESTRICTED, _DELAYED = PublicationMode.RESTRICTED_TARGETS, PublicationMode.DELAYED


def check_proposers(order: OrderProposed, signers: tuple[KeyRecord, ...]) -> KeyRecord:
    """Return the one who proposes: the only signer, or beside oversight for a restricted order.

    Raises:
        RefusedError: others signed, or not all who must.
    """
    proposers = [each for each in signers if each.registration.role is not Role.OVERSIGHT]
    is_restricted = order.publication.mode is _RESTRICTED
    if len(signers) != 1 + is_restricted or (is_restricted and len(proposers) != 1):
        raise RefusedError(
            f"the proposal has {len(signers)} signatures and takes "
            + ("a proposer's and oversight's" if is_restricted else "its proposer's alone"),
            advice="Have oversight sign the same payload: enforcer order cosign."
            if is_restricted
            else "Send the act with the signature of the one person whose act it is.",
            field="signatures",
        )
    persons = {each.registration.person_id for each in signers}
    if len(persons) != len(signers):
        raise RefusedError(
            "the proposer and oversight are one person",
            advice="Have another person of oversight sign.",
            field="signatures",
        )
    return proposers[0] if proposers else signers[0]


def check_cosigner(order: OrderRecord, signers: tuple[KeyRecord, ...]) -> None:
    """Check that nobody who stands behind the block signed for oversight that it is restricted.

    Raises:
        RefusedError: somebody did.
    """
    if order.cosigner is not None:
        for each in signers:
            if each.registration.person_id == order.cosigner.person_id:
                raise RefusedError(
                    f"{order.cosigner.person_id} signed for oversight that this list is restricted",
                    advice="Have another person sign: oversight stands behind no block.",
                    field="signatures",
                )


def check_publication(
    state: State, order: OrderProposed, policy: PolicyRecord, recorded_at_ms: int
) -> None:
    """Check how a proposal's list is to be made public.

    Raises:
        RefusedError: the rule that it breaks.
    """
    publication = order.publication
    sealing = (publication.sealed_sha256, publication.list_recipient)
    if (None in sealing) if publication.is_sealed else (sealing != (None, None)):
        raise field_error(
            "publication.sealed_sha256",
            f"{publication.mode.name} takes "
            + ("a sealed list" if publication.is_sealed else "no sealed list"),
            "Give sealed_sha256 and list_recipient for a list that is not public at once.",
        )
    if publication.list_recipient is not None:
        _check_sealing(state, order, publication.list_recipient)
    if publication.mode is _RESTRICTED and order.category is not Category.CHILD_ABUSE_MATERIAL:
        raise field_error(
            "publication.mode",
            f"targets of {order.category.name} are not restricted",
            "Give FULL, or DELAYED where the policy allows it; restricted targets are for "
            "CHILD_ABUSE_MATERIAL alone.",
        )
    if (publication.publish_at_ms is None) == (publication.mode is _DELAYED):
        raise field_error(
            "publication.publish_at_ms",
            f"{publication.mode.name} "
            + ("names no time" if publication.publish_at_ms is None else "takes no time"),
            "Give publish_at_ms for DELAYED, and for nothing else.",
        )
    if publication.publish_at_ms is not None:
        _check_delay(state, order, policy, publication.publish_at_ms, recorded_at_ms)


def check_unpublished(
    order: OrderRecord, recorded_at_ms: int, expires_at_ms: int | None = None
) -> None:
    """Check that an order with a delayed list does not begin, or go on, past its publication.

    Raises:
        RefusedError: it would.
    """
    due_ms = order.unpublished_until_ms
    if due_ms is None:
        return
    if recorded_at_ms >= due_ms:
        raise RefusedError(
            f"the list was to be published by {due_ms}, and was not",
            advice="Have a new order proposed and approved.",
            field="order",
        )
    if expires_at_ms is not None and expires_at_ms > due_ms:
        raise field_error(
            "expires_at_ms",
            f"the list is to be published by {due_ms}, and is not yet",
            "Have it published first: enforcer order publish.",
        )


def judge_publication(state: State, payload: OrderPublished, signer: KeyRecord) -> None:
    """Check the one signature that makes a delayed list public, and that it gives the right secret.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    order = named_order(state, payload.order)
    check_role(order.payload, signer, STOPPING_ROLES, "publish this list")
    check_meets(OrderPublished, "published", order)
    publication = order.payload.publication
    if publication.mode is not _DELAYED:
        raise RefusedError(
            f"the order's publication is {publication.mode.name}",
            advice="Only a delayed list is published later.",
            field="order",
        )
    if order.list_secret is not None:
        raise ConflictError(
            "the list is public already",
            advice="Nothing needs to be done.",
            field="order",
        )
    try:
        recipient = age.recipient_of(payload.list_secret)
    except InputError as error:
        raise field_error("list_secret", error.message, error.advice) from error
    if recipient != publication.list_recipient:
        raise field_error(
            "list_secret",
            "it is the secret of another list",
            "Give the identity that was made for this order's list.",
        )


def _check_sealing(state: State, order: OrderProposed, recipient: str) -> None:
    """Check a recipient, and that it, file, list and mode belong together in all orders.

    Else who publishes one list would publish both, or a secret that opens nothing; nor is a
    restricted one published as a delayed.
    """
    try:
        age.check_recipient(recipient)
    except InputError as error:
        raise field_error("publication.list_recipient", error.message, error.advice) from error
    known_sealings = (state.sealings.get(each) for each in order.publication.names)
    if any(known and not _is_same_sealing(known, order) for known in known_sealings):
        raise field_error(
            "publication.list_recipient",
            "another list was sealed for this recipient, or this one for another recipient or mode",
            "Seal each list for a key of its own.",
        )


def _is_same_sealing(known: OrderProposed, order: OrderProposed) -> bool:
    ours, theirs = order.publication, known.publication
    return (
        known.target_list_sha256 == order.target_list_sha256
        and theirs.sealed_sha256 == ours.sealed_sha256
        and theirs.list_recipient == ours.list_recipient
        and theirs.mode is ours.mode
    )


def _check_delay(
    state: State,
    order: OrderProposed,
    policy: PolicyRecord,
    publish_at_ms: int,
    recorded_at_ms: int,
) -> None:
    """Check that it is published while it blocks, and that nothing begins the time anew.

    Neither another version of the order does, nor another order with the same list.
    """
    days_max = policy.payload.delayed_days_max
    if days_max == 0:
        raise field_error(
            "publication.mode", "the policy allows no delayed publication", "Give FULL."
        )
    versions = (state.orders[index] for index in state.versions.get(order.order_id, ()))
    since_ms = min(
        (each.proposed_at_ms for each in versions if each.payload.publication.is_sealed),
        default=recorded_at_ms,
    )
    names = (*order.publication.names, order.target_list_sha256)
    since_ms = min([since_ms, *(state.hidden_since_ms.get(each, since_ms) for each in names)])
    if publish_at_ms <= recorded_at_ms:
        raise field_error(
            "publication.publish_at_ms", "the list would be public already", "Give FULL."
        )
    if publish_at_ms > since_ms + days_max * DAY_MS:
        raise field_error(
            "publication.publish_at_ms",
            f"the list would stay hidden for more than {days_max} days from when it first was",
            "Give an earlier time.",
        )
    if publish_at_ms >= min(order.expires_at_ms, order.review_due_at_ms):
        raise field_error(
            "publication.publish_at_ms",
            "the order would end, or be due for review, before its list is public",
            "Give an earlier time.",
        )
