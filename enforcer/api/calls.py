"""One connection and its calls: bounds, patience, and errors as the server raised them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import grpc

from enforcer.api.errors import error_of
from enforcer.api.server import REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, TlsFiles

CALL_SECONDS_MAX: Final = 60
STREAM_SECONDS_MAX: Final = 3_600
CONNECT_MS_MIN: Final = 2_000
"""So long a handshake may take: a server to which all nodes come back at once is slow."""
RECONNECT_MS_MAX: Final = 2_000
METADATA_BYTES_MAX: Final = 1 << 16
STREAM_TRIES_MAX: Final = 3
FORGOTTEN: Final = "Internal error from Core"
"""What grpc.aio says when a message could not be sent, whatever the server has answered."""
KEEPALIVE_INTERVAL_MS: Final = 30_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000

T = TypeVar("T")
Q = TypeVar("Q")


def connect(address: str, tls: TlsFiles) -> grpc.aio.Channel:
    """Return a channel; it connects with its first call."""
    return grpc.aio.secure_channel(
        address,
        grpc.ssl_channel_credentials(tls.authority, tls.key, tls.certificate),
        options=[
            ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
            ("grpc.max_send_message_length", REQUEST_BYTES_MAX * 2),  # the server's to refuse
            # Errors come with details, in trailers.
            ("grpc.max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", CONNECT_MS_MIN),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX),
        ],
    )


async def answer(call: Awaitable[T]) -> T:
    """Return what a call answers.

    Raises:
        EnforcerError: what the server raised, or what the failure amounts to.
    """
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error


async def answer_to_stream(begin: Callable[[], Awaitable[T]]) -> T:
    """Return what a call answers to a stream of requests; `begin` makes the call, once for a try.

    When a server refuses before all was sent, grpc.aio may fail at the sending and forget what the
    server said. Then it is asked again; so the call must be one that may be repeated.

    Raises:
        EnforcerError: as :func:`answer`.
    """
    for _ in range(STREAM_TRIES_MAX - 1):
        try:
            return await begin()
        except grpc.aio.AioRpcError as error:
            if (error.code(), error.details()) != (grpc.StatusCode.INTERNAL, FORGOTTEN):
                raise error_of(error) from error
    return await answer(begin())


async def messages(call: grpc.aio.UnaryStreamCall[Q, T]) -> AsyncIterator[T]:
    """Yield what a call streams; raises as :func:`answer`."""
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error
    finally:
        call.cancel()  # no more is wanted, or there is no more
