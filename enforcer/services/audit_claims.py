"""Attestations as they were kept: read, of the size that their names say, not verified yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from enforcer.core.attestation import Attestation, parse_attestation
from enforcer.core.envelope import Envelope, parse_envelope
from enforcer.core.key import Role
from enforcer.core.state import State
from enforcer.errors import EnforcerError, NotFoundError
from enforcer.services.findings import Code, Finding


@dataclass(frozen=True, slots=True)
class KeptAttestation:
    """Where an attestation lies, and the ledger size that its name says it is for."""

    place: str
    ledger_size: int
    read: Callable[[], bytes]
    """Return its envelope; may raise EnforcerError."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An attestation as it was read; nothing in it is verified yet."""

    place: str
    envelope: Envelope
    attestation: Attestation

    @property
    def key_id(self) -> str:
        """The key of the first signature; every envelope has one."""
        return self.envelope.signatures[0].key_id


def read_claim(kept: KeptAttestation) -> Claim | Finding:
    """Return what an attestation claims, or what is wrong with its file."""
    try:
        envelope = parse_envelope(kept.read())
        attestation = parse_attestation(envelope)
    except NotFoundError:  # a live control plane keeps a node's newest, and drops the oldest
        words = "it made room for newer ones while the audit ran"
        return Finding(Code.ATTESTATION_GONE, words, place=kept.place)
    except EnforcerError as error:
        return Finding(Code.ATTESTATION_UNREADABLE, error.message, place=kept.place)
    if attestation.ledger_size != kept.ledger_size:
        return Finding(
            Code.ATTESTATION_UNREADABLE,
            f"it is for size {attestation.ledger_size}, its name says {kept.ledger_size}",
            place=kept.place,
        )
    return Claim(kept.place, envelope, attestation)


def forged(state: State, claim: Claim) -> str | None:
    """Say why the signature is not the one of the node's registered key; None: it is."""
    attestation, envelope = claim.attestation, claim.envelope
    record = state.keys.get(claim.key_id)
    if attestation.ledger_origin != state.origin:
        return f"it is about the ledger {attestation.ledger_origin}"
    if len(envelope.signatures) != 1:
        return f"it has {len(envelope.signatures)} signatures"
    if record is None:
        return f"its key {claim.key_id[:16]}… is not registered"
    registered = (record.registration.role, record.registration.machine_id)
    if registered != (Role.NODE, attestation.node_id):
        return f"its key is not that of the node {attestation.node_id}"
    if attestation.t_ms > record.registration.not_after_ms:
        return "the registration of its key had ended"
    if not state.verify(record.public_key, envelope.message, envelope.signatures[0].octets):
        return "its signature is not valid"
    return None


def operator_of(state: State, claim: Claim) -> str | None:
    """Return whose network the node that signed belongs to, as the roots registered it."""
    record = state.keys.get(claim.key_id)
    return record.registration.operator if record is not None else None
