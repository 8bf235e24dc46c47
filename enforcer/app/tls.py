"""The TLS files of a program, read and looked at before anybody is called.

Refuses a private key that others can read. TLS itself only says that a handshake failed, so a
certificate that has ended is told here, in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from enforcer.api.server import TlsFiles
from enforcer.backends import durable, pki
from enforcer.backends.keys import OTHERS
from enforcer.config import ClientTls, ServerTls
from enforcer.errors import InputError

SOON_DAYS: Final = 14
_DAY_SECONDS: Final = 86_400
_RENEW: Final = "Have it issued again from its request: enforcer key certify."

_log: Final = structlog.get_logger(__name__)


def read_tls(tls: ClientTls | ServerTls) -> TlsFiles:
    """Read the files of a TLS section.

    Raises:
        NotFoundError, UnavailableError: one cannot be read.
        InputError: the certificate is none, or others can read the key.
    """
    authority = tls.ca if isinstance(tls, ClientTls) else tls.client_ca
    certificate, key, trusted = (
        durable.read_file(path, size_bytes_max=pki.PEM_BYTES_MAX)
        for path in (tls.certificate, tls.key, authority)
    )
    if tls.key.stat().st_mode & OTHERS:
        raise InputError(
            f"the key file {tls.key} can be read by others",
            advice=f"Run: chmod 600 {tls.key} - and replace the key if others may have it.",
            path=str(tls.key),
        )
    return TlsFiles(certificate, key, trusted)


def check_certificate(path: Path, pem: bytes, now_seconds: float) -> None:
    """Refuse a certificate that has ended, before a server does it without a word.

    Raises:
        InputError: it has, or is none.
    """
    ends = pki.ends_at(path, pem)
    if ends.timestamp() <= now_seconds:
        raise InputError(
            f"the certificate {path} ended on {ends:%Y-%m-%d %H:%M UTC}, by this machine's clock",
            advice=_RENEW,
            path=str(path),
        )


def warn_of_end(path: Path, pem: bytes, now_seconds: float) -> None:
    """Log that a program's own certificate has ended or soon will; nothing stops for it.

    Raises:
        InputError: it is none.
    """
    ends = pki.ends_at(path, pem)
    left_days = (ends.timestamp() - now_seconds) / _DAY_SECONDS
    if left_days <= SOON_DAYS:
        _log.error(
            "certificate_ended" if left_days <= 0 else "certificate_ends_soon",
            certificate=str(path),
            ends=f"{ends:%Y-%m-%d %H:%M UTC}",
            advice=_RENEW,
        )
