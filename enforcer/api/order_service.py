"""OrderService and TrustService: signed acts come in, orders and the policy go out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from enforcer.api import fleet_messages, translate
from enforcer.api.access import Context, check_act
from enforcer.api.acts import caller_in, signed_act
from enforcer.core.entry import parse
from enforcer.core.envelope import Envelope
from enforcer.core.key import Role
from enforcer.errors import InputError
from enforcer.services.fleet_orders import FleetOrders
from enforcer.services.fleet_watch import FleetNews
from enforcer.services.guards import Guards
from enforcer.services.ledger import Ledger, Recorded
from enforcer.services.order_reader import OrderReader
from enforcer.services.order_watch import OrderWatch
from enforcer.services.orders import Orders
from enforcer.services.stopping import Stopping
from enforcer.services.uploads import Uploads
from enforcer.v1 import order_pb2, order_pb2_grpc, record_pb2, trust_pb2, trust_pb2_grpc

CHUNK_BYTES_MAX: Final = 1 << 20


class OrderService(order_pb2_grpc.OrderServiceServicer):
    """The orders of one ledger; see proto/enforcer/v1/order.proto for each method."""

    def __init__(
        self,
        ledger: Ledger,
        orders: Orders,
        stopping: Stopping,
        reader: OrderReader,
        watch: OrderWatch,
        uploads: Uploads,
        guards: Guards,
        fleet: FleetOrders,
    ) -> None:
        self._ledger = ledger
        self._orders = orders
        self._stopping = stopping
        self._reader = reader
        self._watch = watch
        self._uploads = uploads
        self._guards = guards
        self._fleet = fleet

    async def UploadTargets(
        self, request_iterator: AsyncIterator[order_pb2.UploadTargetsRequest], context: Context
    ) -> order_pb2.UploadTargetsResponse:
        """Take a target list in."""
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "header":
            raise InputError(
                "the upload does not begin with its header",
                advice="Send the list's hash and length first, then its chunks.",
                field="header",
            )
        header = first.header
        name, size_bytes, chunks = (
            header.target_list_sha256,
            header.size_bytes,
            _chunks(request_iterator),
        )
        if header.wrap:
            await self._uploads.receive_sealed(name, size_bytes, chunks, header.wrap)
            return order_pb2.UploadTargetsResponse(target_list_sha256=name)
        summary = await self._uploads.receive(name, size_bytes, chunks)
        return order_pb2.UploadTargetsResponse(
            target_list_sha256=summary.sha256,
            target_count=summary.target_count,
            name_count=summary.name_count,
        )

    async def ProposeOrder(
        self, request: order_pb2.ProposeOrderRequest, context: Context
    ) -> order_pb2.ProposeOrderResponse:
        """Record a proposal, or only judge it."""
        proposed = await self._orders.propose(
            self._signed(request.envelope, context),
            request.side_files,
            validate_only=request.validate_only,
        )
        held = proposed.held
        return order_pb2.ProposeOrderResponse(
            recorded=_message(proposed.recorded),
            findings=translate.findings_to_messages(held),
            guard_report=held.told.report if held is not None else b"",
        )

    async def ApproveOrder(
        self, request: order_pb2.ApproveOrderRequest, context: Context
    ) -> order_pb2.ApproveOrderResponse:
        """Record an approval, or only judge it."""
        recorded = await self._orders.approve(
            self._signed(request.envelope, context), validate_only=request.validate_only
        )
        return order_pb2.ApproveOrderResponse(recorded=_message(recorded))

    async def StopOrder(
        self, request: order_pb2.StopOrderRequest, context: Context
    ) -> order_pb2.StopOrderResponse:
        """Record a stop."""
        recorded = await self._stopping.stop(
            self._signed(request.envelope, context), request.side_files
        )
        return order_pb2.StopOrderResponse(recorded=_message(recorded))

    async def ExtendOrder(
        self, request: order_pb2.ExtendOrderRequest, context: Context
    ) -> order_pb2.ExtendOrderResponse:
        """Record a later end, or only judge it."""
        recorded = await self._orders.extend(
            self._signed(request.envelope, context),
            request.side_files,
            validate_only=request.validate_only,
        )
        return order_pb2.ExtendOrderResponse(recorded=_message(recorded))

    async def RejectOrder(
        self, request: order_pb2.RejectOrderRequest, context: Context
    ) -> order_pb2.RejectOrderResponse:
        """Record that a proposal is turned down, or only judge it."""
        recorded = await self._orders.reject(
            self._signed(request.envelope, context),
            request.side_files,
            validate_only=request.validate_only,
        )
        return order_pb2.RejectOrderResponse(recorded=_message(recorded))

    async def RecordAct(
        self, request: order_pb2.RecordActRequest, context: Context
    ) -> order_pb2.RecordActResponse:
        """Record any other act about an order, or only judge it."""
        envelope = self._signed(request.envelope, context)
        check_act(envelope.payload_type, caller_in(context, self._ledger.state))
        recorded = await self._orders.record_act(
            envelope, request.side_files, validate_only=request.validate_only
        )
        return order_pb2.RecordActResponse(recorded=_message(recorded))

    async def GetGuardReport(
        self, request: order_pb2.GetGuardReportRequest, context: Context
    ) -> order_pb2.GetGuardReportResponse:
        """Read the report on a proposal that was refused."""
        report = self._guards.report(request.report_sha256)
        return order_pb2.GetGuardReportResponse(guard_report=report)

    async def DraftAssessment(
        self, request: order_pb2.DraftAssessmentRequest, context: Context
    ) -> order_pb2.DraftAssessmentResponse:
        """Say what is known of what an order would hit beside its aim."""
        index = request.entry_index if request.HasField("entry_index") else None
        record = self._reader.get(request.order_id, index).record
        facts = await self._orders.facts_of(record)
        return order_pb2.DraftAssessmentResponse(facts=facts)

    async def GetOrder(
        self, request: order_pb2.GetOrderRequest, context: Context
    ) -> order_pb2.GetOrderResponse:
        """Read one order, with its signed payload."""
        index = request.entry_index if request.HasField("entry_index") else None
        view = self._reader.get(request.order_id, index)
        payload = await payload_at(self._ledger, view.record.index)
        policy = self._ledger.state.policy
        order = translate.order_to_message(view, policy, payload)
        if not (request.with_fleet or request.with_nodes):
            return order_pb2.GetOrderResponse(order=order)
        fleet = await self._fleet.order(view.record)
        if not request.with_nodes:
            return order_pb2.GetOrderResponse(order=order, fleet=fleet_messages.order_fleet(fleet))
        at_nodes = await fleet_messages.order_fleet_with_nodes(fleet)
        return order_pb2.GetOrderResponse(order=order, fleet=at_nodes)

    async def ListOrders(
        self, request: order_pb2.ListOrdersRequest, context: Context
    ) -> order_pb2.ListOrdersResponse:
        """Read a page of orders."""
        wanted = translate.wanted_standing(request.status)
        start = translate.page_start(request.page_token, wanted)
        size = translate.page_size(request.page_size)
        views = self._reader.page(start, size + 1, wanted)  # one more: is there another page?
        orders = translate.orders_to_messages(views[:size], self._ledger.state.policy)
        rest = views[len(orders) :]
        token = translate.page_token(rest[0].record.index, wanted) if rest else ""
        return order_pb2.ListOrdersResponse(orders=orders, next_page_token=token)

    async def WatchOrders(
        self, request: order_pb2.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[order_pb2.WatchOrdersResponse]:
        """Read the entries that concern orders, and follow."""
        watched = self._watch.entries(
            request.start_index,
            request.order_id,
            once=request.once,
            with_fleet=request.with_fleet,
        )
        async with aclosing(watched):
            async for each in watched:
                if isinstance(each, FleetNews):
                    yield await self._news(each)
                    continue
                yield order_pb2.WatchOrdersResponse(
                    entry_index=each.index,
                    entry=each.leaf,
                    signed_by=each.signed_by,
                    orders=translate.orders_to_messages(each.orders, self._ledger.state.policy),
                )

    async def _news(self, news: FleetNews) -> order_pb2.WatchOrdersResponse:
        """Write news from the nodes, and where their order stands."""
        view = self._reader.get("", news.order_index)
        return order_pb2.WatchOrdersResponse(
            orders=translate.orders_to_messages([view], self._ledger.state.policy),
            news=fleet_messages.news(news, await self._fleet.order(view.record, is_news=True)),
        )

    def _signed(self, data: bytes, context: Context) -> Envelope:
        """Read the envelope, and check that the caller is one of its signers."""
        return signed_act(data, context, self._ledger.state)


class TrustService(trust_pb2_grpc.TrustServiceServicer):
    """The roots' acts on one ledger; see proto/enforcer/v1/trust.proto for each method."""

    def __init__(
        self, ledger: Ledger, orders: Orders, reader: OrderReader, encryption_key: str
    ) -> None:
        self._ledger = ledger
        self._orders = orders
        self._reader = reader
        self._encryption_key = encryption_key

    async def RecordRootAct(
        self, request: trust_pb2.RecordRootActRequest, context: Context
    ) -> trust_pb2.RecordRootActResponse:
        """Record what the roots signed, whoever brings it."""
        recorded = await self._orders.record_root_act(
            translate.envelope(request.envelope),
            request.side_files,
            validate_only=request.validate_only,
        )
        return trust_pb2.RecordRootActResponse(recorded=_message(recorded))

    async def GetPolicy(
        self, request: trust_pb2.GetPolicyRequest, context: Context
    ) -> trust_pb2.GetPolicyResponse:
        """Read the policy in force."""
        policy = self._reader.policy()
        payload = await payload_at(self._ledger, policy.index)
        return translate.policy_to_message(policy, payload)

    async def ListReceivers(
        self, request: trust_pb2.ListReceiversRequest, context: Context
    ) -> trust_pb2.ListReceiversResponse:
        """Read for whom the secret of a sealed list is wrapped at its proposal."""
        return trust_pb2.ListReceiversResponse(
            encryption_key=self._encryption_key,
            oversight=[
                trust_pb2.Receiver(
                    key_id=each.key_id,
                    person_id=each.registration.person_id or "",
                    encryption_key=each.registration.encryption_key or "",
                )
                for each in self._reader.keys_of(Role.OVERSIGHT)
            ],
        )


async def payload_at(ledger: Ledger, index: int) -> bytes:
    """Return the exact signed payload of an entry."""

    def read() -> bytes:
        (leaf,) = ledger.files.entries(index, index + 1)
        return parse(leaf).envelope.payload

    return await asyncio.to_thread(read)


async def _chunks(requests: AsyncIterator[order_pb2.UploadTargetsRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "chunk" or len(request.chunk) > CHUNK_BYTES_MAX:
            raise InputError(
                "a part of the upload is no chunk of at most 1 MiB",
                advice="Send one header, and chunks of at most 1 MiB after it.",
                field="chunk",
            )
        yield request.chunk


def _message(recorded: Recorded | None) -> record_pb2.Recorded | None:
    return None if recorded is None else translate.recorded_to_message(recorded)
