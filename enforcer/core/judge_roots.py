"""The rules for what the roots do: adopt a policy, register and revoke keys, rotate their own.

The root threshold has been checked before; the rules here bind the roots themselves. A
policy can only narrow what the code allows.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from enforcer.core import age
from enforcer.core.ed25519 import is_small_order
from enforcer.core.envelope import Envelope, key_id
from enforcer.core.key import (
    MACHINE_ROLES,
    OPERATOR_ROLES,
    ORDERING_ROLES,
    READING_ROLES,
    Category,
    KeyRegistered,
    KeyRevoked,
    LogKeyRotated,
    RootsChanged,
)
from enforcer.core.note import VerifierKey
from enforcer.core.policy import (
    DAY_MS,
    FOLD_VERSION,
    LIFETIME_DAYS_MAX_BY_CATEGORY,
    LIFETIME_DAYS_MAX_BY_KIND,
    DecisionKind,
    Pins,
    PolicyAdopted,
)
from enforcer.core.signing import check_all_by, check_threshold, field_error
from enforcer.core.state import Roots, State
from enforcer.errors import (
    ConflictError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
)

KEY_DAYS_MAX: Final = 1_827
"""Longest time that a key may be registered for: five years."""


def judge_policy(state: State, payload: PolicyAdopted) -> None:
    """Check that a policy asks for this fold and only narrows.

    Raises:
        RefusedError: a cap is wider than the law's.
        IntegrityError: it needs another fold version.
    """
    if payload.fold_version != FOLD_VERSION:
        raise IntegrityError(
            f"the policy needs fold version {payload.fold_version}, and this is {FOLD_VERSION}",
            advice="Stop following and update this software.",
            field="fold_version",
        )
    present = None if state.policy is None else state.policy.payload_sha256
    if payload.follows_sha256 != present:
        raise ConflictError(
            "the policy follows another one than that in force",
            advice="Sign it again over the hash of the policy in force: none comes back.",
            field="follows_sha256",
        )
    if state.policy is not None:
        _check_pins(state.policy.payload.pins, payload.pins)
    named: set[tuple[Category, DecisionKind]] = set()
    for at, cap in enumerate(payload.lifetime_caps):
        if (cap.category, cap.decision_kind) in named:
            raise field_error(
                f"lifetime_caps[{at}]",
                f"{cap.category.name} by {cap.decision_kind.name} has two caps",
                "Give one: a policy says one thing.",
            )
        named.add((cap.category, cap.decision_kind))
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


def _check_pins(former: Pins, pins: Pins) -> None:
    """Check that no kind of data is given up: a guard without data never fires."""
    for each in fields(pins):
        if getattr(former, each.name) is not None and getattr(pins, each.name) is None:
            raise field_error(
                f"pins.{each.name}",
                "the policy in force pins such data, and this one none",
                "Pin the same data or newer: a policy gives up no guard.",
            )


def judge_roots(state: State, payload: RootsChanged, envelope: Envelope) -> None:
    """Check that the new roots are sound, and that enough of the present and of them signed.

    Raises:
        RefusedError: the rule that it breaks.
    """
    public_keys = tuple(bytes.fromhex(each) for each in payload.public_keys)
    try:
        roots = Roots(public_keys, payload.threshold)
    except ValueError as error:
        raise field_error("public_keys", str(error), "Correct the list of root keys.") from error
    registered = [each for each in map(key_id, public_keys) if each in state.keys]
    if registered:
        raise field_error(
            "public_keys",
            f"the key {registered[0][:16]}… is registered for somebody",
            "Make new keys for the roots.",
        )
    all_keys = state.root_keys | {key_id(each): each for each in public_keys}
    check_all_by(all_keys, envelope, state.verify)
    check_threshold(state.roots, envelope)
    check_threshold(roots, envelope)


def judge_log_key(state: State, payload: LogKeyRotated) -> None:
    """Check that the new key is one, named as the ledger, and not that in use.

    Raises:
        RefusedError, ConflictError: the rule that it breaks.
    """
    try:
        key = VerifierKey.parse(payload.log_vkey)
    except InputError as error:
        raise field_error("log_vkey", error.message, error.advice) from error
    if key.name != state.origin:
        raise field_error(
            "log_vkey",
            f"the key is named {key.name}, and the ledger is {state.origin}",
            "Name the log's key as the ledger (C2SP tlog-checkpoint).",
        )
    if payload.log_vkey == state.log_vkey:
        raise ConflictError(
            f"entry {state.log_key_index} put this key in force already",
            advice="Nothing needs to be done.",
            field="log_vkey",
        )


def judge_key(state: State, payload: KeyRegistered, recorded_at_ms: int) -> None:
    """Check that a key is new and its registration says one thing about one holder.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
    identity = key_id(bytes.fromhex(payload.public_key))
    if identity in state.keys or identity in state.root_keys:
        raise ConflictError(
            f"the key {identity[:16]}… is registered already",
            advice="Make a new key: a key has one holder and one role for ever.",
            field="public_key",
        )
    if is_small_order(bytes.fromhex(payload.public_key)):
        raise field_error(
            "public_key", "anyone can sign under this key", "Make a key with: enforcer key new FILE"
        )
    is_machine = payload.role in MACHINE_ROLES
    if (payload.person_id is None) != is_machine or (payload.machine_id is None) == is_machine:
        raise field_error(
            "machine_id" if is_machine else "person_id",
            f"{payload.role.name} is the role of a {'machine' if is_machine else 'person'}",
            "Give person_id for a person, machine_id for a machine, and never both.",
        )
    if payload.role in ORDERING_ROLES:
        if payload.authority is None or not payload.categories or not payload.territories:
            raise field_error(
                "authority",
                f"{payload.role.name} needs an authority, categories and territories",
                "Name what the person may act for.",
            )
    elif payload.authority is not None or payload.categories:
        raise field_error(
            "authority",
            f"{payload.role.name} acts for no authority and no category",
            "Leave authority null and categories empty.",
        )
    if (payload.operator is None) == (payload.role in OPERATOR_ROLES):
        raise field_error(
            "operator",
            f"{payload.role.name} "
            + ("belongs to a network" if payload.operator is None else "belongs to no network"),
            "Name the operator of a node's or safety officer's network, and no other role's.",
        )
    _check_encryption_key(payload)
    if payload.not_after_ms <= recorded_at_ms:
        raise field_error("not_after_ms", "the registration would have ended", "Give a later end.")
    if payload.not_after_ms > recorded_at_ms + KEY_DAYS_MAX * DAY_MS:
        raise field_error(
            "not_after_ms",
            f"the registration would last over {KEY_DAYS_MAX} days",
            "Give an earlier end, and register the holder again in time.",
        )


def _check_encryption_key(payload: KeyRegistered) -> None:
    reads = payload.role in READING_ROLES
    if (payload.encryption_key is not None) != reads:
        raise field_error(
            "encryption_key",
            f"{payload.role.name} opens " + ("sealed lists" if reads else "no sealed list"),
            "Give the age recipient of a node, oversight or control plane, and of nobody else.",
        )
    if payload.encryption_key is not None:
        try:
            age.check_recipient(payload.encryption_key)
        except InputError as error:
            raise field_error("encryption_key", error.message, error.advice) from error


def judge_revocation(state: State, payload: KeyRevoked) -> None:
    """Check that a registered key, not yet revoked, is named.

    Raises:
        RefusedError, ConflictError, NotFoundError: the rule that it breaks.
    """
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
        raise field_error(
            "compromised_since_index",
            f"{since} is beyond the ledger's {state.size} entries",
            "Name an entry that exists.",
        )
