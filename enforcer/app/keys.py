"""Keys and certificates as people make them: a signing key, a request, a certificate for it.

Private keys are made where they stay, a person's under a passphrase. What leaves is a request file:
the public key for the roots to register, and a certificate signing request for the authority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enforcer.app.acts import Common
from enforcer.app.passphrase import Passphrases
from enforcer.backends import certificate_request, durable, key_files
from enforcer.backends.certificate_request import Holder
from enforcer.backends.keys import EncryptionKey, PrivateKey
from enforcer.core import fields
from enforcer.core.age import Recipient
from enforcer.core.cosignature import CosignerKey
from enforcer.core.fields import Identifier, Items, Line
from enforcer.core.guard_data import check_text
from enforcer.core.key import (
    MACHINE_ROLES,
    READING_ROLES,
    Category,
    KeyRegistered,
    PublicKeyHex,
    Role,
    Territory,
)
from enforcer.core.payload import Origin
from enforcer.errors import InputError, IntegrityError

REQUEST_BYTES_MAX: Final = 65_535
LIST_BYTES_MAX: Final = 64 << 20
_KINDS: Final = (Ed25519PrivateKey, EllipticCurvePrivateKey, X25519PrivateKey)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What the holder of a new key asks for; nothing in it counts before roots have signed."""

    ledger_origin: Origin
    role: Role
    identity: Identifier
    """The person's or machine's id."""
    authority: Identifier | None
    operator: Identifier | None
    categories: Annotated[tuple[Category, ...], Items(0, 7)]
    territories: Annotated[tuple[Territory, ...], Items(0, 64)]
    public_key: PublicKeyHex
    encryption_key: Recipient | None
    """Where lists are opened: by nodes, oversight and the control plane."""
    certificate_request: Annotated[tuple[Line, ...], Items(1, 64)]
    """PEM, line by line."""

    @property
    def holder(self) -> Holder:
        """Whom the certificate is to name."""
        return Holder(self.ledger_origin, self.role, self.identity)

    @property
    def is_machine(self) -> bool:
        """Tell whether a machine is to hold the key."""
        return self.role in MACHINE_ROLES


def new_key(path: Path, passphrases: Passphrases | None = None) -> PrivateKey:
    """Make a signing key and write it to `path`, mode 600, under a passphrase if it can be asked.

    Raises:
        ConflictError: the file exists.
        UnavailableError: it cannot be written.
        InputError: the passphrase is too short, or nobody can be asked.
    """
    check_absent(path)
    key = PrivateKey.generate()
    key.save(path, None if passphrases is None else passphrases.choose(path))
    return key


def load_key(path: Path, passphrases: Passphrases | None = None) -> PrivateKey:
    """Read a person's signing key, and ask for its passphrase where it has one.

    Raises:
        NotFoundError, InputError, UnavailableError: as :meth:`PrivateKey.load`.
        PassphraseError: it was not given.
    """
    asking = passphrases or Passphrases()
    return asking.open(path, lambda told: PrivateKey.load(path, told))


def change_passphrase(path: Path, passphrases: Passphrases, *, remove: bool) -> None:
    """Put a signing, TLS or encryption key under another passphrase, or under none.

    Raises:
        NotFoundError, InputError, UnavailableError: as :func:`load_key`; the file is as it was.
    """
    key = passphrases.open(
        path,
        lambda told: key_files.load(path, _KINDS, "Ed25519, X25519 or P-256 private key", told),
    )
    chosen = None if remove else passphrases.choose(path, anew=True)
    key_files.rewrite(path, key, chosen)


def has_passphrase(path: Path) -> bool:
    """Tell whether a key file is encrypted.

    Raises:
        NotFoundError, InputError, UnavailableError: as :func:`load_key`.
    """
    return key_files.is_encrypted(key_files.read_private(path))


def check_absent(path: Path) -> None:
    """Refuse a file that is there, before anybody is asked for its passphrase.

    Raises:
        ConflictError: it is there.
    """
    if path.exists():
        raise key_files.exists_already(path)


def witness_vkey(name: str, key: PrivateKey) -> str:
    """Return how a trust file names the witness that cosigns with a key (C2SP tlog-cosignature).

    Raises:
        InputError: the name cannot name a key.
    """
    return CosignerKey(name, key.public_key).text


def tls_key_path(signing_key: Path) -> Path:
    """Return where the TLS key that belongs to a signing key is."""
    return signing_key.with_suffix(".tls.key")


def encryption_key_path(signing_key: Path) -> Path:
    """Return where the encryption key that belongs to a signing key is."""
    return signing_key.with_suffix(".age.key")


def load_encryption_key(path: Path, passphrases: Passphrases | None = None) -> EncryptionKey:
    """Read an encryption key, and ask for its passphrase where it has one.

    Raises:
        NotFoundError, InputError, UnavailableError: as :meth:`PrivateKey.load`.
        PassphraseError: it was not given.
    """
    asking = passphrases or Passphrases()
    return asking.open(path, lambda told: EncryptionKey.load(path, told))


def make_request(
    key_file: Path,
    origin: str,
    role: Role,
    identity: str,
    *,
    authority: str | None = None,
    operator: str | None = None,
    categories: Sequence[Category] = (),
    territories: Sequence[str] = (),
    passphrases: Passphrases | None = None,
) -> KeyRequest:
    """Return the request for the key in `key_file`; others of its holder are made beside it.

    A TLS key for each role, an encryption key for those who open sealed lists.

    Raises:
        InputError: a field is out of its bounds, or a machine's key has a passphrase.
        NotFoundError, UnavailableError: the key cannot be read.
    """
    asking = passphrases or Passphrases()
    encrypted = has_passphrase(key_file)
    if encrypted and role in MACHINE_ROLES:
        raise InputError(
            f"the key file {key_file} has a passphrase, and a machine has nobody to ask",
            advice=f"Run: enforcer key passphrase {key_file} --remove",
            field="role",
        )
    signing = load_key(key_file, asking)
    holder = Holder(origin, role, identity)
    tls_file = tls_key_path(key_file)
    if tls_file.exists():
        tls = asking.open(tls_file, lambda told: certificate_request.load_key(tls_file, told))
    else:
        tls = certificate_request.new_key(tls_file, asking.choose(tls_file) if encrypted else None)
    encryption = None
    if role in READING_ROLES:
        encryption_file = encryption_key_path(key_file)
        if encryption_file.exists():
            encryption = load_encryption_key(encryption_file, asking)
        else:
            encryption = EncryptionKey.generate()
            encryption.save(encryption_file, asking.choose(encryption_file) if encrypted else None)
    made = KeyRequest(
        ledger_origin=origin,
        role=role,
        identity=identity,
        authority=authority,
        operator=operator,
        categories=tuple(categories),
        territories=tuple(territories),
        public_key=signing.public_key.hex(),
        encryption_key=None if encryption is None else encryption.recipient,
        certificate_request=tuple(certificate_request.request(holder, tls).strip().split("\n")),
    )
    return parse_request(format_request(made))


def format_request(request: KeyRequest) -> bytes:
    """Write a request file."""
    return fields.dump(request) + b"\n"


def parse_request(data: bytes) -> KeyRequest:
    """Read a request file.

    Raises:
        InputError: with ``data["field"]``.
    """
    return fields.read(KeyRequest, fields.load(data.strip(), "key request"), "key request")


def read_request(path: Path) -> KeyRequest:
    """Read the request file `path`.

    Raises:
        NotFoundError, UnavailableError, InputError: as its parts.
    """
    return parse_request(durable.read_file(path, size_bytes_max=REQUEST_BYTES_MAX))


def registration(request: KeyRequest, now_ms: int, not_after_ms: int) -> KeyRegistered:
    """Return the act that registers what a request asks for."""
    common = Common.new(request.ledger_origin, now_ms)
    return KeyRegistered(
        ledger_origin=common.ledger_origin,
        request_id=common.request_id,
        valid_until_ms=common.valid_until_ms,
        public_key=request.public_key,
        role=request.role,
        person_id=None if request.is_machine else request.identity,
        machine_id=request.identity if request.is_machine else None,
        authority=request.authority,
        operator=request.operator,
        categories=request.categories,
        territories=request.territories,
        not_after_ms=not_after_ms,
        encryption_key=request.encryption_key,
    )


def read_list(path: Path) -> bytes:
    """Read what a policy pins, such as the protected names, and check it.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is not canonical, with line and column.
    """
    data = durable.read_file(path, size_bytes_max=LIST_BYTES_MAX)
    check_text(data)
    return data


def read_document(path: Path, size_bytes_max: int) -> bytes:
    """Read a document that goes beside an act.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is larger, or empty.
    """
    try:
        data = durable.read_file(path, size_bytes_max=size_bytes_max)
    except IntegrityError as error:
        raise InputError(
            f"{path} has over {size_bytes_max} bytes",
            advice="Give a shorter document; put large evidence elsewhere and its hash in here.",
            path=str(path),
        ) from error
    if not data:
        raise InputError(f"{path} is empty", advice="Name the document.", path=str(path))
    return data


def write(path: Path, data: bytes) -> None:
    """Write a file that everybody may read, durably.

    Raises:
        UnavailableError: it cannot be written.
    """
    durable.write_file(path, data)
