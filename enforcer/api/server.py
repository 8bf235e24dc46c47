"""The gRPC server: mTLS, the door, explicit bounds, the standard health service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from enforcer.api.access import Access, CheckCertificate
from enforcer.api.shares import CALLS_PER_CALLER_MAX
from enforcer.errors import UnavailableError
from enforcer.services.sync_feed import STREAMS_MAX

REQUEST_BYTES_MAX: Final = 9 << 20
"""Eight side files of 1 MiB and an envelope."""
RESPONSE_BYTES_MAX: Final = 4 << 20
CALLS_AT_ONCE_MAX: Final = 1_024 + STREAMS_MAX
"""Streams to nodes beside the other calls, so that they never take the place of those."""
STREAMS_PER_CONNECTION_MAX: Final = CALLS_PER_CALLER_MAX
KEEPALIVE_INTERVAL_MS: Final = 30_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000
PING_INTERVAL_MS_MIN: Final = 10_000
"""A client that pings more often is disconnected."""
HANDSHAKE_MS_MAX: Final = 20_000
"""A connection that does not become one by then is closed."""
IDLE_MS_MAX: Final = 300_000
"""A connection without any call is closed: calls are bounded for each certificate."""
CONNECTION_AGE_MS_MAX: Final = 3_600_000
"""Then its client makes a new one, by certificates and authorities as they are; calls go on."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What one side shows and whom it believes, all PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    """Not encrypted, so never on a disk and in no message."""
    authority: bytes


class Server:
    """A server that is bound but does not serve yet; services are added before `start`."""

    def __init__(self, domain: str, check: CheckCertificate) -> None:
        self.door: Final = Access(domain, check)
        self.grpc = grpc.aio.server(
            interceptors=[self.door],
            maximum_concurrent_rpcs=CALLS_AT_ONCE_MAX,
            options=[
                ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
                ("grpc.max_send_message_length", RESPONSE_BYTES_MAX),
                ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
                ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
                ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS_MAX),
                ("grpc.max_connection_idle_ms", IDLE_MS_MAX),
                ("grpc.max_connection_age_ms", CONNECTION_AGE_MS_MAX),
                ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
                # Two processes on one port would share the calls between them.
                ("grpc.so_reuseport", 0),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)

    def bind(self, address: str, tls: Callable[[], TlsFiles]) -> int:
        """Take the address; clients must show a certificate by the authority. Returns the port.

        `tls` is asked at each new connection, from threads of gRPC's: it must answer at once.

        Raises:
            UnavailableError: the address is taken, or is not this machine's.
        """
        given = tls()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            newest = tls()
            if newest is given:
                return None
            given = newest
            return _configuration(newest)

        # Kept: gRPC calls `changed` by a bare pointer into them.
        self._credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(given),
            cast("Callable[[], grpc.ServerCertificateConfiguration]", changed),
            require_client_authentication=True,
        )
        try:
            return self.grpc.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {address}",
                advice="Check that no other process has it, and certificate, key and authority.",
                address=address,
            ) from error

    async def start(self) -> None:
        """Serve, and say so to the health service."""
        await self.grpc.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, let running ones end for that long, then cut them."""
        await self._health.enter_graceful_shutdown()
        await self.grpc.stop(grace_seconds)


def _configuration(tls: TlsFiles) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], root_certificates=tls.authority
    )
