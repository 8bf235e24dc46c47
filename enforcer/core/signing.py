"""Whose signatures an act carries, each checked against the registered keys.

What passes here is a person or machine that was registered, has not been revoked, has not
ended, and did sign these bytes; what that person may do is for the rules to say.
"""

from __future__ import annotations

from collections.abc import Mapping

from enforcer.core.envelope import Envelope, Signature, Verify, key_id
from enforcer.core.state import KeyRecord, Roots, State
from enforcer.errors import RefusedError


def check_roots(state: State, envelope: Envelope) -> None:
    """Check that all signatures are by root keys, valid, and as many as the threshold.

    Raises:
        RefusedError: one is not, or there are too few.
    """
    check_all_by(state.root_keys, envelope, state.verify)
    check_threshold(state.roots, envelope)


def check_all_by(public_keys: Mapping[str, bytes], envelope: Envelope, verify: Verify) -> None:
    """Check that every signature is valid and by one of `public_keys` (key id -> raw octets).

    Raises:
        RefusedError: one is not.
    """
    for signature in envelope.signatures:
        public_key = public_keys.get(signature.key_id)
        if public_key is None:
            raise _signature_error(signature.key_id, "is by no root key")
        if not verify(public_key, envelope.message, signature.octets):
            raise _signature_error(signature.key_id, "is not valid")


def check_threshold(roots: Roots, envelope: Envelope) -> None:
    """Check that as many of `roots` signed as must; their signatures have been verified.

    Raises:
        RefusedError: too few did.
    """
    key_ids = {key_id(public_key) for public_key in roots.public_keys}
    count = sum(signature.key_id in key_ids for signature in envelope.signatures)
    if count < roots.threshold:
        raise RefusedError(
            f"{count} root keys signed, and {roots.threshold} must",
            advice="Collect the missing root signatures over the same payload.",
            field="signatures",
        )


def signers(state: State, envelope: Envelope, t_ms: int) -> tuple[KeyRecord, ...]:
    """Return the registered keys that signed, in order; none may be unknown, ended or invalid.

    Raises:
        RefusedError: with the ``key_id`` that is wrong.
    """
    for signature in envelope.signatures:
        record = _registered(state, signature)
        if record.revoked_index is not None:
            raise _signature_error(
                signature.key_id, f"is by a key that entry {record.revoked_index} revoked"
            )
        if t_ms > record.registration.not_after_ms:
            raise _signature_error(signature.key_id, "is by a key whose registration has ended")
    return _who_signed(state, envelope)


def only_signer(state: State, envelope: Envelope, t_ms: int) -> KeyRecord:
    """Return the key of the one person who signed.

    Raises:
        RefusedError: several signed, or the one may not.
    """
    return _only(signers(state, envelope, t_ms))


def past_signer(state: State, envelope: Envelope) -> KeyRecord:
    """Return the key of the one person who signed, even if it was revoked or has ended since.

    Raises:
        RefusedError: several signed, or the one did not, or never was registered.
    """
    return _only(_who_signed(state, envelope))


def _only(records: tuple[KeyRecord, ...]) -> KeyRecord:
    if len(records) != 1:
        raise RefusedError(
            f"the act has {len(records)} signatures, and takes one",
            advice="Send the act with the signature of the one person whose act it is.",
            field="signatures",
        )
    return records[0]


def _who_signed(state: State, envelope: Envelope) -> tuple[KeyRecord, ...]:
    """Return the keys that signed, in order, each signature verified."""
    records = []
    for signature in envelope.signatures:
        record = _registered(state, signature)
        if not state.verify(record.public_key, envelope.message, signature.octets):
            raise _signature_error(signature.key_id, "is not valid")
        records.append(record)
    return tuple(records)


def _registered(state: State, signature: Signature) -> KeyRecord:
    record = state.keys.get(signature.key_id)
    if record is None:
        raise _signature_error(signature.key_id, "is by a key that is not registered")
    return record


def _signature_error(identity: str, problem: str) -> RefusedError:
    return RefusedError(
        f"the signature of key {identity[:16]}… {problem}",
        advice="Sign with a key that is registered for this act and has not ended.",
        field="signatures",
        key_id=identity,
    )


def field_error(field: str, problem: str, advice: str) -> RefusedError:
    """Return the refusal of one field."""
    return RefusedError(problem, advice=advice, field=field)
