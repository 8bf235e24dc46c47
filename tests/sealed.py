"""Sealed lists for tests: really sealed, and what an order says of them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from enforcer.backends import sealing
from enforcer.core.order import OrderRef, Publication, PublicationMode
from tests.people import Land, Person


@dataclass(frozen=True)
class SealedText:
    """A list that was sealed for an identity of its own."""

    text: bytes
    octets: bytes
    sha256: str
    sealed_sha256: str
    secret: str
    publication: Publication

    @classmethod
    def of(cls, text: bytes, mode: PublicationMode, publish_at_ms: int | None = None) -> SealedText:
        secret, recipient = sealing.new_identity()
        plaintext = sealing.new_salt() + text
        octets = sealing.seal(plaintext, recipient)
        sealed_sha256 = sha256(octets).hexdigest()
        due_ms = publish_at_ms if mode is PublicationMode.DELAYED else None
        return cls(
            text=text,
            octets=octets,
            sha256=sha256(plaintext).hexdigest(),
            sealed_sha256=sealed_sha256,
            secret=secret,
            publication=Publication(mode, due_ms, sealed_sha256, recipient),
        )

    def wrap(self, receiver: Person) -> bytes:
        """Wrap its secret for somebody who opens lists."""
        return self.wrap_for(receiver.encryption_key)

    def wrap_for(self, recipient: str) -> bytes:
        """Wrap its secret for whoever has this recipient's key."""
        return sealing.wrap(self.secret, recipient)

    def propose(self, land: Land, **changes: object) -> OrderRef:
        """Record the proposal of an order with this list."""
        fields: dict[str, object] = {
            "publication": self.publication,
            "target_list_sha256": self.sha256,
            "target_count": self.text.count(b"\n"),
        }
        return land.propose_hidden(self.publication.mode, **(fields | changes))

    def in_force(self, land: Land, **changes: object) -> OrderRef:
        """Record its proposal and its approval."""
        ref = self.propose(land, **changes)
        effect = land.approve(ref)
        assert effect.is_effective, effect.refusal
        return ref
