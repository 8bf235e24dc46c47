"""The TLS files of a program, read and looked at before anybody is called or answered.

Refuses a private key that others can read, and files that do not belong together. TLS itself only
says that a handshake failed, so what is wrong with one's own files is told here, in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from enforcer.api.server import TlsFiles
from enforcer.app.passphrase import Passphrases
from enforcer.backends import key_files
from enforcer.backends.certificate import (
    Certificate,
    Standing,
    parse_authorities,
    read_pem,
    time_of,
    when,
)
from enforcer.config import ClientTls, ServerTls
from enforcer.errors import InputError

SOON_DAYS: Final = 10
RENEW: Final = "Have it renewed by who holds the authority: enforcer pki renew."
SET_CLOCK: Final = "Set this machine's clock by the network's time (timedatectl, chronyc tracking)."
_DAY_SECONDS: Final = 86_400
_KINDS: Final = (EllipticCurvePrivateKey, RSAPrivateKey)

_log: Final = structlog.get_logger(__name__)


def read_tls(tls: ClientTls | ServerTls, passphrases: Passphrases | None = None) -> TlsFiles:
    """Read the files of a TLS section; a person is asked for the key's passphrase, a program not.

    Raises:
        NotFoundError, UnavailableError: one cannot be read.
        PassphraseError: the key is encrypted, and nobody gave its passphrase.
        InputError: one is not what it should be, others can read the key, or they do not belong
            together.
    """
    authority = tls.ca if isinstance(tls, ClientTls) else tls.client_ca
    certificate, trusted = read_pem(tls.certificate), read_pem(authority)
    parse_authorities(trusted, authority)

    def load(passphrase: bytes | None) -> PrivateKeyTypes:
        return key_files.load(tls.key, _KINDS, "P-256 private key", passphrase)

    key = load(None) if passphrases is None else passphrases.open(tls.key, load)
    if not Certificate.parse(certificate, tls.certificate).belongs_to(key):
        raise InputError(
            f"the certificate {tls.certificate} is not for the key {tls.key}",
            advice="Name the two files that belong together; copy both when both are new.",
            path=str(tls.certificate),
        )
    return TlsFiles(certificate, key_files.format_key(key), trusted)


def check_serves(path: Path, pem: bytes) -> None:
    """Refuse a certificate that no client would take for a server's.

    Raises:
        InputError: it is none, or a client's.
    """
    certificate = Certificate.parse(pem, path)
    if not certificate.is_for_servers or not certificate.hosts:
        raise InputError(
            f"the certificate {path} of {certificate.text} is for a client, and names no host",
            advice="Have one issued with the name or address that clients call: "
            "enforcer pki issue --host.",
            path=str(path),
        )


def check_begun_and_not_ended(path: Path, pem: bytes, now_seconds: float) -> None:
    """Refuse a certificate that is of no use now.

    Raises:
        InputError: it has ended, has not begun, or is none.
    """
    certificate = Certificate.parse(pem, path)
    match certificate.standing(now_seconds):
        case Standing.ENDED:
            raise ended(path, certificate)
        case Standing.NOT_BEGUN:
            raise not_begun(path, certificate, now_seconds)


def warn_of_end(path: Path, pem: bytes, now_seconds: float) -> None:
    """Log that a program's own certificate has not begun, has ended or soon will; nothing stops.

    Raises:
        InputError: it is none.
    """
    certificate = Certificate.parse(pem, path)
    standing = certificate.standing(now_seconds)
    if standing is Standing.NOT_BEGUN:
        error = not_begun(path, certificate, now_seconds)
        _log.error("certificate_not_begun", problem=error.message, advice=error.advice)
    elif certificate.ends.timestamp() - now_seconds <= SOON_DAYS * _DAY_SECONDS:
        _log.error(
            "certificate_ended" if standing is Standing.ENDED else "certificate_ends_soon",
            certificate=str(path),
            ends=when(certificate.ends),
            advice=RENEW,
        )


def ended(path: Path, certificate: Certificate) -> InputError:
    """Return the error for a certificate that has ended."""
    return InputError(
        f"the certificate {path} ended on {when(certificate.ends)}, by this machine's clock",
        advice=RENEW,
        path=str(path),
        problem="ended",
    )


def not_begun(path: Path, certificate: Certificate, now_seconds: float) -> InputError:
    """Return the error for a certificate that has not begun, which only wrong clocks can make."""
    return InputError(
        f"the certificate {path} begins on {when(certificate.begins)}, and this machine's clock "
        f"says {time_of(now_seconds)}: it is behind, or that of the authority was ahead",
        advice=f"{SET_CLOCK} If it is right, have the certificate renewed where the clock is too.",
        path=str(path),
        problem="clock",
    )
