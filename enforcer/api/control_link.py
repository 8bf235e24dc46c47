"""A node's way to the control plane over gRPC: :class:`enforcer.ports.ControlLink`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from enforcer.api.client import ControlClient
from enforcer.core.envelope import parse_envelope


class GrpcControlLink:
    """Brings signed bytes through a client that somebody else opens and closes."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    async def attest(self, envelope: bytes) -> None:
        """Deliver a signed attestation; again is no error."""
        await self._client.attest(parse_envelope(envelope))

    async def push_stop(self, envelope: bytes) -> None:
        """Deliver a stop that this node obeys already; the receipt that comes back is verified."""
        await self._client.push_stop(parse_envelope(envelope))

    async def push_suspension(self, envelope: bytes, documents: Sequence[bytes]) -> None:
        """Deliver what this node heeds already; the receipt that comes back is verified.

        Raises:
            EnforcerError: the ledger does not have it, and why.
        """
        await self._client.push_suspension(parse_envelope(envelope), documents)

    async def add_cosignature(self, note: bytes) -> None:
        """Deliver a checkpoint with this node's own cosignature; again is no error."""
        await self._client.add_cosignature(note)

    def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes.

        Raises:
            NotFoundError: the control plane does not have it.
        """
        return self._client.get_target_list(sha256)

    def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another; nothing is verified.

        Raises:
            NotFoundError: the control plane made no such delta.
        """
        return self._client.get_target_list_delta(sha256, base_sha256)

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: the control plane does not have it.
        """
        return await self._client.get_wrap(sealed_sha256, key_id)
