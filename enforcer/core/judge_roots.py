"""The rules for what the roots do: adopt a policy, register and revoke keys.

The root threshold has been checked before; the rules here bind the roots themselves. A
policy can only narrow what the code allows.
"""

from __future__ import annotations

from typing import Final

from enforcer.core.ed25519 import is_small_order
from enforcer.core.envelope import key_id
from enforcer.core.key import MACHINE_ROLES, ORDERING_ROLES, KeyRegistered, KeyRevoked
from enforcer.core.policy import (
    DAY_MS,
    FOLD_VERSION,
    LIFETIME_DAYS_MAX_BY_CATEGORY,
    LIFETIME_DAYS_MAX_BY_KIND,
    PolicyAdopted,
)
from enforcer.core.signing import field_error
from enforcer.core.state import State
from enforcer.errors import ConflictError, IntegrityError, NotFoundError, RefusedError

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
    if payload.not_after_ms <= recorded_at_ms:
        raise field_error("not_after_ms", "the registration would have ended", "Give a later end.")
    if payload.not_after_ms > recorded_at_ms + KEY_DAYS_MAX * DAY_MS:
        raise field_error(
            "not_after_ms",
            f"the registration would last over {KEY_DAYS_MAX} days",
            "Give an earlier end, and register the holder again in time.",
        )


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
