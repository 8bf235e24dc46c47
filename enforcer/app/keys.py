"""Keys and certificates as people make them: a signing key, a request, a certificate for it.

Private keys are made where they stay. What leaves is a request file: the public key for the roots
to register, and a certificate signing request for the installation's authority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from enforcer.app.acts import Common
from enforcer.backends import durable, pki
from enforcer.backends.keys import PrivateKey
from enforcer.core import fields
from enforcer.core.cosignature import CosignerKey
from enforcer.core.fields import Identifier, Items, Line
from enforcer.core.guard_data import check_text
from enforcer.core.key import (
    MACHINE_ROLES,
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
    certificate_request: Annotated[tuple[Line, ...], Items(1, 64)]
    """PEM, line by line."""

    @property
    def holder(self) -> pki.Holder:
        """Whom the certificate is to name."""
        return pki.Holder(self.ledger_origin, self.role, self.identity)

    @property
    def is_machine(self) -> bool:
        """Tell whether a machine is to hold the key."""
        return self.role in MACHINE_ROLES


def new_key(path: Path) -> PrivateKey:
    """Make a signing key and write it to `path`, mode 600.

    Raises:
        ConflictError: the file exists.
        UnavailableError: it cannot be written.
    """
    key = PrivateKey.generate()
    key.save(path)
    return key


def load_key(path: Path) -> PrivateKey:
    """Read a signing key.

    Raises:
        NotFoundError, InputError, UnavailableError: as :meth:`PrivateKey.load`.
    """
    return PrivateKey.load(path)


def witness_vkey(name: str, key: PrivateKey) -> str:
    """Return how a trust file names the witness that cosigns with a key (C2SP tlog-cosignature).

    Raises:
        InputError: the name cannot name a key.
    """
    return CosignerKey(name, key.public_key).text


def tls_key_path(signing_key: Path) -> Path:
    """Return where the TLS key that belongs to a signing key is."""
    return signing_key.with_suffix(".tls.key")


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
) -> KeyRequest:
    """Return the request for the key in `key_file`; its TLS key is made beside it if need be.

    Raises:
        InputError: a field is out of its bounds.
        NotFoundError, UnavailableError: the key cannot be read.
    """
    signing = load_key(key_file)
    holder = pki.Holder(origin, role, identity)
    tls_file = tls_key_path(key_file)
    tls = pki.load_key(tls_file) if tls_file.exists() else pki.new_key(tls_file)
    made = KeyRequest(
        ledger_origin=origin,
        role=role,
        identity=identity,
        authority=authority,
        operator=operator,
        categories=tuple(categories),
        territories=tuple(territories),
        public_key=signing.public_key.hex(),
        certificate_request=tuple(pki.request(holder, tls).strip().split("\n")),
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
    )


def certify(
    request: KeyRequest, authority: pki.Authority, *, hosts: Sequence[str] = (), days: int
) -> bytes:
    """Return the certificate that a request asks for, in PEM.

    Raises:
        InputError: the certificate request is not signed by its key, or names cannot stand.
    """
    key = pki.key_of_request("\n".join([*request.certificate_request, ""]))
    return authority.issue(request.holder, key, hosts=hosts, days=days)


def load_authority(directory: Path) -> pki.Authority:
    """Read the installation's certificate authority from its directory.

    Raises:
        NotFoundError, UnavailableError, InputError: as :meth:`pki.Authority.load`.
    """
    return pki.Authority.load(directory / "ca.crt", directory / "ca.key")


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
