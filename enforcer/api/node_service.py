"""NodeService as the control plane serves it: attestations and stops come in, the feed goes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache

from enforcer.api import translate
from enforcer.api.access import Context
from enforcer.api.acts import brought_act, caller_in
from enforcer.errors import InputError, RefusedError
from enforcer.services.attestations import Attestations
from enforcer.services.fleet import Outcome
from enforcer.services.ledger import Ledger
from enforcer.services.orders import Orders
from enforcer.services.stopping import Stopping
from enforcer.services.sync_feed import PIECES_KEPT_MAX, SyncFeed, SyncUpdate
from enforcer.v1 import node_pb2, node_pb2_grpc


class NodeService(node_pb2_grpc.NodeServiceServicer):
    """The control plane's side; see proto/enforcer/v1/node.proto for each method."""

    def __init__(
        self,
        ledger: Ledger,
        orders: Orders,
        stopping: Stopping,
        attestations: Attestations,
        feed: SyncFeed,
    ) -> None:
        self._ledger = ledger
        self._orders = orders
        self._stopping = stopping
        self._attestations = attestations
        self._feed = feed

    async def Attest(
        self, request: node_pb2.AttestRequest, context: Context
    ) -> node_pb2.AttestResponse:
        """Check and keep what a node says about itself, also where somebody carried it here."""
        caller = caller_in(context, self._ledger.state)
        try:
            envelope = translate.envelope(request.envelope)
        except InputError as error:
            raise self._attestations.refused(Outcome.MALFORMED, error) from error
        await self._attestations.receive(envelope, caller.identity)
        return node_pb2.AttestResponse()

    async def PushStop(
        self, request: node_pb2.PushStopRequest, context: Context
    ) -> node_pb2.PushStopResponse:
        """Record a stop; a node may pass on what others signed."""
        envelope = brought_act(request.envelope, context, self._ledger.state)
        recorded = await self._stopping.stop(envelope)
        return node_pb2.PushStopResponse(
            outcome=node_pb2.STOP_OUTCOME_RECORDED,
            recorded=translate.recorded_to_message(recorded),
        )

    async def Sync(
        self, request: node_pb2.SyncRequest, context: Context
    ) -> AsyncIterator[node_pb2.SyncResponse]:
        """Stream what the feed has."""
        caller = caller_in(context, self._ledger.state)
        updates = self._feed.follow(
            caller.identity, request.start_index, with_entries=not request.without_entries
        )
        async with aclosing(updates):
            async for update in updates:
                yield _message(update)

    async def PushSuspension(
        self, request: node_pb2.PushSuspensionRequest, context: Context
    ) -> node_pb2.PushSuspensionResponse:
        """Record a safety officer's act; a node may pass on what one signed."""
        envelope = brought_act(request.envelope, context, self._ledger.state)
        recorded = await self._orders.record_suspension(envelope, request.side_files)
        return node_pb2.PushSuspensionResponse(
            outcome=node_pb2.SUSPENSION_OUTCOME_RECORDED,
            recorded=translate.recorded_to_message(recorded),
        )

    async def ReadOrder(
        self, request: node_pb2.ReadOrderRequest, context: Context
    ) -> node_pb2.ReadOrderResponse:
        """Refuse: that is for nodes.

        Raises:
            RefusedError: always.
        """
        del request, context
        raise RefusedError(
            "the control plane answers for orders elsewhere",
            advice="Call OrderService.GetOrder.",
            field="order_id",
        )

    async def AwaitTrial(
        self, request: node_pb2.AwaitTrialRequest, context: Context
    ) -> node_pb2.AwaitTrialResponse:
        """Refuse: that is for canaries.

        Raises:
            RefusedError: always.
        """
        del request, context
        raise RefusedError(
            "the control plane has no gate",
            advice="Name a node that is a canary in follows.",
            field="order_indices",
        )


@lru_cache(maxsize=PIECES_KEPT_MAX)
def _message(update: SyncUpdate) -> node_pb2.SyncResponse:
    """Return an update's message: one for all who get the same update."""
    return node_pb2.SyncResponse(
        first_index=update.first_index,
        entries=update.leaves,
        checkpoint=update.checkpoint_note,
        cosigned=update.cosigned_note,
        stops=update.stops,
    )
