"""Certificates for mTLS, by `cryptography`: one small authority for each installation.

Owns: the authority's key and certificate, the keys and requests of its holders, and what a
certificate says: ECDSA P-256 (gRPC's TLS takes no Ed25519) and exactly one URI name,
``spiffe://<trust domain>/<role>/<id>``; servers have DNS and IP names besides. Refuses a request
that its own key did not sign, and an id that does not fit. A certificate lets somebody speak;
what may be done is always decided by signatures on the acts themselves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from enforcer.backends import durable
from enforcer.core.key import Role
from enforcer.errors import ConflictError, InputError

AUTHORITY_DAYS: Final = 1_825
CERTIFICATE_DAYS: Final = 90
CERTIFICATE_DAYS_MAX: Final = 397
PEM_BYTES_MAX: Final = 65_536
CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate is for: a role and a person's or machine's id, in one installation."""

    origin: str
    role: Role
    identity: str

    @property
    def uri(self) -> str:
        """The one URI name; the trust domain is the origin up to its first '/'."""
        role = self.role.name.lower().replace("_", "-")
        return f"spiffe://{self.origin.partition('/')[0]}/{role}/{self.identity}"


@dataclass(frozen=True, slots=True)
class Authority:
    """The installation's certificate authority: who has its key can let anybody speak."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @classmethod
    def create(cls, origin: str, *, days: int = AUTHORITY_DAYS) -> Authority:
        """Make a new authority, valid from now on."""
        key = generate_private_key(SECP256R1())
        name = _name(f"{origin} certificate authority")
        certificate = (
            _builder(name, name, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Authority:
        """Read an authority from its two PEM files.

        Raises:
            NotFoundError, UnavailableError: one cannot be read.
            InputError: they are not PEM, or not a pair.
        """
        loaded = load_key(key)
        try:
            read = x509.load_pem_x509_certificate(_pem(certificate))
        except ValueError as error:
            raise _not_pem(certificate, "certificate") from error
        if read.public_key() != loaded.public_key():
            raise InputError(
                f"{certificate} is not the certificate of the key {key}",
                advice="Name the two files that belong together.",
                path=str(certificate),
            )
        return cls(read, loaded)

    @property
    def pem(self) -> bytes:
        """The authority's certificate, for everybody."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        holder: Holder,
        public_key: EllipticCurvePublicKey,
        *,
        hosts: Sequence[str] = (),
        days: int = CERTIFICATE_DAYS,
    ) -> bytes:
        """Return a certificate in PEM; with `hosts` (DNS names, IP addresses) also for a server.

        Raises:
            InputError: too many days, or names that cannot stand in a certificate.
        """
        if not 1 <= days <= CERTIFICATE_DAYS_MAX:
            raise InputError(
                f"a certificate cannot be for {days} days",
                advice=f"Give 1 to {CERTIFICATE_DAYS_MAX}; {CERTIFICATE_DAYS} is usual.",
                field="days",
            )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        try:
            names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(holder.uri)]
            names += map(_host, hosts)
            builder = _builder(
                _name(holder.identity), self.certificate.subject, public_key, days
            ).add_extension(x509.SubjectAlternativeName(names), critical=False)
        except ValueError as error:
            raise InputError(
                f"no certificate can name {holder.uri} and {', '.join(hosts) or 'no host'}",
                advice="Give an id of at most 64 letters, digits, '.', '_' and '-', and "
                "hosts in ASCII.",
                field="hosts",
            ) from error
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)


def new_key(path: Path) -> EllipticCurvePrivateKey:
    """Make a P-256 key and write it to `path`, mode 600.

    Raises:
        ConflictError: the file exists; a key is never overwritten.
        UnavailableError: it cannot be written.
    """
    key = generate_private_key(SECP256R1())
    save_key(key, path)
    return key


def save_key(key: EllipticCurvePrivateKey, path: Path) -> None:
    """Write a P-256 key to `path`, mode 600.

    Raises:
        ConflictError, UnavailableError: as :func:`new_key`.
    """
    if path.exists():
        raise ConflictError(
            f"{path} exists already",
            advice="Choose another file: a key is never overwritten.",
            path=str(path),
        )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    durable.write_file(path, pem, mode=durable.PRIVATE_MODE)


def load_key(path: Path) -> EllipticCurvePrivateKey:
    """Read a P-256 key.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is no such key.
    """
    try:
        key = load_pem_private_key(_pem(path), password=None)
    except (ValueError, TypeError) as error:
        raise _not_pem(path, "P-256 private key") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise _not_pem(path, "P-256 private key")
    return key


def request(holder: Holder, key: EllipticCurvePrivateKey) -> str:
    """Return a certificate signing request in PEM: the key's word that it wants this name."""
    built = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(holder.identity))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(holder.uri)]),
            critical=False,
        )
        .sign(key, SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode("ascii")


def key_of_request(pem: str) -> EllipticCurvePublicKey:
    """Return the key that a certificate signing request is for.

    The names in it are not read: what a certificate says is up to who signs it.

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


def ends_at(path: Path, pem: bytes) -> datetime:
    """Return when the certificate in `pem`, read from the file `path`, ends.

    Raises:
        InputError: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as error:
        raise _not_pem(path, "certificate") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # X.520's bound


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(path: Path) -> bytes:
    return durable.read_file(path, size_bytes_max=PEM_BYTES_MAX)


def _not_pem(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} is no {what} in PEM",
        advice="Name the file that `enforcer init` or `enforcer key certify` wrote.",
        path=str(path),
    )


def _bad_request(problem: str) -> InputError:
    return InputError(
        f"the certificate signing request {problem}",
        advice="Have the holder make it again: enforcer key request",
        field="certificate_request",
    )
