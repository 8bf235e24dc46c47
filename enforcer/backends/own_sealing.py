"""Sealing as one process does it, with its own encryption key: :class:`enforcer.ports.Sealing`."""

from __future__ import annotations

from enforcer.backends import sealing
from enforcer.backends.keys import EncryptionKey


class OwnSealing:
    """Seals and wraps for anybody; unwraps what was wrapped for its own key."""

    def __init__(self, key: EncryptionKey) -> None:
        self._key = key

    @property
    def recipient(self) -> str:
        """What others wrap for."""
        return self._key.recipient

    def seal(self, plaintext: bytes, recipient: str) -> bytes:
        """Return `plaintext` sealed for one recipient; raises as :func:`sealing.seal`."""
        return sealing.seal(plaintext, recipient)

    def wrap(self, secret: str, recipient: str) -> bytes:
        """Return a list identity's secret for one receiver; raises as :func:`sealing.wrap`."""
        return sealing.wrap(secret, recipient)

    def unwrap(self, document: bytes) -> str:
        """Return the secret in a wrap for this key; raises as :func:`sealing.unwrap`."""
        return sealing.unwrap(document, self._key.secret)

    def is_for(self, head: bytes, secret: str) -> bool:
        """Tell whether a sealed list is for the identity with this secret, by its beginning."""
        return sealing.is_for(head, secret)
