"""The holder's side of a certificate: whom it names, the key that it is for, and the request.

A key never leaves its file; what is sent to the authority is a request that the key signed.
Refuses a request that its own key did not sign. The names in a request are not read: what a
certificate says is up to who signs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from enforcer.backends import key_files
from enforcer.core.key import Role
from enforcer.errors import InputError

SCHEME: Final = "spiffe://"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate is for: a role and a person's or machine's id, in one installation."""

    origin: str
    role: Role
    identity: str

    @property
    def domain(self) -> str:
        """The trust domain: the origin up to its first '/'."""
        return self.origin.partition("/")[0]

    @property
    def uri(self) -> str:
        """The one URI name."""
        role = self.role.name.lower().replace("_", "-")
        return f"{SCHEME}{self.domain}/{role}/{self.identity}"


def new_key(path: Path, passphrase: bytes | None = None) -> EllipticCurvePrivateKey:
    """Make a P-256 key and write it to `path`, mode 600.

    Raises:
        ConflictError: the file exists; a key is never overwritten.
        UnavailableError: it cannot be written.
        InputError: the passphrase is too short or too long.
    """
    key = generate_private_key(SECP256R1())
    key_files.save(path, key, passphrase)
    return key


def load_key(path: Path, passphrase: bytes | None = None) -> EllipticCurvePrivateKey:
    """Read a P-256 key.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        PassphraseError: it is encrypted, and that is not its passphrase.
        InputError: it is no such key, or others can read it.
    """
    return key_files.load(path, EllipticCurvePrivateKey, "P-256 private key", passphrase)


def request(holder: Holder, key: EllipticCurvePrivateKey) -> str:
    """Return a certificate signing request in PEM: the key's word that it wants this name."""
    built = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(common_name(holder.identity))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(holder.uri)]),
            critical=False,
        )
        .sign(key, SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode("ascii")


def key_of_request(pem: str) -> EllipticCurvePublicKey:
    """Return the key that a certificate signing request is for.

    Raises:
        InputError: it is no request, or its own key did not sign it.
    """
    try:
        read = x509.load_pem_x509_csr(pem.encode("ascii"))
        is_signed, key = read.is_signature_valid, read.public_key()
    except (ValueError, InvalidSignature) as error:
        raise _bad_request("is none in PEM") from error
    if not is_signed:
        raise _bad_request("is not signed by its own key")
    if not isinstance(key, EllipticCurvePublicKey):
        raise _bad_request("is not for a P-256 key")
    return key


def common_name(text: str) -> x509.Name:
    """Return a name of this one part, cut to what X.520 allows."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _bad_request(problem: str) -> InputError:
    return InputError(
        f"the certificate signing request {problem}",
        advice="Have the holder make it again: enforcer key request",
        field="certificate_request",
    )
