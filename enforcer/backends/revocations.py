"""Certificates that count no more: the authority's signed list of serial numbers (RFC 5280 §5).

Refuses a list that the authority did not sign, and an older one than is known: whoever could bring
one back would bring back a certificate. Always true: a list that is past its time goes on
counting. What it revoked stays revoked; it only may lack what was revoked since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from enforcer.backends import durable
from enforcer.backends.certificate import CLOCK_SKEW, not_pem
from enforcer.errors import ConflictError, InputError, IntegrityError

LIST_BYTES_MAX: Final = 1 << 20
"""About ten thousand certificates that were revoked before they ended."""
LIST_DAYS: Final = 30
LIST_DAYS_MAX: Final = 397
REASONS: Final = {
    reason.value: reason
    for reason in (
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
    )
}
"""Why a certificate was revoked, by the words that RFC 5280 has for it."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """One certificate that counts no more."""

    serial_number: int
    since: datetime
    reason: str
    """A key of REASONS."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """A list, its signature verified."""

    issuer: x509.Name
    number: int
    """Grows with every list."""
    ends: datetime
    """When the next list should have come."""
    entries: dict[int, Revoked]
    """By serial number."""

    def find(self, certificate: x509.Certificate) -> Revoked | None:
        """Return the entry for a certificate; None where it is not revoked."""
        if certificate.issuer != self.issuer:
            return None
        return self.entries.get(certificate.serial_number)


def read_revocations(path: Path, authorities: Sequence[x509.Certificate]) -> Revocations:
    """Read a list that one of the authorities signed.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is no list in PEM.
        IntegrityError: none of the authorities signed it, or it is too large.
    """
    data = durable.read_file(path, size_bytes_max=LIST_BYTES_MAX)
    try:
        read = x509.load_pem_x509_crl(data)
        number = read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        entries = {each.serial_number: _entry(each) for each in read}
        is_signed = any(_signed(read, each) for each in authorities)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise not_pem(path, "revocation list") from error
    if not is_signed:
        raise IntegrityError(
            f"the revocation list {path} is not signed by the authority that is believed here",
            advice="Copy ca.crl again from where the authority is, beside its ca.crt.",
            path=str(path),
        )
    ends = read.next_update_utc or read.last_update_utc
    return Revocations(read.issuer, number, ends, entries)


def check_newer(new: Revocations, known: Revocations) -> None:
    """Refuse a list of the same authority that is older than the one that is known.

    Raises:
        ConflictError: it is.
    """
    if new.issuer == known.issuer and new.number < known.number:
        raise ConflictError(
            f"the revocation list is number {new.number}, and number {known.number} is known",
            advice="Copy the newest ca.crl: an older one would let revoked certificates in again.",
            field="crl",
        )


def format_revocations(
    authority: x509.Certificate,
    key: EllipticCurvePrivateKey,
    number: int,
    entries: Iterable[Revoked],
    *,
    days: int = LIST_DAYS,
) -> bytes:
    """Sign a list and return it in PEM.

    Raises:
        InputError: the days, or the length, are out of bounds.
    """
    if not 1 <= days <= LIST_DAYS_MAX:
        raise InputError(
            f"a revocation list cannot be for {days} days",
            advice=f"Give 1 to {LIST_DAYS_MAX}; {LIST_DAYS} is usual.",
            field="days",
        )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(now + timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for each in entries:
        built = x509.RevokedCertificateBuilder(each.serial_number, each.since)
        if each.reason != x509.ReasonFlags.unspecified.value:  # RFC 5280 §5.3.1: then left out
            built = built.add_extension(x509.CRLReason(REASONS[each.reason]), critical=False)
        builder = builder.add_revoked_certificate(built.build())
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    if len(pem) > LIST_BYTES_MAX:
        raise InputError(
            f"the revocation list would have {len(pem)} bytes, and {LIST_BYTES_MAX} are possible",
            advice="Make a new authority, and issue anew what still counts.",
            field="serial",
        )
    return pem


def _entry(read: x509.RevokedCertificate) -> Revoked:
    try:
        reason = read.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        reason = x509.ReasonFlags.unspecified.value
    return Revoked(read.serial_number, read.revocation_date_utc, reason)


def _signed(read: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    if not isinstance(key, EllipticCurvePublicKey | RSAPublicKey):
        return False
    return read.issuer == authority.subject and read.is_signature_valid(key)
