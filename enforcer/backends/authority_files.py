"""An authority on disk: ca.crt and ca.crl for everybody, ca.key for its holder, and who was issued.

Always true: what was issued stands in `issued/` before its holder has it, so whatever anybody can
show can be revoked; each list of revocations has a higher number than all before; and one process
at a time revokes. A certificate that ended a month ago is left out of the next list.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from enforcer.backends import durable, key_files
from enforcer.backends.certificate import Certificate, Standing, read_pem
from enforcer.backends.certificate_request import Holder
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.pki import CERTIFICATE_DAYS, Authority
from enforcer.backends.revocations import (
    LIST_DAYS,
    REASONS,
    Revocations,
    Revoked,
    format_revocations,
    read_revocations,
)
from enforcer.errors import ConflictError, InputError, NotFoundError, RefusedError

ISSUED_MAX: Final = 100_000
"""Files in `issued/`."""
FORGET_AFTER_SECONDS: Final = 30 * 86_400
"""From a certificate's end; a clock that is ahead must not take anybody off the list."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that the authority signed, and whether it was revoked."""

    certificate: Certificate
    revoked: Revoked | None

    def standing(self, now_seconds: float) -> str:
        """Return REVOKED, or where the time lies in its life."""
        return "REVOKED" if self.revoked else self.certificate.standing(now_seconds).name


class AuthorityFiles:
    """The directory of an authority."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "ca.crt"
        self.key = directory / "ca.key"
        self.revocations = directory / "ca.crl"
        self.issued = directory / "issued"

    def create(self, authority: Authority, passphrase: bytes | None) -> None:
        """Write a new authority, with an empty list of revocations.

        Raises:
            ConflictError: there is one already.
            InputError: the passphrase is too short or too long.
            UnavailableError: it cannot be written.
        """
        durable.make_directory(self.issued)
        key_files.save(self.key, authority.key, passphrase)
        durable.write_file(self.certificate, authority.pem)
        pem = format_revocations(authority.certificate, authority.key, 1, ())
        durable.write_file(self.revocations, pem)

    def load(self, passphrase: bytes | None) -> Authority:
        """Read the authority, with its key.

        Raises:
            NotFoundError, UnavailableError, InputError: as :meth:`Authority.load`.
        """
        return Authority.load(self.certificate, self.key, passphrase)

    def issue(
        self,
        authority: Authority,
        holder: Holder,
        public_key: EllipticCurvePublicKey,
        *,
        hosts: tuple[str, ...] = (),
        days: int = CERTIFICATE_DAYS,
    ) -> bytes:
        """Issue a certificate and remember it; in PEM.

        Raises:
            InputError: as :meth:`Authority.issue`.
            UnavailableError: it cannot be written.
        """
        return self._remembered(authority.issue(holder, public_key, hosts=hosts, days=days))

    def renew(
        self, authority: Authority, old: Certificate, *, days: int = CERTIFICATE_DAYS
    ) -> bytes:
        """Issue again what `old` says, for the same key, and remember it; in PEM.

        Raises:
            RefusedError: it was revoked.
            InputError: as :meth:`Authority.renew`.
        """
        revoked = self._known(authority).find(old.parsed)
        if revoked is not None:
            raise RefusedError(
                f"the certificate {old.serial} of {old.text} was revoked ({revoked.reason})",
                advice="If its holder is to speak again: enforcer pki issue, for a new key.",
                field="certificate",
            )
        return self._remembered(authority.renew(old, days=days))

    def revoke(self, authority: Authority, serials: list[int], reason: str) -> Revocations:
        """Put certificates on the list, sign it, and return it.

        Raises:
            InputError: the reason is none of REASONS, or the list would be too long.
            ConflictError: all are on it already, or another process is writing.
            UnavailableError: it cannot be written.
        """
        if reason not in REASONS:
            raise InputError(
                f"{reason!r} is no reason to revoke a certificate",
                advice=f"Give one of: {', '.join(REASONS)}.",
                field="reason",
            )
        now = datetime.now(UTC)
        with closing(DirectoryLock(self.directory / ".lock")):
            known = self._known(authority)
            new = [each for each in serials if each not in known.entries]
            if not new:
                raise ConflictError(
                    "what was named is revoked already",
                    advice="See who is: enforcer pki list --all",
                    field="serial",
                )
            added = {each: Revoked(each, now, reason) for each in new}
            return self._write(authority, known.number + 1, {**known.entries, **added})

    def sign_again(self, authority: Authority, *, days: int = LIST_DAYS) -> Revocations:
        """Sign the list again, for so many days from now, and return it.

        Raises:
            InputError, ConflictError, UnavailableError: as :meth:`revoke`.
        """
        with closing(DirectoryLock(self.directory / ".lock")):
            known = self._known(authority)
            return self._write(authority, known.number + 1, known.entries, days=days)

    def all_issued(self) -> list[Issued]:
        """Return all that was issued, the newest last.

        Raises:
            NotFoundError, UnavailableError, InputError: a file is missing or wrong.
        """
        certificate = Certificate.parse(read_pem(self.certificate), self.certificate).parsed
        known = read_revocations(self.revocations, [certificate])
        made = [Certificate.parse(read_pem(path), path) for path in self._issued_files()]
        made.sort(key=lambda each: (each.begins, each.serial))
        return [Issued(each, known.find(each.parsed)) for each in made]

    def find(self, which: str) -> list[Certificate]:
        """Return what `which` names: a certificate's file, a serial number in hex, or ROLE/ID.

        ROLE/ID names all certificates of that holder that have not ended.

        Raises:
            NotFoundError: nothing has that name.
        """
        path = Path(which)
        if path.is_file():
            return [Certificate.parse(read_pem(path), path)]
        now_seconds = datetime.now(UTC).timestamp()
        serial = which.lower().removeprefix("0x").replace(":", "").lstrip("0")
        found = [
            each
            for each in (issued.certificate for issued in self.all_issued())
            if each.serial == serial
            or (
                any(uri.split("/", 3)[-1] == which for uri in each.uris)
                and each.standing(now_seconds) is not Standing.ENDED
            )
        ]
        if not found:
            raise NotFoundError(
                f"{which} is no certificate's file, and nothing of that name was issued",
                advice="See what was: enforcer pki list --all; a holder is named as proposer/an.le",
                field="which",
            )
        return found

    def _issued_files(self) -> list[Path]:
        with durable.reporting(self.issued, "list"):
            found = sorted(self.issued.glob("*.crt"))[: ISSUED_MAX + 1]
        if len(found) > ISSUED_MAX:
            raise InputError(
                f"{self.issued} has over {ISSUED_MAX} certificates",
                advice="Move away those that ended long ago.",
                path=str(self.issued),
            )
        return found

    def _remembered(self, pem: bytes) -> bytes:
        serial = Certificate.parse(pem).serial
        durable.make_directory(self.issued)
        durable.write_file(self.issued / f"{serial}.crt", pem)
        return pem

    def _known(self, authority: Authority) -> Revocations:
        return read_revocations(self.revocations, [authority.certificate])

    def _write(
        self,
        authority: Authority,
        number: int,
        entries: dict[int, Revoked],
        *,
        days: int = LIST_DAYS,
    ) -> Revocations:
        before = datetime.now(UTC).timestamp() - FORGET_AFTER_SECONDS
        kept = [each for each in entries.values() if not self._has_ended(each, before)]
        pem = format_revocations(authority.certificate, authority.key, number, kept, days=days)
        durable.write_file(self.revocations, pem)
        return self._known(authority)

    def _has_ended(self, revoked: Revoked, now_seconds: float) -> bool:
        """Tell whether a certificate ends by itself; one that is not known here does not."""
        path = self.issued / f"{revoked.serial_number:x}.crt"
        if not path.exists():
            return False
        return Certificate.parse(read_pem(path), path).standing(now_seconds) is Standing.ENDED
