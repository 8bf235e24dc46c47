"""Ed25519 keys on disk, by `cryptography`: PEM, PKCS #8, readable by their owner alone.

`verify` is the check that the pure core takes as a function. A key file that others can
read is refused: somebody else may have signed with it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from enforcer.core.envelope import key_id
from enforcer.errors import ConflictError, InputError, NotFoundError, UnavailableError

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


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
    def load(cls, path: Path) -> PrivateKey:
        """Read a key file.

        Raises:
            NotFoundError: there is none.
            InputError: it is no Ed25519 key in PEM, or others than its owner can read it.
        """
        try:
            if path.stat().st_mode & OTHERS:
                raise InputError(
                    f"the key file {path} can be read by others",
                    advice=f"Run: chmod 600 {path} - and replace the key if others may have it.",
                    path=str(path),
                )
            key = load_pem_private_key(path.read_bytes(), password=None)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"there is no key file {path}",
                advice="Make one with: enforcer key new FILE",
                path=str(path),
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"the key file {path} cannot be read: {error.strerror}",
                advice="Check its owner and rights.",
                path=str(path),
            ) from error
        except (ValueError, TypeError) as error:
            raise _not_a_key(path) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise _not_a_key(path)
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key file, mode 600.

        Raises:
            ConflictError: the file exists; a key is never overwritten.
        """
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise ConflictError(
                f"{path} exists already",
                advice="Choose another file: a key is never overwritten.",
                path=str(path),
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be written: {error.strerror}",
                advice="Check that the folder exists and can be written.",
                path=str(path),
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())

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


def _not_a_key(path: Path) -> InputError:
    return InputError(
        f"{path} is no Ed25519 private key in PEM",
        advice="Make one with: enforcer key new FILE",
        path=str(path),
    )
