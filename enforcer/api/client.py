"""The control plane, from the other end: one method for each of its own.

What comes back is not believed: a receipt is verified against the trusted log key before it is
returned, and must be about the very act that was sent; a list and a side file must hash to
their names. Errors are those that the server raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Self, TypeAlias, TypeVar

import grpc

from enforcer.api import translate
from enforcer.api.errors import error_of
from enforcer.api.server import REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, TlsFiles
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope, Verify, format_envelope
from enforcer.core.note import VerifierKey
from enforcer.core.receipt import verify_receipt
from enforcer.core.target import ListSummary
from enforcer.core.trust import Trust
from enforcer.errors import IntegrityError, UnavailableError
from enforcer.services.ledger import Recorded
from enforcer.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    record_pb2,
    trust_pb2,
    trust_pb2_grpc,
)

CALL_SECONDS_MAX: Final = 60
STREAM_SECONDS_MAX: Final = 3_600
CHUNK_BYTES: Final = 1 << 18
RECONNECT_MS_MAX: Final = 2_000
METADATA_BYTES_MAX: Final = 1 << 16

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in bytes."""
T = TypeVar("T")
Q = TypeVar("Q")


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a pushed stop; ``recorded`` where the ledger has it and proved it."""

    outcome: node_pb2.StopOutcome.ValueType
    recorded: Recorded | None


class ControlClient:
    """A connection to a control plane (or, for `push_stop`, to a node); a context manager."""

    def __init__(self, address: str, tls: TlsFiles, trust: Trust, verify: Verify) -> None:
        self._trust = trust
        self._log_key = VerifierKey.parse(trust.log_vkey)
        self._verify = verify
        self._channel = grpc.aio.secure_channel(
            address,
            grpc.ssl_channel_credentials(tls.authority, tls.key, tls.certificate),
            options=[
                ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
                ("grpc.max_send_message_length", REQUEST_BYTES_MAX * 2),  # the server's to refuse
                # Errors come with details, in trailers.
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX),
            ],
        )
        self._orders = order_pb2_grpc.OrderServiceStub(self._channel)
        self._trusts = trust_pb2_grpc.TrustServiceStub(self._channel)
        self._audit = audit_pb2_grpc.AuditServiceStub(self._channel)
        self._nodes = node_pb2_grpc.NodeServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    # Mutations: each may be repeated, and raises what the server raised.

    async def upload_targets(self, path: Path, progress: Progress | None = None) -> ListSummary:
        """Bring a canonical target list; one that is there already is not sent again."""
        name, size_bytes = await asyncio.to_thread(_measure, path)

        async def parts() -> AsyncIterator[order_pb2.UploadTargetsRequest]:
            yield order_pb2.UploadTargetsRequest(
                header=order_pb2.UploadTargetsHeader(target_list_sha256=name, size_bytes=size_bytes)
            )
            done = 0
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield order_pb2.UploadTargetsRequest(chunk=chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(done, size_bytes)

        response = await _answer(self._orders.UploadTargets(parts(), timeout=STREAM_SECONDS_MAX))
        return ListSummary(name, response.target_count, response.name_count)

    async def propose(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record an order that a proposer signed; None when it was only judged."""
        request = order_pb2.ProposeOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await _answer(self._orders.ProposeOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def approve(self, envelope: Envelope, *, validate_only: bool = False) -> Recorded | None:
        """Record an approval; None when it was only judged."""
        request = order_pb2.ApproveOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only
        )
        response = await _answer(self._orders.ApproveOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def stop(self, envelope: Envelope, side_files: Sequence[bytes] = ()) -> Recorded:
        """Record a stop."""
        request = order_pb2.StopOrderRequest(
            envelope=format_envelope(envelope), side_files=side_files
        )
        response = await _answer(self._orders.StopOrder(request, timeout=CALL_SECONDS_MAX))
        return self._proved(envelope, response.recorded)

    async def extend(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record a later end that two persons signed; None when it was only judged."""
        request = order_pb2.ExtendOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await _answer(self._orders.ExtendOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def record_root_act(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record what the roots signed; None when it was only judged."""
        request = trust_pb2.RecordRootActRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await _answer(self._trusts.RecordRootAct(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def attest(self, envelope: Envelope) -> None:
        """Bring a node's attestation."""
        request = node_pb2.AttestRequest(envelope=format_envelope(envelope))
        await _answer(self._nodes.Attest(request, timeout=CALL_SECONDS_MAX))

    async def push_stop(self, envelope: Envelope) -> Pushed:
        """Push a stop to a control plane or straight to a node."""
        request = node_pb2.PushStopRequest(envelope=format_envelope(envelope))
        response = await _answer(self._nodes.PushStop(request, timeout=CALL_SECONDS_MAX))
        has_proof = response.HasField("recorded")
        recorded = self._proved(envelope, response.recorded) if has_proof else None
        return Pushed(response.outcome, recorded)

    # Reading.

    async def get(self, order_id: str = "", entry_index: int | None = None) -> order_pb2.Order:
        """Read one order: its newest version, or the one proposed by that entry."""
        request = order_pb2.GetOrderRequest(order_id=order_id, entry_index=entry_index)
        response = await _answer(self._orders.GetOrder(request, timeout=CALL_SECONDS_MAX))
        return response.order

    async def list_orders(
        self,
        status: order_pb2.OrderStatus.ValueType = order_pb2.ORDER_STATUS_UNSPECIFIED,
        page_size: int = 0,
        page_token: str = "",
    ) -> order_pb2.ListOrdersResponse:
        """Read one page of orders."""
        request = order_pb2.ListOrdersRequest(
            page_size=page_size, page_token=page_token, status=status
        )
        return await _answer(self._orders.ListOrders(request, timeout=CALL_SECONDS_MAX))

    async def orders(
        self, status: order_pb2.OrderStatus.ValueType = order_pb2.ORDER_STATUS_UNSPECIFIED
    ) -> AsyncIterator[order_pb2.Order]:
        """Read all orders, page by page."""
        token = ""
        while True:
            page = await self.list_orders(status, page_token=token)
            for order in page.orders:
                yield order
            token = page.next_page_token
            if not token:
                return

    async def policy(self) -> trust_pb2.GetPolicyResponse:
        """Read the policy in force; its hash is checked."""
        response = await _answer(
            self._trusts.GetPolicy(trust_pb2.GetPolicyRequest(), timeout=CALL_SECONDS_MAX)
        )
        _check_hash(response.payload, response.payload_sha256, "policy")
        return response

    async def checkpoint(self) -> tuple[Checkpoint, bytes]:
        """Read the newest checkpoint, and the note by which the log signed it."""
        response = await _answer(
            self._audit.GetCheckpoint(audit_pb2.GetCheckpointRequest(), timeout=CALL_SECONDS_MAX)
        )
        opened = open_checkpoint(
            response.checkpoint, self._trust.origin, self._log_key, self._verify
        )
        return opened, response.checkpoint

    async def read_entries(self, start: int = 0, end: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Read (index, leaf) from `start` to before `end`, 0 meaning all; nothing is verified."""
        request = audit_pb2.ReadEntriesRequest(start_index=start, end_index=end)
        index = start
        async for message in _messages(
            self._audit.ReadEntries(request, timeout=STREAM_SECONDS_MAX)
        ):
            if message.first_index != index:
                raise IntegrityError(
                    f"entry {index} was to come, and {message.first_index} came",
                    advice="Stop trusting this server.",
                    index=index,
                )
            for entry in message.entries:
                yield index, entry
                index += 1

    async def get_tile(self, level: int, index: int, width: int = 0) -> bytes:
        """Read a tile of hashes; nothing is verified."""
        request = audit_pb2.GetTileRequest(level=level, index=index, width=width)
        response = await _answer(self._audit.GetTile(request, timeout=CALL_SECONDS_MAX))
        return response.hashes

    async def get_target_list(self, name: str) -> AsyncIterator[bytes]:
        """Read a target list in chunks; after the last one its hash is checked.

        Raises:
            IntegrityError: at the end, when what came has another hash.
        """
        request = audit_pb2.GetTargetListRequest(target_list_sha256=name)
        hashed = sha256()
        async for message in _messages(
            self._audit.GetTargetList(request, timeout=STREAM_SECONDS_MAX)
        ):
            hashed.update(message.chunk)
            yield message.chunk
        if hashed.hexdigest() != name:
            raise _other_content("target list", name, hashed.hexdigest())

    async def get_side_file(self, name: str) -> bytes:
        """Read a document, its salt before it; its hash is checked."""
        request = audit_pb2.GetSideFileRequest(side_file_sha256=name)
        response = await _answer(self._audit.GetSideFile(request, timeout=CALL_SECONDS_MAX))
        _check_hash(response.side_file, name, "side file")
        return response.side_file

    # What is believed.

    def _judged(
        self, envelope: Envelope, message: record_pb2.Recorded, validate_only: bool
    ) -> Recorded | None:
        return None if validate_only else self._proved(envelope, message)

    def _proved(self, envelope: Envelope, message: record_pb2.Recorded) -> Recorded:
        """Return the answer if its receipt proves that this act stands in the ledger."""
        recorded = translate.recorded_from_message(message)
        verify_receipt(
            recorded.receipt, recorded.leaf, self._trust.origin, self._log_key, self._verify
        )
        stands = parse(recorded.leaf).envelope
        is_ours = (stands.payload_type, stands.payload) == (envelope.payload_type, envelope.payload)
        if recorded.receipt.index != recorded.index or not is_ours:
            raise IntegrityError(
                "the receipt is about another act than the one that was sent",
                advice="Keep it as evidence, and ask the ledger's operator.",
                index=recorded.index,
            )
        return recorded


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error
    except asyncio.InvalidStateError as error:  # grpc.aio's word for a channel closed meanwhile
        raise UnavailableError(
            "the connection was closed", advice="Connect again and repeat the call."
        ) from error


async def _messages(call: grpc.aio.UnaryStreamCall[Q, T]) -> AsyncIterator[T]:
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error
    finally:
        call.cancel()  # no more is wanted, or there is no more


def _measure(path: Path) -> tuple[str, int]:
    hashed, size_bytes = sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            hashed.update(chunk)
            size_bytes += len(chunk)
    return hashed.hexdigest(), size_bytes


def _check_hash(data: bytes, expected: str, what: str) -> None:
    got = sha256(data).hexdigest()
    if got != expected:
        raise _other_content(what, expected, got)


def _other_content(what: str, expected: str, got: str) -> IntegrityError:
    return IntegrityError(
        f"the {what} that came hashes to {got}, not to {expected}",
        advice="Stop trusting this server; read it from another source.",
        expected=expected,
        got=got,
    )
