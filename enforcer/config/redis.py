"""``[redis]``: where the feed is, directly or behind sentinels.

Refuses a password inside a URL; it lies in a file that only its owner can read.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from enforcer.config.reading import Reading, Section
from enforcer.config.values import Address
from enforcer.errors import InputError

PASSWORD_BYTES_MAX: Final = 1_024


class Redis(Section, frozen=True, kw_only=True):
    """Where the feed is; nothing that comes from there is believed without proof."""

    url: str
    """``redis://``, ``rediss://`` or ``unix://``; a name of a user may stand in it."""
    password_file: Path | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for another scheme, or a password in the URL."""
        scheme, separator, rest = self.url.partition("://")
        if not separator or scheme not in ("redis", "rediss", "unix") or not rest:
            raise ValueError("the url does not begin with redis://, rediss:// or unix://")
        user, at, _ = rest.rpartition("@")
        if at and ":" in user:
            raise ValueError("the url has a password in it: write it into a file, password_file")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if scheme != "rediss" and (self.ca or self.certificate):
            raise ValueError("ca, certificate and key are for rediss://, and the url has another")
        if self.from_replica and not self.sentinels:
            raise ValueError("from_replica needs sentinels; else name the replica in the url")

    ca: Path | None = None
    """For ``rediss://``: whom to believe; without it the system's authorities."""
    certificate: Path | None = None
    """What to show, where this Redis asks for it (tls-auth-clients)."""
    key: Path | None = None
    sentinels: Annotated[tuple[Address, ...], Meta(max_length=16)] = ()
    """Who knows the primary; the host in the url is then the name by which they know it."""
    sentinel_user: str | None = None
    sentinel_password_file: Path | None = None
    from_replica: bool = False
    """Behind sentinels, for nodes: read from a replica where there is one."""

    def password(self) -> str | None:
        """Return what the password file holds, without its final newline.

        Raises:
            NotFoundError, UnavailableError: it cannot be read.
            InputError: others than its owner can read it, or it is too long.
        """
        return _password(self.password_file)

    def sentinel_password(self) -> str | None:
        """Return what the sentinels' password file holds, as `password` does."""
        return _password(self.sentinel_password_file)


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    with Reading(path):
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(
                f"the password file {path} can be read by others",
                advice=f"Run: chmod 600 {path}",
                path=str(path),
            )
        data = path.read_bytes()
    if len(data) > PASSWORD_BYTES_MAX:
        raise InputError(
            f"the password file {path} has over {PASSWORD_BYTES_MAX} bytes",
            advice="Name the file that holds the password alone.",
            path=str(path),
        )
    return data.decode("utf-8").rstrip("\r\n")
