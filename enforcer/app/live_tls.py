"""The TLS files of a program that runs: taken again when they change, replaced by good ones alone.

Looked at every two seconds, and at once on SIGHUP. New connections have the new files; those that
are open go on, but at each call the peer's certificate is held against the clock and against the
newest list of revocations. A new file that is no good changes nothing and is logged as an error;
so is a list of revocations past its time, which goes on counting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from enforcer.api.server import TlsFiles
from enforcer.app.tls import check_begun_and_not_ended, check_serves, read_tls, warn_of_end
from enforcer.backends.certificate import Certificate, Standing, parse_authorities, when
from enforcer.backends.revocations import Revocations, check_newer, read_revocations
from enforcer.config import ClientTls, ServerTls
from enforcer.errors import EnforcerError, RefusedError

LOOK_INTERVAL_SECONDS: Final = 2.0
REMIND_INTERVAL_SECONDS: Final = 86_400.0
PEERS_REMEMBERED_MAX: Final = 4_096

Taken: TypeAlias = Callable[[TlsFiles], Awaitable[None]]
"""Called with new files, after they are in force for new connections to this program."""

Stamp: TypeAlias = tuple[int, int, int]
"""What changes when a file does: inode, time, size."""
Look: TypeAlias = tuple[Stamp | None, ...]
"""All files of a section, in one order; None for one that is not there."""

_log: Final = structlog.get_logger(__name__)


class LiveTls:
    """The files of one TLS section; `files` is what new connections get."""

    def __init__(
        self,
        section: ClientTls | ServerTls,
        *,
        serves: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the files.

        Raises:
            NotFoundError, UnavailableError, InputError, IntegrityError: one is no good.
        """
        self._section = section
        self._serves = serves
        self._clock = clock
        self._seen = self._look()
        self._woken = asyncio.Event()
        self.taken: Taken | None = None
        self.files, self.revocations = self._read()
        self._remind()

    def current(self) -> TlsFiles:
        """Return the files for a connection that begins now."""
        return self.files

    def check_peer(self, pem: bytes) -> None:
        """Check the certificate of a peer, whose connection may be old.

        Raises:
            RefusedError: it has ended since, or was revoked.
        """
        certificate = _parsed(pem)
        revoked = self.revocations.find(certificate.parsed) if self.revocations else None
        if revoked is not None:
            raise RefusedError(
                f"the certificate {certificate.serial} of {certificate.text} was revoked on "
                f"{when(revoked.since)} ({revoked.reason})",
                advice="Ask who holds the authority for one with a new key: enforcer pki issue.",
                field="certificate",
                reason=revoked.reason,
            )
        if certificate.standing(self._clock()) is Standing.ENDED:
            raise RefusedError(
                f"the certificate {certificate.serial} of {certificate.text} ended on "
                f"{when(certificate.ends)}, by the server's clock",
                advice="Have it renewed by who holds the authority: enforcer pki renew.",
                field="certificate",
            )

    def wake(self) -> None:
        """Look at the files at once, changed or not."""
        self._woken.set()

    async def watch(self) -> None:
        """Look at the files for ever."""
        reminded = time.monotonic()
        refused: Look | None = None
        while True:
            is_woken = await self._wait()
            looked = await asyncio.to_thread(self._look)
            # A file that is just being replaced is left for the next time.
            if is_woken or (
                looked not in (self._seen, refused) and await self._has_settled(looked)
            ):
                refused = looked
                if await self._renew(looked) and self.taken is not None:
                    await self.taken(self.files)
            if time.monotonic() - reminded >= REMIND_INTERVAL_SECONDS:
                reminded = time.monotonic()
                self._remind()

    async def _wait(self) -> bool:
        """Return after the interval, or at once when woken, and whether that was so."""
        try:
            async with asyncio.timeout(LOOK_INTERVAL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def _has_settled(self, looked: Look) -> bool:
        await asyncio.sleep(LOOK_INTERVAL_SECONDS / 10)
        return looked == await asyncio.to_thread(self._look)

    async def _renew(self, looked: Look) -> bool:
        """Take the files as they are now, if they are good; tell whether new ones were taken."""
        try:
            files, revocations = await asyncio.to_thread(self._read)
            self._check_new(files)
            if self.revocations is not None and revocations is not None:
                check_newer(revocations, self.revocations)
        except EnforcerError as error:
            _log.error("certificates_refused", problem=error.message, advice=error.advice)
            return False
        is_new = files != self.files
        self.files, self.revocations, self._seen = files, revocations, looked
        _log.info(
            "certificates_taken",
            certificate=str(self._section.certificate),
            ends=when(Certificate.parse(files.certificate).ends),
            revocations=revocations.number if revocations is not None else None,
        )
        self._remind()
        return is_new

    def _check_new(self, files: TlsFiles) -> None:
        """Check the time of a new certificate; the old one must not keep revocations out."""
        if files.certificate != self.files.certificate:
            path = self._section.certificate
            check_begun_and_not_ended(path, files.certificate, self._clock())

    def _read(self) -> tuple[TlsFiles, Revocations | None]:
        files = read_tls(self._section)
        if self._serves:
            check_serves(self._section.certificate, files.certificate)
        crl = self._section.crl
        if crl is None:
            return files, None
        return files, read_revocations(crl, parse_authorities(files.authority))

    def _remind(self) -> None:
        now_seconds = self._clock()
        warn_of_end(self._section.certificate, self.files.certificate, now_seconds)
        if self.revocations is not None and self.revocations.ends.timestamp() < now_seconds:
            _log.error(
                "revocations_stale",
                path=str(self._section.crl),
                ended=when(self.revocations.ends),
                advice="Copy a new ca.crl here: enforcer pki crl. Until then what was revoked "
                "stays revoked, and what was revoked since is not known.",
            )

    def _look(self) -> Look:
        """Return what changes when a file does."""
        return tuple(map(_stamp, self._paths()))

    def _paths(self) -> list[Path]:
        section = self._section
        authority = section.ca if isinstance(section, ClientTls) else section.client_ca
        paths = [section.certificate, section.key, authority, section.crl]
        return [path for path in paths if path is not None]


@lru_cache(PEERS_REMEMBERED_MAX)
def _parsed(pem: bytes) -> Certificate:
    """Return a peer's certificate, which TLS has verified; parsed once, not at every call."""
    return Certificate.parse(pem)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
