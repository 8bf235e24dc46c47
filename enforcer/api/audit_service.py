"""AuditService: what an outsider needs to verify the ledger; it reads, and takes cosignatures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final, TypeVar

from enforcer.api import fleet_messages, translate
from enforcer.api.access import Context
from enforcer.core.envelope import format_envelope
from enforcer.core.tile import TILE_WIDTH
from enforcer.errors import InputError, NotFoundError
from enforcer.ports import Contents, DeltaFiles, LedgerFiles, Wraps
from enforcer.services.attestations import Attestations
from enforcer.services.cosigned import Cosigned
from enforcer.services.fleet_walk import FleetWalk
from enforcer.services.ledger import Ledger
from enforcer.v1 import audit_pb2, audit_pb2_grpc

ENTRIES_PER_MESSAGE_MAX: Final = 256
ENTRY_BYTES_PER_MESSAGE_MAX: Final = 1 << 20
TILE_LEVEL_MAX: Final = 7
TIME_MS_MAX: Final = 2**53 - 1

T = TypeVar("T")


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """One ledger's files; see proto/enforcer/v1/audit.proto for each method."""

    def __init__(
        self,
        files: LedgerFiles,
        lists: Contents,
        deltas: DeltaFiles,
        side: Contents,
        wraps: Wraps,
        cosigned: Cosigned,
        ledger: Ledger,
        *,
        attestations: Attestations,
        walk: FleetWalk,
    ) -> None:
        self._files = files
        self._lists = lists
        self._deltas = deltas
        self._side = side
        self._wraps = wraps
        self._cosigned = cosigned
        self._ledger = ledger
        self._attestations = attestations
        self._walk = walk

    async def GetCheckpoint(
        self, request: audit_pb2.GetCheckpointRequest, context: Context
    ) -> audit_pb2.GetCheckpointResponse:
        """Read the newest signed checkpoint."""
        note = self._files.checkpoint_note
        if note is None:
            raise NotFoundError(
                "the ledger is empty: no checkpoint is signed yet",
                advice="Have the roots sign a policy, and record that first.",
            )
        return audit_pb2.GetCheckpointResponse(checkpoint=note, cosigned=self._cosigned.best or b"")

    async def AddCosignature(
        self, request: audit_pb2.AddCosignatureRequest, context: Context
    ) -> audit_pb2.AddCosignatureResponse:
        """Take a witness's cosignature, whoever brings it."""
        await self._cosigned.add(request.checkpoint)
        return audit_pb2.AddCosignatureResponse()

    async def ReadEntries(
        self, request: audit_pb2.ReadEntriesRequest, context: Context
    ) -> AsyncIterator[audit_pb2.ReadEntriesResponse]:
        """Read entries, as many in each message as fit."""
        first = request.start_index
        entries = self._files.entries(first, request.end_index or self._files.size)
        messages = _messages(first, entries)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            yield message

    async def GetTile(
        self, request: audit_pb2.GetTileRequest, context: Context
    ) -> audit_pb2.GetTileResponse:
        """Read a tile."""
        if request.level > TILE_LEVEL_MAX or request.width > TILE_WIDTH:
            raise InputError(
                f"no tile has level {request.level} and width {request.width}",
                advice=f"Levels go from 0 to {TILE_LEVEL_MAX}, widths from 1 to {TILE_WIDTH}.",
                field="level" if request.level > TILE_LEVEL_MAX else "width",
            )
        hashes = await asyncio.to_thread(
            self._files.tile, request.level, request.index, request.width or TILE_WIDTH
        )
        return audit_pb2.GetTileResponse(hashes=hashes)

    async def GetTargetList(
        self, request: audit_pb2.GetTargetListRequest, context: Context
    ) -> AsyncIterator[audit_pb2.GetTargetListResponse]:
        """Read a target list; who has it all compares its hash."""
        chunks = self._lists.chunks(request.target_list_sha256)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield audit_pb2.GetTargetListResponse(chunk=chunk)

    async def GetTargetListDelta(
        self, request: audit_pb2.GetTargetListDeltaRequest, context: Context
    ) -> AsyncIterator[audit_pb2.GetTargetListDeltaResponse]:
        """Read what a list differs in; who applies it compares the result's hash."""
        chunks = self._deltas.chunks((request.target_list_sha256, request.base_sha256))
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield audit_pb2.GetTargetListDeltaResponse(chunk=chunk)

    async def GetWrap(
        self, request: audit_pb2.GetWrapRequest, context: Context
    ) -> audit_pb2.GetWrapResponse:
        """Read a wrap; nobody but its receiver can use it."""
        sealed = request.sealed_sha256
        wrap = await asyncio.to_thread(self._wraps.read, sealed, request.key_id)
        if wrap is None:
            raise NotFoundError(
                f"there is no wrap of the sealed list {sealed} for this receiver",
                advice="One is made once the roots have registered the receiver's encryption key.",
                field="key_id",
            )
        return audit_pb2.GetWrapResponse(wrap=wrap)

    async def GetSideFile(
        self, request: audit_pb2.GetSideFileRequest, context: Context
    ) -> audit_pb2.GetSideFileResponse:
        """Read a document."""
        data = await asyncio.to_thread(self._side.read, request.side_file_sha256)
        return audit_pb2.GetSideFileResponse(side_file=data)

    async def GetFleet(
        self, request: audit_pb2.GetFleetRequest, context: Context
    ) -> audit_pb2.GetFleetResponse:
        """Read how many nodes are in which state."""
        totals = await self._walk.totals()
        return fleet_messages.fleet_counts(totals, self._ledger.state.attested_until_ms)

    async def ListAttestations(
        self, request: audit_pb2.ListAttestationsRequest, context: Context
    ) -> audit_pb2.ListAttestationsResponse:
        """Read what nodes attested."""
        found = self._attestations.read(
            request.node_id, request.from_ms, request.until_ms or TIME_MS_MAX, request.page_token
        )
        fleet, size = self._attestations.fleet, translate.page_size(request.page_size)
        state, at_ms = self._ledger.state, self._ledger.now_ms()
        page: list[audit_pb2.KeptAttestation] = []
        octets, token = 0, ""
        async for node_id, name, envelope in found:
            octets += len(envelope)
            if len(page) == size or (page and octets > translate.ORDERS_BYTES_MAX):
                return audit_pb2.ListAttestationsResponse(attestations=page, next_page_token=token)
            standing, token = fleet.standing(state, node_id, at_ms), name
            word = standing.word
            is_newest = word is not None and format_envelope(word.envelope) == envelope
            page.append(
                audit_pb2.KeptAttestation(
                    node_id=node_id,
                    envelope=envelope,
                    state=fleet_messages.node_state(standing.exception)
                    if is_newest
                    else audit_pb2.NODE_STATE_UNSPECIFIED,
                    received_at_ms=word.received_at_ms if word is not None and is_newest else 0,
                )
            )
        return audit_pb2.ListAttestationsResponse(attestations=page)


def _messages(
    first_index: int, entries: Iterator[bytes]
) -> Iterator[audit_pb2.ReadEntriesResponse]:
    """Gather entries into messages within their bounds."""
    gathered: list[bytes] = []
    size_bytes = 0
    for entry in entries:
        is_full = (
            len(gathered) == ENTRIES_PER_MESSAGE_MAX
            or size_bytes + len(entry) > ENTRY_BYTES_PER_MESSAGE_MAX
        )
        if gathered and is_full:
            yield audit_pb2.ReadEntriesResponse(first_index=first_index, entries=gathered)
            first_index += len(gathered)
            gathered, size_bytes = [], 0
        gathered.append(entry)
        size_bytes += len(entry)
    if gathered:
        yield audit_pb2.ReadEntriesResponse(first_index=first_index, entries=gathered)
