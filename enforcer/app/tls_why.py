"""Why a server cannot be reached, when TLS only says that it failed.

Looks at one's own certificate, and shakes hands with the server once more, believing nothing: to
see what it shows, and whether it takes what we show. That tells a certificate that has ended from
a clock that is wrong, in either direction: a server that takes what has ended by our clock has
another time. Sends nothing; reads one octet. The verdict is words; it lets nobody in.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from enforcer.api.server import TlsFiles
from enforcer.app.tls import RENEW, SET_CLOCK, ended, not_begun
from enforcer.backends.certificate import Certificate, Standing, parse_authorities, time_of, when
from enforcer.config import Address, ClientTls
from enforcer.errors import EnforcerError, InputError, UnavailableError

PATIENCE_SECONDS: Final = 3.0
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Handshake:
    """What one handshake showed."""

    shown: Certificate
    """The server's."""
    is_taken: bool
    """Whether the server went on after it had seen ours."""


async def why_not(
    address: Address, section: ClientTls, files: TlsFiles, now_seconds: float
) -> EnforcerError | None:
    """Return what keeps `files` from working with the server, None where certificates do not."""
    own = Certificate.parse(files.certificate, section.certificate)
    authorities = parse_authorities(files.authority, section.ca)
    if not own.is_issued_by(authorities):
        return InputError(
            f"the certificate {section.certificate} was not issued by the authority {section.ca}",
            advice="Use the certificate and the authority's of the same installation.",
            path=str(section.certificate),
            problem="authority",
        )
    if not own.is_for_clients:
        return InputError(
            f"the certificate {section.certificate} is not for a client",
            advice="Have one issued for your own role: enforcer pki issue.",
            path=str(section.certificate),
            problem="usage",
        )
    seen = await asyncio.to_thread(_shake_hands, address, files)
    if seen is not None and not seen.shown.is_issued_by(authorities):
        return _server(address, "shows a certificate of another authority", "authority")
    if seen is not None and not (seen.shown.is_for_servers and seen.shown.hosts):
        who = seen.shown.text
        return _server(address, f"shows a client's certificate, that of {who}", "usage")
    if seen is not None and address.host not in seen.shown.hosts:
        hosts = ", ".join(seen.shown.hosts)
        return _server(address, f"shows a certificate for {hosts} only", "host")
    return _of_time(address, section, own, seen, now_seconds)


def _of_time(
    address: Address,
    section: ClientTls,
    own: Certificate,
    seen: Handshake | None,
    now_seconds: float,
) -> EnforcerError | None:
    """Return what is wrong with times, or None."""
    standing = own.standing(now_seconds)
    if standing is not Standing.VALID and seen is not None and seen.is_taken:
        return _clock(address, own, standing, now_seconds)
    if standing is Standing.ENDED:
        return ended(section.certificate, own)
    if standing is Standing.NOT_BEGUN:
        return not_begun(section.certificate, own, now_seconds)
    if seen is None:
        return None
    match seen.shown.standing(now_seconds):
        case Standing.ENDED:
            return _server(
                address,
                f"shows a certificate that ended on {when(seen.shown.ends)}, and this machine's "
                f"clock says {time_of(now_seconds)}",
                "ended",
            )
        case Standing.NOT_BEGUN:
            return _clock(address, seen.shown, Standing.NOT_BEGUN, now_seconds)
    return None if seen.is_taken else _refused(address, own, now_seconds)


def _clock(
    address: Address, certificate: Certificate, standing: Standing, now_seconds: float
) -> UnavailableError:
    """Return the error for a clock that the server's contradicts."""
    is_behind = standing is Standing.NOT_BEGUN
    bound = certificate.begins if is_behind else certificate.ends
    by = _span(abs(bound.timestamp() - now_seconds))
    direction = "behind" if is_behind else "ahead of"
    return UnavailableError(
        f"this machine's clock says {time_of(now_seconds)}, and is {direction} that of "
        f"{address} by {by} or more",
        advice=f"{SET_CLOCK} No certificate is wrong.",
        problem="clock",
    )


def _refused(address: Address, own: Certificate, now_seconds: float) -> UnavailableError:
    """Return the error for a server that does not take what is valid here."""
    behind = _span(now_seconds - own.begins.timestamp())
    ahead = _span(own.ends.timestamp() - now_seconds)
    return UnavailableError(
        f"{address} does not take the certificate of {own.text}, which is valid by this clock",
        advice="It believes another authority (client_ca), or its clock is wrong: behind by "
        f"{behind} or more, or ahead by {ahead} or more.",
        problem="refused",
    )


def _server(address: Address, what: str, problem: str) -> UnavailableError:
    advice = {
        "ended": f"If this clock is right, tell who runs it. {RENEW}",
        "host": "Call it by a name in its certificate, or have one issued for this name.",
    }.get(problem, "Check the address; if it is right, somebody stands between: tell who runs it.")
    return UnavailableError(f"{address} {what}", advice=advice, problem=problem)


def _shake_hands(address: Address, files: TlsFiles) -> Handshake | None:
    """Shake hands, and see what comes; None where nobody answers TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # to see what is wrong with it; nothing is told or believed
    context.set_alpn_protocols(["h2"])
    _show(context, files)
    try:
        with (
            socket.create_connection((address.host, address.port), PATIENCE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
            if shown is None:
                return None
            certificate = Certificate.parse(ssl.DER_cert_to_PEM_cert(shown).encode("ascii"))
            return Handshake(certificate, _goes_on(secured))
    except (OSError, InputError):
        return None


def _goes_on(secured: ssl.SSLSocket) -> bool:
    """Tell whether the server speaks HTTP/2 after it saw our certificate (RFC 9113 §3.4)."""
    try:
        return len(secured.recv(1)) == 1
    except OSError:
        return False


def _show(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Have the context show our certificate; the key goes through memory, never onto a disk."""
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(files.certificate + b"\n" + files.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _span(seconds: float) -> str:
    """Return a span of time for people."""
    days, rest = divmod(int(seconds), _DAY_SECONDS)
    hours, rest = divmod(rest, 3_600)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min"
