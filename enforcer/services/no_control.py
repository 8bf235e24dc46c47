"""The way to the control plane of a node from which no network leads there.

:class:`enforcer.ports.ControlLink` that delivers nothing and has nothing. Always true: who waits
to deliver goes on keeping it, so that it can be carried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from enforcer.errors import NotFoundError, UnavailableError


class NoControl:
    """Nobody; without state."""

    async def attest(self, envelope: bytes) -> None:
        """Raise UnavailableError: somebody has to carry it."""
        del envelope
        raise _away()

    async def push_stop(self, envelope: bytes) -> None:
        """Raise UnavailableError: whoever signed it brings it to the ledger."""
        del envelope
        raise _away()

    async def push_suspension(self, envelope: bytes, documents: Sequence[bytes]) -> None:
        """Raise UnavailableError: whoever signed it brings it to the ledger."""
        del envelope, documents
        raise _away()

    async def add_cosignature(self, note: bytes) -> None:
        """Raise UnavailableError: what is far away is no good witness."""
        del note
        raise _away()

    async def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Raise NotFoundError."""
        if sha256:
            raise _absent(sha256)
        yield b""

    async def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Raise NotFoundError."""
        if base_sha256:
            raise _absent(sha256)
        yield b""

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Raise NotFoundError."""
        del key_id
        raise _absent(sealed_sha256)


def _away() -> UnavailableError:
    return UnavailableError(
        "no network leads from here to the control plane",
        advice="Carry it there: enforcer node deliver.",
    )


def _absent(sha256: str) -> NotFoundError:
    return NotFoundError(
        f"{sha256} is not here, and no network leads to the control plane",
        advice="Copy the ledger's directory whole, with lists and wraps.",
    )
