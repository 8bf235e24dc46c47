"""Private keys on disk: PEM, PKCS #8, mode 600, under a passphrase or not.

Refuses a key file that others than its owner can read: somebody else may have used it. Never
overwrites a key; `rewrite` puts the same key under another passphrase, whole or not at all.
Machines' keys have to open by themselves and stand plain; what protects them is the mode.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from enforcer.backends import durable, pkcs8
from enforcer.errors import ConflictError, InputError, NotFoundError

KEY_BYTES_MAX: Final = 65_536
PASSPHRASE_CHARACTERS_MIN: Final = 12
PASSPHRASE_BYTES_MAX: Final = 1_024
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_ENCRYPTED: Final = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")

K = TypeVar("K", bound=PrivateKeyTypes)


class PassphraseError(InputError):
    """The key is encrypted, and not with the passphrase that was given, or none was."""


def load(
    path: Path, kinds: type[K] | tuple[type[K], ...], what: str, passphrase: bytes | None = None
) -> K:
    """Read a key of one of those kinds; `what` names them in words.

    Raises:
        NotFoundError: there is none.
        UnavailableError: it cannot be read.
        PassphraseError: it is encrypted, and that is not its passphrase.
        InputError: it is no such key, or others than its owner can read it.
    """
    pem = read_private(path)
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise PassphraseError(
            f"the key file {path} has a passphrase, and a program by itself has nobody to ask",
            advice=f"If it is a machine's key: enforcer key passphrase {path} --remove",
            path=str(path),
        )
    try:
        key = load_pem_private_key(pem, password=passphrase if encrypted else None)
    except (ValueError, TypeError) as error:
        if encrypted:
            raise PassphraseError(
                f"that is not the passphrase of {path}",
                advice="Give the one that was chosen when the key was made; nobody can restore it.",
                path=str(path),
            ) from error
        raise _no_key(path, what) from error
    if not isinstance(key, kinds):
        raise _no_key(path, what)
    return key


def save(path: Path, key: PrivateKeyTypes, passphrase: bytes | None = None) -> None:
    """Write a new key file, mode 600.

    Raises:
        ConflictError: the file exists; a key is never overwritten.
        UnavailableError: it cannot be written.
        InputError: the passphrase is too short or too long.
    """
    pem = format_key(key, passphrase)
    with durable.reporting(path, "write"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, durable.PRIVATE_MODE)
        except FileExistsError as error:
            raise exists_already(path) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    durable.sync_directory(path.parent)


def rewrite(path: Path, key: PrivateKeyTypes, passphrase: bytes | None) -> None:
    """Put the key that `path` holds under another passphrase, or under none.

    Raises:
        UnavailableError, InputError: as for :func:`save`; the file is as it was.
    """
    durable.write_file(path, format_key(key, passphrase), mode=durable.PRIVATE_MODE)


def format_key(key: PrivateKeyTypes, passphrase: bytes | None = None) -> bytes:
    """Return a key in PEM.

    Raises:
        InputError: the passphrase is too short or too long.
    """
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    check_passphrase(passphrase)
    return pkcs8.encrypt(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), passphrase
    )


def check_passphrase(passphrase: bytes) -> None:
    """Refuse a passphrase that protects nothing, or is a file given by mistake.

    Raises:
        InputError: it has under 12 characters or over 1,024 octets.
    """
    characters = len(passphrase.decode("utf-8", "replace"))
    if characters < PASSPHRASE_CHARACTERS_MIN or len(passphrase) > PASSPHRASE_BYTES_MAX:
        raise InputError(
            f"a passphrase has {PASSPHRASE_CHARACTERS_MIN} characters to "
            f"{PASSPHRASE_BYTES_MAX} octets, and this one has {characters} characters",
            advice="Take four or more words that have nothing to do with each other.",
            field="passphrase",
        )


def read_private(path: Path) -> bytes:
    """Return a file that only its owner may be able to read.

    Raises:
        NotFoundError: there is none.
        UnavailableError: it cannot be read.
        InputError: others than its owner can read it.
    """
    try:
        data = durable.read_file(path, size_bytes_max=KEY_BYTES_MAX)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no key file {path}",
            advice="Make one with: enforcer key new FILE",
            path=str(path),
        ) from error
    with durable.reporting(path, "look at"):
        mode = path.stat().st_mode
    if mode & OTHERS:
        raise InputError(
            f"the key file {path} can be read by others",
            advice=f"Run: chmod 600 {path} - and replace the key if others may have it.",
            path=str(path),
        )
    return data


def is_encrypted(pem: bytes) -> bool:
    """Tell whether a key in PEM has a passphrase."""
    return any(mark in pem for mark in _ENCRYPTED)


def exists_already(path: Path) -> ConflictError:
    """Return the error for a file where a new key was to be."""
    return ConflictError(
        f"{path} exists already",
        advice="Choose another file: a key is never overwritten.",
        path=str(path),
    )


def _no_key(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} is no {what} in PEM",
        advice="Name the right file, or make one: enforcer key new, enforcer pki issue --key",
        path=str(path),
    )
