"""What a certificate says, read back: whom it names, for how long, for which end of a connection.

Owns the words for a time that does not fit. A certificate begins some minutes before it is issued,
so one that has not begun means that two clocks differ; one that has ended may mean that too, and
only the other side's word tells (see app/tls_why.py). Nothing here decides what anybody may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from enforcer.backends import durable
from enforcer.errors import InputError

PEM_BYTES_MAX: Final = 65_536
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a certificate reaches back before its issue, for clocks that are behind."""


class Standing(IntEnum):
    """Where a time lies in a certificate's life."""

    UNSPECIFIED = 0
    NOT_BEGUN = 1
    VALID = 2
    ENDED = 3


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, and the plain answers to what is asked of it."""

    parsed: x509.Certificate

    @classmethod
    def parse(cls, pem: bytes, path: Path | None = None) -> Certificate:
        """Read the first certificate in `pem`, which came from the file `path`.

        Raises:
            InputError: there is none, or it is not well-formed.
        """
        try:
            read = x509.load_pem_x509_certificate(pem)
            made = cls(read)
            _ = (made.uris, made.hosts, made.is_for_servers)  # malformed extensions are met here
        except ValueError as error:
            raise not_pem(path, "certificate") from error
        return made

    @property
    def serial(self) -> str:
        """The serial number in hex, as `enforcer pki list` shows it."""
        return f"{self.parsed.serial_number:x}"

    @property
    def begins(self) -> datetime:
        """When it begins."""
        return self.parsed.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        """When it ends."""
        return self.parsed.not_valid_after_utc

    @property
    def uris(self) -> list[str]:
        """The URI names; ours have exactly one."""
        names = self._names
        return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)

    @property
    def hosts(self) -> list[str]:
        """The DNS names and addresses of a server."""
        names = self._names
        if names is None:
            return []
        addresses = map(str, names.get_values_for_type(x509.IPAddress))
        return [*names.get_values_for_type(x509.DNSName), *addresses]

    @property
    def is_for_servers(self) -> bool:
        """Tell whether a client may take its holder for a server."""
        return self._has_usage(ExtendedKeyUsageOID.SERVER_AUTH)

    @property
    def is_for_clients(self) -> bool:
        """Tell whether a server may take its holder for a client."""
        return self._has_usage(ExtendedKeyUsageOID.CLIENT_AUTH)

    @property
    def text(self) -> str:
        """Whom it names, for people."""
        return ", ".join(self.uris) or self.parsed.subject.rfc4514_string()

    def standing(self, now_seconds: float) -> Standing:
        """Return where the Unix time `now_seconds` lies in its life."""
        if now_seconds < self.begins.timestamp():
            return Standing.NOT_BEGUN
        return Standing.ENDED if now_seconds > self.ends.timestamp() else Standing.VALID

    def is_issued_by(self, authorities: Sequence[x509.Certificate]) -> bool:
        """Tell whether one of these signed it."""
        return any(_signed(self.parsed, each) for each in authorities)

    def belongs_to(self, key: object) -> bool:
        """Tell whether it is for the public half of a private key."""
        return self.parsed.public_key() == getattr(key, "public_key", lambda: None)()

    @property
    def _names(self) -> x509.SubjectAlternativeName | None:
        try:
            found = self.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return None
        return found.value

    def _has_usage(self, usage: x509.ObjectIdentifier) -> bool:
        try:
            found = self.parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound:
            return True  # RFC 5280 §4.2.1.12: then for every purpose
        return usage in found.value


def parse_authorities(pem: bytes, path: Path | None = None) -> list[x509.Certificate]:
    """Read the certificates of authorities: one, or two while one replaces the other.

    Raises:
        InputError: there is none, or one is no authority's.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
        are_authorities = all(map(_is_authority, found))
    except ValueError as error:
        raise not_pem(path, "certificate") from error
    if not found or not are_authorities:
        raise not_pem(path, "authority's certificate")
    return found


def read_pem(path: Path) -> bytes:
    """Return a PEM file.

    Raises:
        NotFoundError, UnavailableError, IntegrityError: it cannot be read, or is too large.
    """
    return durable.read_file(path, size_bytes_max=PEM_BYTES_MAX)


def not_pem(path: Path | None, what: str) -> InputError:
    """Return the error for a file that does not hold what it should."""
    return InputError(
        f"{path or 'what was given'} is no {what} in PEM",
        advice="Name the file that `enforcer init` or `enforcer pki` wrote.",
        path=str(path) if path else None,
    )


def when(moment: datetime) -> str:
    """Return a moment for people, in UTC, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M UTC}"


def time_of(seconds: float) -> str:
    """Return a Unix time for people, in UTC, to the minute."""
    return when(datetime.fromtimestamp(seconds, UTC))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
