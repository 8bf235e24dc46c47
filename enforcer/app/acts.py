"""Acts on their way to the ledger: made, signed by one person after another, kept in a file.

An act's file is its envelope's one spelling and a newline; before the first signature the list of
signatures is empty. Adding a signature never changes the payload that the others signed.
"""

from __future__ import annotations

import secrets
from base64 import b64decode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from enforcer.backends import durable
from enforcer.core import envelope as dsse
from enforcer.core import fields
from enforcer.core.entry import AnyPayload, parse_payload
from enforcer.core.envelope import Envelope, Signature
from enforcer.core.payload import Payload
from enforcer.core.policy import DAY_MS
from enforcer.errors import ConflictError, InputError

ACT_BYTES_MAX: Final = 65_536
VALIDITY_DAYS: Final = 7
SALT_BYTES: Final = 32


class Key(Protocol):
    """A private key that signs acts."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the public key, in hex."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 octets."""


@dataclass(frozen=True, slots=True)
class Common:
    """What every payload carries; a new request id each time."""

    ledger_origin: str
    request_id: str
    valid_until_ms: int

    @classmethod
    def new(cls, origin: str, now_ms: int) -> Common:
        """Return it for an act that is made now; there is a week to record it."""
        return cls(origin, secrets.token_urlsafe(24), now_ms + VALIDITY_DAYS * DAY_MS)


def unsigned(payload: Payload) -> Envelope:
    """Return the act that nobody has signed yet.

    Raises:
        InputError: a field is out of its bounds.
    """
    made = Envelope(payload.TYPE, fields.dump(payload), ())
    parse_payload(made)  # what people give comes in through here
    return made


def add_signature(act: Envelope, key: Key) -> Envelope:
    """Return the act with one signature more.

    Raises:
        ConflictError: the key has signed it already.
    """
    if any(signature.key_id == key.key_id for signature in act.signatures):
        raise ConflictError(
            f"the key {key.key_id[:16]}… has signed this act already",
            advice="Have another person sign it with another key.",
            key_id=key.key_id,
        )
    signatures = (*act.signatures, Signature(key.key_id, key.sign(act.message)))
    # The one spelling has them by key id, whoever signed first.
    return replace(act, signatures=tuple(sorted(signatures, key=lambda each: each.key_id)))


def signed(payload: Payload, *keys: Key) -> Envelope:
    """Return the act signed by each of `keys`.

    Raises:
        InputError: a field is out of its bounds.
    """
    act = unsigned(payload)
    for key in keys:
        act = add_signature(act, key)
    return act


def write_act(path: Path, act: Envelope) -> None:
    """Write an act's file, durably, in place of an older one.

    Raises:
        UnavailableError: it cannot be written.
    """
    durable.write_file(path, dsse.format_envelope(act) + b"\n")


def write_stop(path: Path, act: Envelope) -> None:
    """Write a signed stop as nodes take it from a drop: its one spelling, and nothing else.

    Raises:
        UnavailableError: it cannot be written.
    """
    durable.write_file(path, dsse.format_envelope(act))


def read_act(path: Path) -> tuple[Envelope, AnyPayload]:
    """Read an act's file, and its payload.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is no act.
    """
    data = durable.read_file(path, size_bytes_max=ACT_BYTES_MAX).strip()
    plain = fields.load(data, "act")
    if plain.get("signatures") != []:
        act = dsse.parse_envelope(data)
    else:
        try:
            kind, payload = plain["payloadType"], plain["payload"]
            act = Envelope(str(kind), b64decode(str(payload), validate=True), ())
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path} is no act",
                advice="Name a file that `enforcer trust` or `enforcer order extend` wrote.",
                path=str(path),
            ) from error
    return act, parse_payload(act)


def side_file(content: bytes) -> bytes:
    """Return a document with its salt before it, so that its hash does not give it away."""
    return secrets.token_bytes(SALT_BYTES) + content
