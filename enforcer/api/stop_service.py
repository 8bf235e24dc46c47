"""NodeService as a node serves it: it is reached when Redis and the control plane are not.

Obeys nothing but the signature in the envelope; who brings it needs a certificate of this
installation and, unless it is a node that passes it on, to be its signer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from enforcer.api import translate
from enforcer.api.access import Context
from enforcer.api.acts import brought_act, caller_in
from enforcer.core.envelope import format_envelope
from enforcer.errors import InputError, RefusedError
from enforcer.services.canaries import ASKED_MAX, TRIAL_SECONDS
from enforcer.services.node import Node
from enforcer.services.stops import StopOutcome
from enforcer.services.suspensions import SuspensionOutcome
from enforcer.v1 import node_pb2, node_pb2_grpc

_SUSPENSION_OUTCOMES: Final = {
    SuspensionOutcome.RECORDED: node_pb2.SUSPENSION_OUTCOME_RECORDED,
    SuspensionOutcome.HEEDED: node_pb2.SUSPENSION_OUTCOME_HEEDED,
    SuspensionOutcome.KEPT: node_pb2.SUSPENSION_OUTCOME_KEPT,
}
_OUTCOMES: Final = {
    StopOutcome.RECORDED: node_pb2.STOP_OUTCOME_RECORDED,
    StopOutcome.OBEYED: node_pb2.STOP_OUTCOME_OBEYED,
    StopOutcome.KEPT: node_pb2.STOP_OUTCOME_KEPT,
}


class StopService(node_pb2_grpc.NodeServiceServicer):
    """The node's side; see proto/enforcer/v1/node.proto."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def Attest(
        self, request: node_pb2.AttestRequest, context: Context
    ) -> node_pb2.AttestResponse:
        """Refuse: attestations are for the control plane.

        Raises:
            RefusedError: always.
        """
        del request, context
        raise RefusedError(
            "a node takes no attestations",
            advice="Send it to the control plane.",
            field="envelope",
        )

    async def PushStop(
        self, request: node_pb2.PushStopRequest, context: Context
    ) -> node_pb2.PushStopResponse:
        """Obey a signed stop, and keep it until the ledger has it."""
        envelope = brought_act(request.envelope, context, self._node.state)
        outcome = await self._node.offer_stop(format_envelope(envelope))
        return node_pb2.PushStopResponse(outcome=_OUTCOMES[outcome])

    def Sync(
        self, request: node_pb2.SyncRequest, context: Context
    ) -> AsyncIterator[node_pb2.SyncResponse]:
        """Refuse: a node is nobody's feed.

        Raises:
            RefusedError: always.
        """
        raise RefusedError(
            "a node does not stream the ledger",
            advice="Ask the control plane.",
            field="start_index",
        )

    async def PushSuspension(
        self, request: node_pb2.PushSuspensionRequest, context: Context
    ) -> node_pb2.PushSuspensionResponse:
        """Heed what a safety officer of this network signed, until the ledger has it."""
        envelope = brought_act(request.envelope, context, self._node.state)
        outcome = await self._node.offer_suspension(format_envelope(envelope), request.side_files)
        return node_pb2.PushSuspensionResponse(outcome=_SUSPENSION_OUTCOMES[outcome])

    async def ReadOrder(
        self, request: node_pb2.ReadOrderRequest, context: Context
    ) -> node_pb2.ReadOrderResponse:
        """Read an order as this node has it."""
        index = request.entry_index if request.HasField("entry_index") else None
        here = await self._node.read_order(request.order_id, index)
        order = translate.order_to_message(here.view, here.policy, here.payload)
        return node_pb2.ReadOrderResponse(order=order)

    async def AwaitTrial(
        self, request: node_pb2.AwaitTrialRequest, context: Context
    ) -> node_pb2.AwaitTrialResponse:
        """Tell what the gate has said of orders, as a canary does."""
        if len(request.order_indices) > ASKED_MAX or request.wait_ms > TRIAL_SECONDS * 1_000:
            raise InputError(
                f"{len(request.order_indices)} orders, or {request.wait_ms} ms, are too many",
                advice=f"Ask for at most {ASKED_MAX} orders and {TRIAL_SECONDS:.0f} s at once.",
                field="order_indices",
            )
        caller = caller_in(context, self._node.state)
        said = await self._node.await_trial(
            caller.identity, request.order_indices, request.wait_ms / 1_000
        )
        return node_pb2.AwaitTrialResponse(
            trials=[
                node_pb2.Trial(order_index=index, verdict=node_pb2.TrialVerdict.ValueType(verdict))
                for index, verdict in said.items()
            ]
        )
