"""Values that several files have: addresses, prefixes, URLs, names of things.

Each is a string that was checked when it was made. Refuses what is none with a ValueError, whose
words stand in the error that :mod:`enforcer.config.reading` makes of it.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from msgspec import Meta

UNIX_PATH_BYTES_MAX: Final = 107  # sun_path of unix(7), without its final NUL

_IDENTIFIER: Final = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
_KEY_HEX: Final = r"^[0-9a-f]{64}\Z"
_ORIGIN: Final = r"^[!-*,-~]{1,200}\Z"
FORMS: Final = {
    _IDENTIFIER: "up to 64 lower-case letters, digits, '.', '_' and '-'",
    _KEY_HEX: "32 octets in lower-case hexadecimal",
    _ORIGIN: "printable ASCII without spaces and '+', up to 200 characters",
}
"""What each pattern asks for, in words."""
Identifier = Annotated[str, Meta(pattern=_IDENTIFIER)]
PublicKeyHex = Annotated[str, Meta(pattern=_KEY_HEX)]
Origin = Annotated[str, Meta(pattern=_ORIGIN)]


class Address(str):
    """A host or IP address and a port: ``127.0.0.1:7443``, ``[2001:db8::1]:53``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`.

        Raises:
            ValueError: it is no such pair.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 0xFFFF:
            raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:7443 or [::1]:7443")
        if host.startswith("[") != host.endswith("]") or (":" in host and host[0] != "["):
            raise ValueError(f"{text!r} has an IPv6 address without its brackets")
        if host[0] == "[":
            ipaddress.IPv6Address(host[1:-1])
        return super().__new__(cls, text)

    @property
    def host(self) -> str:
        """The host, an IPv6 address without its brackets."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.rpartition(":")[2])


class Prefix(str):
    """Addresses that begin alike: ``192.0.2.0/24``, ``2001:db8::/32``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`.

        Raises:
            ValueError: it is no prefix, or has bits behind its length.
        """
        ipaddress.ip_network(text)
        return super().__new__(cls, text)


class Url(str):
    """Where an HTTP service is: ``https://witness.example.org/w1/``, without a query."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`.

        Raises:
            ValueError: it is no such URL, or has a password in it.
        """
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{text!r} is no URL that begins with http:// or https://")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{text!r} has more than a host and a path")
        return super().__new__(cls, text)


def check_socket_path(path: Path, key: str) -> None:
    """Raise ValueError for a path that no socket can have; `key` is where it stands."""
    if len(bytes(path)) > UNIX_PATH_BYTES_MAX:
        raise ValueError(f"the path of {key} is longer than {UNIX_PATH_BYTES_MAX} bytes")
