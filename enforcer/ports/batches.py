"""Recorded batches of attestations, beside the ledger."""

from __future__ import annotations

from typing import Protocol


class Batches(Protocol):
    """Batches by the end of their interval and their SHA-256. All calls block."""

    def put(self, until_ms: int, data: bytes) -> str:
        """Keep a batch durably, and return its SHA-256; again is no error."""

    def read(self, until_ms: int, sha256_: str) -> bytes:
        """Return a batch.

        Raises:
            NotFoundError: it is not here; in time all but one a day are thinned out.
            IntegrityError: it was altered.
        """

    def thin(self, now_ms: int) -> None:
        """Remove what is no longer kept."""
