"""Signed envelopes: DSSE v1 with Ed25519 (secure-systems-lab/dsse protocol.md, RFC 8032).

The signature covers the pre-authentication encoding of payload type and exact payload bytes,
so nothing is ever re-serialised to be verified. A key's id is the SHA-256 of its 32 raw
octets, in hex. One content has one spelling: what does not encode back to the same
bytes is refused, so a leaf or a request cannot be varied without breaking its hash.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, TypeAlias

from enforcer.core import fields
from enforcer.core.fields import Items, Json, Sha256, Text
from enforcer.errors import InputError

PAYLOAD_BYTES_MAX: Final = 45_000  # in base64 and with its signatures it fits a 65,535-byte entry
SIGNATURES_MAX: Final = 16
SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32

Verify: TypeAlias = Callable[[bytes, bytes, bytes], bool]
"""Ed25519 check: (public key, 32 octets; message; signature, 64 octets) -> is it valid."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature and the id of the key that is said to have made it."""

    key_id: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload of some type and the signatures over both; nothing in it is verified yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def message(self) -> bytes:
        """What the signatures cover."""
        return pae(self.payload_type, self.payload)

    @property
    def payload_sha256(self) -> str:
        """The hash by which later acts name this payload, in hex."""
        return sha256(self.payload).hexdigest()


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding (protocol.md, "Signature Definition")."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def key_id(public_key: bytes) -> str:
    """Return the id of a raw Ed25519 public key: its SHA-256 in hex."""
    return sha256(public_key).hexdigest()


def sign(
    payload_type: str, payload: bytes, signers: Sequence[tuple[str, Callable[[bytes], bytes]]]
) -> Envelope:
    """Return the envelope signed by each of `signers`, given as (key id, signing function)."""
    message = pae(payload_type, payload)
    signatures = tuple(Signature(identity, sign_with(message)) for identity, sign_with in signers)
    by_key_id = sorted(signatures, key=lambda signature: signature.key_id)
    return Envelope(payload_type, payload, tuple(by_key_id))


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope from its JSON.

    Raises:
        InputError: not the one spelling that :func:`format_envelope` gives, or over a bound.
    """
    envelope = from_plain(fields.load(data, "envelope"))
    if format_envelope(envelope) != data:
        raise InputError(
            "the envelope is not in its canonical spelling",
            advice="Send payloadType, payload, signatures in this order, compact, base64 padded.",
            field="envelope",
        )
    return envelope


def format_envelope(envelope: Envelope) -> bytes:
    """Write the envelope in its one spelling: compact JSON, standard padded base64."""
    return fields.dump_plain(to_plain(envelope))


def to_plain(envelope: Envelope) -> dict[str, Json]:
    """Return the envelope as plain JSON values, DSSE's names."""
    return {
        "payloadType": envelope.payload_type,
        "payload": b64encode(envelope.payload).decode("ascii"),
        "signatures": [
            {"keyid": signature.key_id, "sig": b64encode(signature.octets).decode("ascii")}
            for signature in envelope.signatures
        ],
    }


def from_plain(value: Json) -> Envelope:
    """Read an envelope from plain JSON values.

    Raises:
        InputError: with ``data["field"]``.
    """
    wire = fields.read(_WireEnvelope, value, "envelope")
    signatures = tuple(
        Signature(part.keyid, _octets(part.sig, f"signatures[{at}].sig"))
        for at, part in enumerate(wire.signatures)
    )
    for at, signature in enumerate(signatures):
        if len(signature.octets) != SIGNATURE_BYTES:
            raise _error(f"signatures[{at}].sig", f"has {len(signature.octets)} octets, not 64")
    key_ids = [signature.key_id for signature in signatures]
    if key_ids != sorted(set(key_ids)):
        raise _error("signatures", "names a key twice, or not in ascending order of keyid")
    payload = _octets(wire.payload, "payload")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise _error("payload", f"has {len(payload)} bytes, over {PAYLOAD_BYTES_MAX}")
    return Envelope(wire.payloadType, payload, signatures)


@dataclass(frozen=True, slots=True)
class _WireSignature:
    keyid: Sha256
    sig: Annotated[str, Text(100)]


@dataclass(frozen=True, slots=True)
class _WireEnvelope:
    payloadType: Annotated[str, Text(100, "[!-~]+", "a media type")]  # noqa: N815 - DSSE's name
    payload: Annotated[str, Text(65_535)]
    signatures: Annotated[tuple[_WireSignature, ...], Items(1, SIGNATURES_MAX)]


def _octets(text: str, field: str) -> bytes:
    try:
        octets = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _error(field, "is not base64") from error
    if b64encode(octets).decode("ascii") != text:
        raise _error(field, "is not canonical base64")
    return octets


def _error(field: str, problem: str) -> InputError:
    return InputError(
        f"envelope: field {field!r} {problem}",
        advice=f"Correct the field {field!r} and sign again.",
        field=field,
    )
