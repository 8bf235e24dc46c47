"""Certificates for mTLS, by `cryptography`: one small authority for each installation.

Owns: the authority's key and certificate, and what a certificate says: ECDSA P-256 (gRPC's TLS
takes no Ed25519) and exactly one URI name, ``spiffe://<trust domain>/<role>/<id>``; servers have
DNS and IP names besides, and only machines can be servers. Refuses an id that does not fit, and
another installation's holder. A certificate lets somebody speak; what may be done is decided by
signatures on the acts themselves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from enforcer.backends.certificate import CLOCK_SKEW, Certificate, read_pem
from enforcer.backends.certificate_request import SCHEME, Holder, common_name, load_key
from enforcer.core.key import MACHINE_ROLES
from enforcer.errors import InputError

AUTHORITY_DAYS: Final = 1_825
AUTHORITY_DAYS_MAX: Final = 3_650
CERTIFICATE_DAYS: Final = 30
CERTIFICATE_DAYS_MAX: Final = 397


@dataclass(frozen=True, slots=True)
class Authority:
    """The installation's certificate authority: who has its key can let anybody speak."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @classmethod
    def create(cls, origin: str, *, days: int = AUTHORITY_DAYS) -> Authority:
        """Make a new authority, valid from now on.

        Raises:
            InputError: the days are out of bounds.
        """
        _check_days("an authority", days, AUTHORITY_DAYS, AUTHORITY_DAYS_MAX)
        key = generate_private_key(SECP256R1())
        name = common_name(f"{origin} certificate authority")
        certificate = (
            _builder(name, name, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(_of_domain(origin), critical=False)
            .sign(key, SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate: Path, key: Path, passphrase: bytes | None = None) -> Authority:
        """Read an authority from its two PEM files.

        Raises:
            NotFoundError, UnavailableError: one cannot be read.
            PassphraseError: the key is encrypted, and that is not its passphrase.
            InputError: they are not PEM, or not a pair.
        """
        loaded = load_key(key, passphrase)
        read = Certificate.parse(read_pem(certificate), certificate).parsed
        if read.public_key() != loaded.public_key():
            raise InputError(
                f"{certificate} is not the certificate of the key {key}",
                advice="Name the two files that belong together.",
                path=str(certificate),
            )
        return cls(read, loaded)

    @property
    def domain(self) -> str | None:
        """The trust domain that it was made for; None for an authority made by other means."""
        uris = Certificate(self.certificate).uris
        return uris[0].removeprefix(SCHEME) if len(uris) == 1 else None

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
            InputError: too many days, another installation's holder, hosts for a person, names that
                cannot stand in a certificate.
        """
        _check_days("a certificate", days, CERTIFICATE_DAYS, CERTIFICATE_DAYS_MAX)
        if self.domain not in (None, holder.domain):
            raise InputError(
                f"{holder.identity} is of {holder.domain}, and this authority of {self.domain}",
                advice="Name the directory of that installation's authority: --ca.",
                field="ledger_origin",
            )
        if hosts and holder.role not in MACHINE_ROLES:
            raise InputError(
                f"{holder.identity} is a person, who is nobody's server",
                advice="Leave out the hosts: only nodes and control planes are called.",
                field="hosts",
            )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        try:
            names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(holder.uri)]
            names += map(_host, hosts)
            return self._sign(
                common_name(holder.identity),
                public_key,
                x509.SubjectAlternativeName(names),
                x509.ExtendedKeyUsage(usages),
                days,
            )
        except ValueError as error:
            raise InputError(
                f"no certificate can name {holder.uri} and {', '.join(hosts) or 'no host'}",
                advice="Give an id of at most 64 letters, digits, '.', '_' and '-', and "
                "hosts in ASCII.",
                field="hosts",
            ) from error

    def issue_server(
        self,
        name: str,
        public_key: EllipticCurvePublicKey,
        *,
        hosts: Sequence[str],
        days: int = CERTIFICATE_DAYS,
    ) -> bytes:
        """Return a certificate in PEM for a server that has no role here, such as the feed's.

        Raises:
            InputError: too many days, no host, or names that cannot stand in a certificate.
        """
        _check_days("a certificate", days, CERTIFICATE_DAYS, CERTIFICATE_DAYS_MAX)
        try:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            return self._sign(common_name(name), public_key, names, usages, days)
        except ValueError as error:
            raise InputError(
                f"no certificate can name {name} and {', '.join(hosts) or 'no host'}",
                advice="Give hosts in ASCII, or IP addresses.",
                field="hosts",
            ) from error

    def renew(self, old: Certificate, *, days: int = CERTIFICATE_DAYS) -> bytes:
        """Return a certificate that says what `old` says, for the same key, from now on; in PEM.

        Raises:
            InputError: too many days, or `old` is not this authority's, or is no holder's.
        """
        _check_days("a certificate", days, CERTIFICATE_DAYS, CERTIFICATE_DAYS_MAX)
        key = old.parsed.public_key()
        if not old.is_issued_by([self.certificate]) or not isinstance(key, EllipticCurvePublicKey):
            raise _not_ours(old)
        try:
            extensions = old.parsed.extensions
            names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound as error:
            raise _not_ours(old) from error
        return self._sign(old.parsed.subject, key, names, usages, days)

    def _sign(
        self,
        subject: x509.Name,
        public_key: EllipticCurvePublicKey,
        names: x509.SubjectAlternativeName,
        usages: x509.ExtendedKeyUsage,
        days: int,
    ) -> bytes:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(subject, self.certificate.subject, public_key, days)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.key, SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)


def _check_days(what: str, days: int, usual: int, days_max: int) -> None:
    if not 1 <= days <= days_max:
        raise InputError(
            f"{what} cannot be for {days} days",
            advice=f"Give 1 to {days_max}; {usual} is usual.",
            field="days",
        )


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


def _of_domain(origin: str) -> x509.SubjectAlternativeName:
    """Return the name of an authority: the trust domain alone (SPIFFE X509-SVID §4.3).

    Raises:
        InputError: the origin cannot be one.
    """
    uri = f"{SCHEME}{origin.partition('/')[0]}"
    try:
        return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    except ValueError as error:
        raise InputError(
            f"no certificate can name {uri}",
            advice="Give the ledger's origin in ASCII, such as cert.example.org/ledger.",
            field="origin",
        ) from error


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _not_ours(certificate: Certificate) -> InputError:
    return InputError(
        f"the certificate of {certificate.text} was not issued by this authority",
        advice="Issue one from its holder's request: enforcer pki issue",
        field="certificate",
    )
