"""Keys on disk, by `cryptography`: Ed25519 to sign, X25519 to open what is wrapped for the holder.

`verify` is the check that the pure core takes as a function. How a key file is kept, and when it
is refused, is said in `key_files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enforcer.backends import key_files
from enforcer.core import age
from enforcer.core.envelope import key_id


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is the key's over `message` (RFC 8032 §5.1.7)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class PrivateKey:
    """A private key in memory; it signs, and does not show itself."""

    _key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> PrivateKey:
        """Read a key file.

        Raises:
            NotFoundError: there is none.
            PassphraseError: it is encrypted, and that is not its passphrase.
            InputError: it is no Ed25519 key in PEM, or others than its owner can read it.
            UnavailableError: it cannot be read.
        """
        return cls(key_files.load(path, Ed25519PrivateKey, "Ed25519 private key", passphrase))

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write the key file, mode 600, encrypted where there is a passphrase.

        Raises:
            ConflictError: the file exists; a key is never overwritten.
            UnavailableError: it cannot be written.
            InputError: the passphrase is too short or too long.
        """
        key_files.save(path, self._key, passphrase)

    @cached_property
    def public_key(self) -> bytes:
        """The raw public key, 32 octets."""
        return self._key.public_key().public_bytes_raw()

    @cached_property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, in hex."""
        return key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 octets (RFC 8032 §5.1.6)."""
        return self._key.sign(message)


@dataclass(frozen=True)
class EncryptionKey:
    """A private X25519 key, which age calls an identity (C2SP age.md); it does not show itself."""

    _key: X25519PrivateKey

    def __repr__(self) -> str:
        """Name the recipient alone."""
        return f"EncryptionKey({self.recipient})"

    @classmethod
    def generate(cls) -> EncryptionKey:
        """Make a new key from the system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> EncryptionKey:
        """Read a key file; raises as :meth:`PrivateKey.load`."""
        return cls(key_files.load(path, X25519PrivateKey, "X25519 private key", passphrase))

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        """Write the key file; raises as :meth:`PrivateKey.save`."""
        key_files.save(path, self._key, passphrase)

    @cached_property
    def recipient(self) -> str:
        """What others seal for: ``age1…``."""
        public_key = self._key.public_key().public_bytes_raw()
        return age.encode(age.RECIPIENT_PREFIX, public_key)

    @property
    def secret(self) -> str:
        """What opens: ``AGE-SECRET-KEY-1…``."""
        return age.encode(age.SECRET_PREFIX, self._key.private_bytes_raw()).upper()
