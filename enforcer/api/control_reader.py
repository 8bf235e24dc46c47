"""A control plane read from the other end: orders, the policy, and what verifies the ledger.

What comes back is not believed: a checkpoint must be signed by the trusted log key, a list, a
document and a policy must hash to their names. Errors are those that the server raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import Final, Self, TypeAlias

from enforcer.api.calls import CALL_SECONDS_MAX, STREAM_SECONDS_MAX, answer, connect, messages
from enforcer.api.server import TlsFiles
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.envelope import Verify
from enforcer.core.note import Note, VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import EnforcerError, IntegrityError, UnavailableError
from enforcer.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    order_pb2,
    order_pb2_grpc,
    trust_pb2,
    trust_pb2_grpc,
)

RESUME_SECONDS: Final = 0.5
"""How long a watcher that was cut off waits before it goes on."""

Explain: TypeAlias = Callable[[], Awaitable[EnforcerError | None]]
"""Finds out why a server cannot be reached; None where there is no more to say."""

GRACE_SECONDS: Final = 10
"""How long calls may go on over a connection whose certificates are replaced."""


class ControlReader:
    """A connection to a control plane, for reading; a context manager."""

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        trust: Trust,
        verify: Verify,
        explain: Explain | None = None,
    ) -> None:
        self._address = address
        self._trust = trust
        self._log_key = VerifierKey.parse(trust.log_vkey)
        self._verify = verify
        self._explain = explain
        self._open(tls)

    def _open(self, tls: TlsFiles) -> None:
        self._channel = connect(self._address, tls)
        self._orders = order_pb2_grpc.OrderServiceStub(self._channel)
        self._trusts = trust_pb2_grpc.TrustServiceStub(self._channel)
        self._audit = audit_pb2_grpc.AuditServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self._channel.close()
        if isinstance(error, UnavailableError) and self._explain is not None:
            better = await self._explain()
            if better is not None:
                raise better from error

    async def use(self, tls: TlsFiles) -> None:
        """Show other certificates from now on; calls that have begun may end."""
        former = self._channel
        self._open(tls)
        await former.close(GRACE_SECONDS)

    async def get(self, order_id: str = "", entry_index: int | None = None) -> order_pb2.Order:
        """Read one order: its newest version, or the one proposed by that entry."""
        request = order_pb2.GetOrderRequest(order_id=order_id, entry_index=entry_index)
        response = await answer(self._orders.GetOrder(request, timeout=CALL_SECONDS_MAX))
        return response.order

    async def order_fleet(
        self, order_id: str, entry_index: int | None = None, *, with_nodes: bool = False
    ) -> order_pb2.OrderFleet:
        """Read how an order stands at the nodes, as the control plane says."""
        request = order_pb2.GetOrderRequest(
            order_id=order_id, entry_index=entry_index, with_fleet=True, with_nodes=with_nodes
        )
        return (await answer(self._orders.GetOrder(request, timeout=CALL_SECONDS_MAX))).fleet

    async def fleet(self) -> audit_pb2.GetFleetResponse:
        """Read how many nodes are in which state, as the control plane says."""
        request = audit_pb2.GetFleetRequest()
        return await answer(self._audit.GetFleet(request, timeout=CALL_SECONDS_MAX))

    async def attestations(
        self, node_id: str = "", from_ms: int = 0, until_ms: int = 0, page_size: int = 0
    ) -> AsyncIterator[audit_pb2.KeptAttestation]:
        """Read the newest attestation of each node, or what is kept of one, page by page."""
        request = audit_pb2.ListAttestationsRequest(
            node_id=node_id, from_ms=from_ms, until_ms=until_ms, page_size=page_size
        )
        while True:
            call = self._audit.ListAttestations(request, timeout=CALL_SECONDS_MAX)
            page = await answer(call)
            for each in page.attestations:
                yield each
            request.page_token = page.next_page_token
            if not request.page_token:
                return

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
        return await answer(self._orders.ListOrders(request, timeout=CALL_SECONDS_MAX))

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

    async def watch_orders(
        self,
        start_index: int = 0,
        order_id: str = "",
        *,
        once: bool = False,
        with_fleet: bool = False,
    ) -> AsyncIterator[order_pb2.WatchOrdersResponse]:
        """Read entries that concern orders (or one), and follow, however often it is cut off.

        With `once` it ends after what there is now, and raises when it is cut off. With
        `with_fleet` news from the nodes come too, those that there are while it is not cut off.
        """
        while True:
            request = order_pb2.WatchOrdersRequest(
                start_index=start_index, order_id=order_id, once=once, with_fleet=with_fleet
            )
            timeout = STREAM_SECONDS_MAX if once else None
            try:
                async for message in messages(self._orders.WatchOrders(request, timeout=timeout)):
                    if message.HasField("news"):
                        yield message
                        continue
                    if message.entry_index < start_index:
                        raise IntegrityError(
                            f"entry {message.entry_index} came again",
                            advice="Stop trusting this server.",
                            index=message.entry_index,
                        )
                    start_index = message.entry_index + 1
                    yield message
            except UnavailableError:
                if once:
                    raise
            else:
                if once:
                    return
            await asyncio.sleep(RESUME_SECONDS)

    async def policy(self) -> trust_pb2.GetPolicyResponse:
        """Read the policy in force; its hash is checked."""
        response = await answer(
            self._trusts.GetPolicy(trust_pb2.GetPolicyRequest(), timeout=CALL_SECONDS_MAX)
        )
        check_hash(response.payload, response.payload_sha256, "policy")
        return response

    async def receivers(self) -> trust_pb2.ListReceiversResponse:
        """Read for whom the secret of a sealed list is wrapped."""
        request = trust_pb2.ListReceiversRequest()
        return await answer(self._trusts.ListReceivers(request, timeout=CALL_SECONDS_MAX))

    async def checkpoint(self) -> tuple[Checkpoint, bytes]:
        """Read the newest checkpoint, and the note by which the log signed it."""
        response = await answer(
            self._audit.GetCheckpoint(audit_pb2.GetCheckpointRequest(), timeout=CALL_SECONDS_MAX)
        )
        opened = open_checkpoint(
            response.checkpoint, self._trust.origin, self._log_key, self._verify
        )
        return opened, response.checkpoint

    async def witnessed(self) -> Checkpoint | None:
        """Read the newest checkpoint that has the quorum which the trust asks for, if one has.

        Raises:
            IntegrityError: the log or a witness did not sign what it says they did.
        """
        response = await answer(
            self._audit.GetCheckpoint(audit_pb2.GetCheckpointRequest(), timeout=CALL_SECONDS_MAX)
        )
        note = response.cosigned
        if not note or not self._trust.witnesses.has_quorum(Note.parse(note), self._verify):
            return None
        return open_checkpoint(note, self._trust.origin, self._trust.key_of(note), self._verify)

    async def read_entries(self, start: int = 0, end: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Read (index, leaf) from `start` to before `end`, 0 meaning all; nothing is verified."""
        request = audit_pb2.ReadEntriesRequest(start_index=start, end_index=end)
        index = start
        async for message in messages(self._audit.ReadEntries(request, timeout=STREAM_SECONDS_MAX)):
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
        response = await answer(self._audit.GetTile(request, timeout=CALL_SECONDS_MAX))
        return response.hashes

    async def get_target_list(self, name: str) -> AsyncIterator[bytes]:
        """Read a target list in chunks; after the last one its hash is checked.

        Raises:
            IntegrityError: at the end, when what came has another hash.
        """
        request = audit_pb2.GetTargetListRequest(target_list_sha256=name)
        hashed = sha256()
        async for message in messages(
            self._audit.GetTargetList(request, timeout=STREAM_SECONDS_MAX)
        ):
            hashed.update(message.chunk)
            yield message.chunk
        if hashed.hexdigest() != name:
            raise _other_content("target list", name, hashed.hexdigest())

    async def get_target_list_delta(self, name: str, base: str) -> AsyncIterator[bytes]:
        """Read what a list differs in from the list `base`, in chunks; nothing is verified."""
        request = audit_pb2.GetTargetListDeltaRequest(target_list_sha256=name, base_sha256=base)
        async for message in messages(
            self._audit.GetTargetListDelta(request, timeout=STREAM_SECONDS_MAX)
        ):
            yield message.chunk

    async def get_wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Read a sealed list's key, wrapped for one receiver; nothing is verified."""
        request = audit_pb2.GetWrapRequest(sealed_sha256=sealed_sha256, key_id=key_id)
        response = await answer(self._audit.GetWrap(request, timeout=CALL_SECONDS_MAX))
        return response.wrap

    async def get_side_file(self, name: str) -> bytes:
        """Read a document, its salt before it; its hash is checked."""
        request = audit_pb2.GetSideFileRequest(side_file_sha256=name)
        response = await answer(self._audit.GetSideFile(request, timeout=CALL_SECONDS_MAX))
        check_hash(response.side_file, name, "side file")
        return response.side_file


def check_hash(data: bytes, expected: str, what: str) -> None:
    """Check what came against the hash that named it.

    Raises:
        IntegrityError: it is something else.
    """
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
