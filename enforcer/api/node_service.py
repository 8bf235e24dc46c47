"""NodeService as the control plane serves it: attestations come in, stops get recorded."""

from __future__ import annotations

from enforcer.api import translate
from enforcer.api.access import Context
from enforcer.api.identity import caller_of, check_signer, trust_domain
from enforcer.core.key import Role
from enforcer.services.attestations import Attestations
from enforcer.services.ledger import Ledger
from enforcer.services.stopping import Stopping
from enforcer.v1 import node_pb2, node_pb2_grpc


class NodeService(node_pb2_grpc.NodeServiceServicer):
    """The control plane's side; see proto/enforcer/v1/node.proto for each method."""

    def __init__(self, ledger: Ledger, stopping: Stopping, attestations: Attestations) -> None:
        self._ledger = ledger
        self._stopping = stopping
        self._attestations = attestations

    async def Attest(
        self, request: node_pb2.AttestRequest, context: Context
    ) -> node_pb2.AttestResponse:
        """Check and keep what a node says about itself."""
        caller = caller_of(context.auth_context(), trust_domain(self._ledger.state.origin))
        await self._attestations.receive(translate.envelope(request.envelope), caller.identity)
        return node_pb2.AttestResponse()

    async def PushStop(
        self, request: node_pb2.PushStopRequest, context: Context
    ) -> node_pb2.PushStopResponse:
        """Record a stop; a node may pass on what others signed."""
        state = self._ledger.state
        envelope = translate.envelope(request.envelope)
        caller = caller_of(context.auth_context(), trust_domain(state.origin))
        if caller.role is not Role.NODE:
            check_signer(caller, envelope, state)
        recorded = await self._stopping.stop(envelope)
        return node_pb2.PushStopResponse(
            outcome=node_pb2.STOP_OUTCOME_RECORDED,
            recorded=translate.recorded_to_message(recorded),
        )
