"""The control plane, from the other end: one method for each of its own.

What comes back is not believed: a receipt is verified against the trusted log key before it is
returned, and must be about the very act that was sent. Errors are those that the server raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from enforcer.api import translate
from enforcer.api.calls import (
    CALL_SECONDS_MAX,
    STREAM_SECONDS_MAX,
    answer,
    answer_to_stream,
    messages,
)
from enforcer.api.control_reader import ControlReader, check_hash
from enforcer.api.server import TlsFiles
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope, format_envelope
from enforcer.core.receipt import verify_receipt
from enforcer.core.target import ListSummary
from enforcer.errors import IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import TrialVerdict
from enforcer.services.ledger import Recorded
from enforcer.v1 import (
    audit_pb2,
    node_pb2,
    node_pb2_grpc,
    order_pb2,
    record_pb2,
    trust_pb2,
)

CHUNK_BYTES: Final = 1 << 18
TRIAL_GRACE_SECONDS: Final = 2.0

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in bytes."""


@dataclass(frozen=True, slots=True)
class PushedSuspension:
    """What became of a safety officer's act; ``recorded`` where the ledger has it and proved it."""

    outcome: node_pb2.SuspensionOutcome.ValueType
    recorded: Recorded | None


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a pushed stop; ``recorded`` where the ledger has it and proved it."""

    outcome: node_pb2.StopOutcome.ValueType
    recorded: Recorded | None


class ControlClient(ControlReader):
    """A connection to a control plane (or, for `push_stop`, to a node); a context manager."""

    def _open(self, tls: TlsFiles) -> None:
        super()._open(tls)
        self._nodes = node_pb2_grpc.NodeServiceStub(self._channel)

    # Mutations: each may be repeated, and raises what the server raised.

    async def upload_targets(
        self, path: Path, progress: Progress | None = None, *, wrap: bytes = b""
    ) -> ListSummary:
        """Bring a canonical target list; one that is there already is not sent again.

        A sealed list comes with its secret, wrapped for the control plane; it has no counts then.

        Raises:
            NotFoundError, UnavailableError: the list cannot be read.
        """
        name, size_bytes = await asyncio.to_thread(_measure, path)

        async def parts() -> AsyncIterator[order_pb2.UploadTargetsRequest]:
            yield order_pb2.UploadTargetsRequest(
                header=order_pb2.UploadTargetsHeader(
                    target_list_sha256=name, size_bytes=size_bytes, wrap=wrap
                )
            )
            done = 0
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield order_pb2.UploadTargetsRequest(chunk=chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(done, size_bytes)

        response = await answer_to_stream(
            lambda: self._orders.UploadTargets(parts(), timeout=STREAM_SECONDS_MAX)
        )
        return ListSummary(name, response.target_count, response.name_count)

    async def propose(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record an order that a proposer signed; None when it was only judged."""
        return (await self.propose_held(envelope, side_files, validate_only=validate_only))[0]

    async def propose_held(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> tuple[Recorded | None, order_pb2.ProposeOrderResponse]:
        """Record an order that a proposer signed; the answer says as well what holds it."""
        request = order_pb2.ProposeOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await answer(self._orders.ProposeOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only), response

    async def guard_report(self, report_sha256: str) -> bytes:
        """Read the report on a proposal that guards refused; its hash is checked."""
        request = order_pb2.GetGuardReportRequest(report_sha256=report_sha256)
        response = await answer(self._orders.GetGuardReport(request, timeout=CALL_SECONDS_MAX))
        check_hash(response.guard_report, report_sha256, "guard report")
        return response.guard_report

    async def draft_assessment(self, order_id: str, entry_index: int | None = None) -> bytes:
        """Read the facts that an assessment of an order must name, as they are now."""
        request = order_pb2.DraftAssessmentRequest(order_id=order_id, entry_index=entry_index)
        response = await answer(self._orders.DraftAssessment(request, timeout=CALL_SECONDS_MAX))
        return response.facts

    async def approve(self, envelope: Envelope, *, validate_only: bool = False) -> Recorded | None:
        """Record an approval; None when it was only judged."""
        request = order_pb2.ApproveOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only
        )
        response = await answer(self._orders.ApproveOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def stop(self, envelope: Envelope, side_files: Sequence[bytes] = ()) -> Recorded:
        """Record a stop."""
        request = order_pb2.StopOrderRequest(
            envelope=format_envelope(envelope), side_files=side_files
        )
        response = await answer(self._orders.StopOrder(request, timeout=CALL_SECONDS_MAX))
        return self._proved(envelope, response.recorded)

    async def extend(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record a later end that two persons signed; None when it was only judged."""
        request = order_pb2.ExtendOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await answer(self._orders.ExtendOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def reject(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record that a proposal is turned down; None when it was only judged."""
        request = order_pb2.RejectOrderRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await answer(self._orders.RejectOrder(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def record_act(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record any other act about an order; None when it was only judged."""
        request = order_pb2.RecordActRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await answer(self._orders.RecordAct(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def record_root_act(
        self, envelope: Envelope, side_files: Sequence[bytes] = (), *, validate_only: bool = False
    ) -> Recorded | None:
        """Record what the roots signed; None when it was only judged."""
        request = trust_pb2.RecordRootActRequest(
            envelope=format_envelope(envelope), validate_only=validate_only, side_files=side_files
        )
        response = await answer(self._trusts.RecordRootAct(request, timeout=CALL_SECONDS_MAX))
        return self._judged(envelope, response.recorded, validate_only)

    async def attest(self, envelope: Envelope) -> None:
        """Bring a node's attestation."""
        request = node_pb2.AttestRequest(envelope=format_envelope(envelope))
        await answer(self._nodes.Attest(request, timeout=CALL_SECONDS_MAX))

    async def add_cosignature(self, note: bytes) -> None:
        """Bring a checkpoint with a witness's cosignature."""
        request = audit_pb2.AddCosignatureRequest(checkpoint=note)
        await answer(self._audit.AddCosignature(request, timeout=CALL_SECONDS_MAX))

    async def push_stop(self, envelope: Envelope) -> Pushed:
        """Push a stop to a control plane or straight to a node."""
        request = node_pb2.PushStopRequest(envelope=format_envelope(envelope))
        response = await answer(self._nodes.PushStop(request, timeout=CALL_SECONDS_MAX))
        has_proof = response.HasField("recorded")
        recorded = self._proved(envelope, response.recorded) if has_proof else None
        return Pushed(response.outcome, recorded)

    def sync(
        self, start_index: int, *, without_entries: bool = False
    ) -> AsyncIterator[node_pb2.SyncResponse]:
        """Stream what the feed has, for as long as it is read; nothing is verified.

        Raises:
            UnavailableError: it was cut off; go on with the index that was come to.
        """
        request = node_pb2.SyncRequest(start_index=start_index, without_entries=without_entries)
        return messages(self._nodes.Sync(request))

    async def push_suspension(
        self,
        envelope: Envelope,
        side_files: Sequence[bytes] = (),
        *,
        seconds_max: float = CALL_SECONDS_MAX,
    ) -> PushedSuspension:
        """Push a safety officer's act to a control plane or straight to a node."""
        request = node_pb2.PushSuspensionRequest(
            envelope=format_envelope(envelope), side_files=side_files
        )
        response = await answer(self._nodes.PushSuspension(request, timeout=seconds_max))
        has_proof = response.HasField("recorded")
        recorded = self._proved(envelope, response.recorded) if has_proof else None
        return PushedSuspension(response.outcome, recorded)

    async def await_trial(
        self, order_indices: Sequence[int], wait_seconds: float
    ) -> dict[int, TrialVerdict]:
        """Ask a canary what its gate has said of orders; it answers within `wait_seconds`.

        A verdict that this version does not know is none.
        """
        request = node_pb2.AwaitTrialRequest(
            order_indices=order_indices, wait_ms=int(wait_seconds * 1_000)
        )
        seconds_max = wait_seconds + TRIAL_GRACE_SECONDS
        response = await answer(self._nodes.AwaitTrial(request, timeout=seconds_max))
        known = {int(each) for each in TrialVerdict if each}
        return {
            each.order_index: TrialVerdict(each.verdict)
            for each in response.trials
            if each.verdict in known
        }

    async def read_order(
        self, order_id: str, entry_index: int | None = None, *, seconds_max: float
    ) -> order_pb2.Order:
        """Read an order from a node, as it has it; nothing of it is proven but its hash."""
        request = node_pb2.ReadOrderRequest(order_id=order_id, entry_index=entry_index)
        response = await answer(self._nodes.ReadOrder(request, timeout=seconds_max))
        return response.order

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


def _measure(path: Path) -> tuple[str, int]:
    hashed, size_bytes = sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                hashed.update(chunk)
                size_bytes += len(chunk)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no file {path}", advice="Name the target list.", path=str(path)
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be read: {error.strerror}",
            advice="Check that it is a file, its owner and its rights.",
            path=str(path),
        ) from error
    return hashed.hexdigest(), size_bytes
