"""The ways to others: the control plane, canaries, and witnesses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import IntEnum
from typing import Protocol


class ControlLink(Protocol):
    """A node's way to the control plane; never on the query path."""

    async def attest(self, envelope: bytes) -> None:
        """Deliver a signed attestation; again is no error."""

    async def push_stop(self, envelope: bytes) -> None:
        """Deliver a stop that this node obeys already, so that it gets into the ledger."""

    async def push_suspension(self, envelope: bytes, documents: Sequence[bytes]) -> None:
        """Deliver a safety officer's act that this node heeds already, and its reason.

        Raises:
            EnforcerError: the ledger does not have it, and why; it may be tried again.
        """

    async def add_cosignature(self, note: bytes) -> None:
        """Deliver a checkpoint with this node's own cosignature; again is no error."""

    def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes, where the feed does not have it.

        Raises:
            NotFoundError: the control plane does not have it either.
        """

    def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another; nothing is verified.

        Raises:
            NotFoundError: the control plane made no such delta.
        """

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver, where the feed does not have it.

        Raises:
            NotFoundError: the control plane does not have it either.
        """


class TrialVerdict(IntEnum):
    """What a canary's gate said of an order."""

    UNSPECIFIED = 0
    PASSED = 1
    """It has it in force, and no golden name is blocked."""
    BLAMED = 2
    """It refuses it: the order blocks a golden name."""


class CanaryLink(Protocol):
    """The way to a canary: another node of the same network, which takes new blocks first."""

    async def await_trial(
        self, order_indices: Sequence[int], wait_seconds: float
    ) -> Mapping[int, TrialVerdict]:
        """Return what its gate has said of some of these orders, as soon as it has.

        Nothing, when it has said nothing within `wait_seconds`.

        Raises:
            EnforcerError: it is away, or is no canary of this network.
        """


class WitnessLink(Protocol):
    """The way to one witness (C2SP tlog-witness)."""

    async def add_checkpoint(self, body: bytes) -> bytes:
        """Bring an add-checkpoint request and return the signature lines of the answer, unread.

        Raises:
            ConflictError: 409; ``data["size"]`` is the size that the witness is at.
            RefusedError: 400, 403, 404 or 422: the witness will not cosign this.
            UnavailableError: it did not answer in time, or with something else.
        """

    async def latest(self, origin: str) -> bytes:
        """Return the newest checkpoint of a log that it cosigned, with its line of now, unread.

        C2SP tlog-witness has no such request: only some witnesses offer it.

        Raises:
            RefusedError: it offers none of this log.
            UnavailableError: it did not answer in time, or with something else.
        """
