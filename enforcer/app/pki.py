"""The verbs of ``enforcer pki``: one small authority, for those who have no other.

Private keys are made where they stay; whoever holds the authority looks at who asks, and signs.
The names in a signing request in PEM are not read: what a certificate says is up to who issues it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from enforcer.app.keys import REQUEST_BYTES_MAX, KeyRequest, check_absent, parse_request
from enforcer.app.passphrase import Passphrases
from enforcer.backends import certificate_request, durable, pki
from enforcer.backends.authority_files import AuthorityFiles, Issued
from enforcer.backends.certificate import Certificate, read_pem, when
from enforcer.backends.revocations import LIST_DAYS
from enforcer.core.key import MACHINE_ROLES, Role
from enforcer.errors import InputError

CERTIFICATE_DAYS: Final = pki.CERTIFICATE_DAYS


@dataclass(frozen=True, slots=True)
class Asked:
    """For whom a certificate is to be, and for which key."""

    key: EllipticCurvePublicKey
    role: Role
    identity: str
    origin: str | None
    """Of the installation; None: the authority's."""


class Authority:
    """An authority's directory, opened with its key."""

    def __init__(self, directory: Path, passphrases: Passphrases) -> None:
        """Open it.

        Raises:
            NotFoundError, UnavailableError, InputError: it is not there, or not what it should be.
            PassphraseError: the passphrase was not given.
        """
        self._files = AuthorityFiles(directory)
        self._authority = passphrases.open(self._files.key, self._files.load)

    @classmethod
    def create(
        cls,
        directory: Path,
        origin: str,
        passphrases: Passphrases | None,
        *,
        days: int | None = None,
    ) -> Certificate:
        """Make one in `directory`, its key under a passphrase where `passphrases` are given.

        Raises:
            ConflictError: there is one already.
            InputError: the days are out of bounds, or no passphrase was given.
            UnavailableError: it cannot be written.
        """
        files = AuthorityFiles(directory)
        check_absent(files.key)
        made = pki.Authority.create(origin, days=pki.AUTHORITY_DAYS if days is None else days)
        files.create(made, None if passphrases is None else passphrases.choose(files.key))
        return Certificate(made.certificate)

    def issue(
        self, asked: Asked, to: Path, *, hosts: Sequence[str] = (), days: int | None = None
    ) -> Certificate:
        """Write a certificate to `to`.

        Raises:
            InputError: the names cannot stand, it is for another installation, or for which one the
                authority is cannot be seen.
            UnavailableError: it cannot be written.
        """
        origin = asked.origin or self._authority.domain
        if origin is None:
            raise InputError(
                f"the authority in {self._files.directory} does not say for whom it is",
                advice="Make one with: enforcer pki ca new",
                path=str(self._files.directory),
            )
        holder = certificate_request.Holder(origin, asked.role, asked.identity)
        pem = self._files.issue(
            self._authority, holder, asked.key, hosts=tuple(hosts), days=_days(days)
        )
        durable.write_file(to, pem)
        return Certificate.parse(pem)

    def renew(self, path: Path, to: Path, *, days: int | None = None) -> Certificate:
        """Write to `to` a certificate that says what the one in `path` says, from now on.

        Raises:
            RefusedError: it was revoked.
            NotFoundError, UnavailableError, InputError: as :meth:`AuthorityFiles.renew`.
        """
        old = Certificate.parse(read_pem(path), path)
        pem = self._files.renew(self._authority, old, days=_days(days))
        durable.write_file(to, pem)
        return Certificate.parse(pem)

    def revoke(self, which: Sequence[str], reason: str) -> list[Certificate]:
        """Revoke what `which` names (files, serial numbers, ROLE/ID), and return it.

        Raises:
            NotFoundError: something that was named was never issued.
            InputError: a certificate is not this authority's, or the reason is none.
            ConflictError: all are revoked already.
        """
        found = {each.serial: each for name in which for each in self._files.find(name)}
        for each in found.values():
            if not each.is_issued_by([self._authority.certificate]):
                raise InputError(
                    f"the certificate of {each.text} was not issued by this authority",
                    advice="Name the directory of the authority that issued it: --ca.",
                    field="certificate",
                )
        serials = [each.parsed.serial_number for each in found.values()]
        self._files.revoke(self._authority, serials, reason)
        return list(found.values())

    def sign_revocations(self, *, days: int | None = None) -> tuple[Path, str]:
        """Sign the list of revocations again; return where it is, and until when it is good.

        Raises:
            InputError, ConflictError, UnavailableError: as :meth:`AuthorityFiles.sign_again`.
        """
        signed = self._files.sign_again(self._authority, days=LIST_DAYS if days is None else days)
        return self._files.revocations, when(signed.ends)


def certify(
    request: KeyRequest,
    files: AuthorityFiles,
    authority: pki.Authority,
    *,
    hosts: Sequence[str] = (),
    days: int = CERTIFICATE_DAYS,
) -> bytes:
    """Return the certificate that a request of ours asks for, in PEM.

    Raises:
        InputError: the certificate request is not signed by its key, or names cannot stand.
    """
    key = certificate_request.key_of_request("\n".join([*request.certificate_request, ""]))
    return files.issue(authority, request.holder, key, hosts=tuple(hosts), days=days)


def read_asked(path: Path, role: Role | None, identity: str | None) -> Asked:
    """Read a request file of ours, or a signing request in PEM for that role and id.

    Raises:
        NotFoundError, UnavailableError: it cannot be read.
        InputError: it is neither, is not signed by its own key, or for whom it is was said twice or
            not at all.
    """
    data = durable.read_file(path, size_bytes_max=REQUEST_BYTES_MAX)
    if data.lstrip().startswith(b"-----"):
        if role is None or identity is None:
            raise _for_nobody()
        return Asked(
            certificate_request.key_of_request(data.decode("ascii", "replace")),
            role,
            identity,
            None,
        )
    if role is not None or identity is not None:
        raise InputError(
            f"{path} says itself for whom it is",
            advice="Leave out --role and --id.",
            field="role",
        )
    request = parse_request(data)
    key = certificate_request.key_of_request("\n".join([*request.certificate_request, ""]))
    return Asked(key, request.role, request.identity, request.ledger_origin)


def ask_with_new_key(
    path: Path, role: Role | None, identity: str | None, passphrases: Passphrases | None
) -> Asked:
    """Make a TLS key in `path`, a person's under a passphrase where `passphrases` are given.

    Raises:
        ConflictError: the file exists.
        InputError: no passphrase was given, or not for whom it is.
        UnavailableError: it cannot be written.
    """
    if role is None or identity is None:
        raise _for_nobody()
    check_absent(path)
    asking = None if role in MACHINE_ROLES else passphrases
    passphrase = None if asking is None else asking.choose(path, anew=True)
    return Asked(certificate_request.new_key(path, passphrase).public_key(), role, identity, None)


def list_issued(directory: Path) -> list[dict[str, object]]:
    """Return all that the authority in `directory` issued, as plain values; needs no key.

    Raises:
        NotFoundError, UnavailableError, InputError: a file is missing or wrong.
    """
    now_seconds = datetime.now(UTC).timestamp()
    return [_listed(each, now_seconds) for each in AuthorityFiles(directory).all_issued()]


def describe(certificate: Certificate) -> dict[str, object]:
    """Return what a certificate says, as plain values."""
    return {
        "serial": certificate.serial,
        "holder": certificate.text,
        "hosts": certificate.hosts,
        "begins": when(certificate.begins),
        "ends": when(certificate.ends),
    }


def _listed(issued: Issued, now_seconds: float) -> dict[str, object]:
    revoked = issued.revoked
    return {
        **describe(issued.certificate),
        "standing": issued.standing(now_seconds),
        "revoked_since": when(revoked.since) if revoked else None,
        "reason": revoked.reason if revoked else None,
    }


def _days(days: int | None) -> int:
    return CERTIFICATE_DAYS if days is None else days


def _for_nobody() -> InputError:
    return InputError(
        "nothing says for whom the certificate is to be",
        advice="Give --role and --id; the names in a signing request are not read.",
        field="role",
    )
