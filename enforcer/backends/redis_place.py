"""Where a Redis is, and how to get there: by an address or by asking sentinels, with TLS or not.

Owns the making of clients; connects to nothing by itself. A place behind sentinels is asked for
anew with each new connection, so that nobody stays with a primary that was demoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from enforcer.errors import InputError

REDIS_PORT: Final = 6_379
CONNECT_TIMEOUT_SECONDS: Final = 2.0
REPLY_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class RedisTls:
    """Whom to believe and what to show, for ``rediss://``; each new connection reads the files."""

    ca: Path | None = None
    """None: the system's authorities."""
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who knows which Redis is the primary at present."""

    addresses: tuple[tuple[str, int], ...]
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """One Redis: ``SCHEME://[USER@]HOST[:PORT][/DATABASE]`` or ``unix://[USER@]/PATH``.

    With `sentinels` HOST is the name by which they know the primary.
    """

    url: str
    password: str | None = None
    tls: RedisTls = RedisTls()
    sentinels: Sentinels | None = None
    is_read_only: bool = False
    """Behind sentinels: read from a replica, and from the primary only when there is none."""

    def client(self, parser: type) -> Redis:
        """Return a client that reads with `parser`; nothing is connected yet.

        Raises:
            InputError: the URL is none, or none that sentinels could answer.
        """
        if "?" in self.url:  # could switch off what is checked of a certificate
            raise self._error("it has options")
        try:
            found: Mapping[str, Any] = parse_url(self.url)
        except ValueError as error:
            raise self._error(str(error)) from error
        settings = _settings(parser, self._secured())
        if self.sentinels is None:
            return Redis.from_url(self.url, password=self.password, **settings)
        return self._managed(self.sentinels, found, settings)

    def sentinel_clients(self, parser: type) -> list[Redis]:
        """Return a client for each sentinel, reading with `parser`; none where there are none."""
        if self.sentinels is None:
            return []
        return self._clients_of(self.sentinels, _settings(parser, self._secured()))

    @property
    def words(self) -> str:
        """The place in words, for people."""
        if self.sentinels is not None:
            return f"the primary {self.primary} of {len(self.sentinels.addresses)} sentinels"
        found = parse_url(self.url)
        host = found.get("host", "localhost")
        return str(found.get("path") or f"{host} port {found.get('port', REDIS_PORT)}")

    def _managed(
        self, sentinels: Sentinels, found: Mapping[str, Any], settings: dict[str, Any]
    ) -> Redis:
        if "path" in found or "port" in found or not self.primary:
            raise self._error("with sentinels it names the primary, and no port")
        is_secured = self.url.startswith("rediss://")
        knowing = Sentinel(())  # its own clients would take replies of any size
        knowing.sentinels = self._clients_of(sentinels, settings)
        pool = SentinelConnectionPool(
            self.primary,
            knowing,
            is_master=not self.is_read_only,
            ssl=is_secured,
            username=found.get("username"),
            password=self.password,
            db=found.get("db", 0),
            **settings,
        )
        return Redis.from_pool(pool)

    def _clients_of(self, sentinels: Sentinels, settings: Mapping[str, Any]) -> list[Redis]:
        asked: dict[str, Any] = {"username": sentinels.user, "password": sentinels.password}
        kind = SSLConnection if self.url.startswith("rediss://") else Connection
        return [
            Redis.from_pool(ConnectionPool(kind, host=host, port=port, **asked, **settings))
            for host, port in sentinels.addresses
        ]

    @property
    def primary(self) -> str:
        """The host as it is written, by which sentinels know the primary; case counts."""
        return self.url.partition("://")[2].rpartition("@")[2].partition("/")[0]

    def _secured(self) -> dict[str, Any]:
        """Return what a connection by TLS needs beyond others, and nothing for one in the clear."""
        if not self.url.startswith("rediss://"):
            return {}
        return {
            "ssl_ca_certs": str(self.tls.ca) if self.tls.ca else None,
            "ssl_certfile": str(self.tls.certificate) if self.tls.certificate else None,
            "ssl_keyfile": str(self.tls.key) if self.tls.key else None,
            "ssl_check_hostname": True,
        }

    def _error(self, why: str) -> InputError:
        return InputError(
            f"{self.url!r} is no Redis URL: {why}",
            advice="Give redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH; with sentinels "
            "redis://PRIMARY or rediss://PRIMARY.",
            field="redis.url",
        )


def _settings(parser: type, secured: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every connection has."""
    return {
        "protocol": 2,
        "parser_class": parser,
        "retry": Retry(NoBackoff(), 1),  # a pooled connection may be one that Redis closed
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_timeout": REPLY_TIMEOUT_SECONDS,
        **secured,
    }
