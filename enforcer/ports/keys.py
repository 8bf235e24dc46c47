"""Private keys, which never leave their objects: what signs, what opens, what seals."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A private Ed25519 key that never leaves the object."""

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 octets."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 octets (RFC 8032)."""


class Receiver(Protocol):
    """A registered key's private encryption key, which never leaves the object."""

    @property
    def key_id(self) -> str:
        """The id of the registered key that it belongs to: wraps are named by it."""

    def unwrap(self, document: bytes) -> str:
        """Return the secret of the list identity in a wrap.

        Raises:
            IntegrityError: it is no wrap, or for another receiver.
        """


class Sealing(Protocol):
    """Age files (C2SP age.md), made by whoever also has an encryption key of its own."""

    @property
    def recipient(self) -> str:
        """What others wrap for this one."""

    def seal(self, plaintext: bytes, recipient: str) -> bytes:
        """Return `plaintext` sealed for one recipient."""

    def wrap(self, secret: str, recipient: str) -> bytes:
        """Return a list identity's secret, wrapped for one receiver.

        Raises:
            InputError: the secret or the recipient is not one.
        """

    def unwrap(self, document: bytes) -> str:
        """Return the secret in a wrap for this one.

        Raises:
            IntegrityError: it was wrapped for another, or is none.
        """

    def is_for(self, head: bytes, secret: str) -> bool:
        """Tell by a sealed list's first 4,096 octets whether this is the secret that opens it."""
