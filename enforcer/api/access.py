"""The door: which role may call which method, in one table, before any method runs.

A method that is not in the table is refused, and so is a certificate that was revoked or has ended
since its connection began: at each call, and before each message of a long answer. All that, and
the caller's share of the server, is looked at before the request has come, and whether or not it
ever does. Every error that a method raises leaves as a gRPC status with details; one that is not
ours leaves as INTERNAL, without what it said, and is logged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Never, TypeAlias

import grpc
import structlog

from enforcer.api.errors import status_of
from enforcer.api.identity import URI_NAMES, Caller, caller_of
from enforcer.api.shares import Names, Shares, in_time, the_request
from enforcer.core.hold import AssessmentRecorded, HoldLifted, OrderHeld
from enforcer.core.key import MACHINE_ROLES, ORDERING_ROLES, STOPPING_ROLES, Role
from enforcer.core.order import OrderConfirmed, OrderPublished
from enforcer.core.remedy import (
    AppealDecided,
    AppealFiled,
    NotificationSent,
    OrderResumed,
    OrderSuspended,
    ReviewDone,
)
from enforcer.errors import EnforcerError, RefusedError

EVERYBODY: Final = frozenset(role for role in Role if role)
PERSONS: Final = EVERYBODY - MACHINE_ROLES
STOPPERS: Final = STOPPING_ROLES
HOLDERS: Final = frozenset((Role.APPROVER, Role.OVERSIGHT))
OFFICERS: Final = frozenset((Role.SAFETY_OFFICER,))
ANY_CERTIFICATE: Final = None
"""Whoever TLS let in, also without a role: health is no secret."""

ROLES: Final[Mapping[str, frozenset[Role] | None]] = {
    "/enforcer.v1.OrderService/UploadTargets": PERSONS,
    "/enforcer.v1.OrderService/ProposeOrder": frozenset((Role.PROPOSER, Role.OVERSIGHT)),
    "/enforcer.v1.OrderService/ApproveOrder": frozenset((Role.APPROVER,)),
    "/enforcer.v1.OrderService/StopOrder": STOPPERS,
    "/enforcer.v1.OrderService/ExtendOrder": ORDERING_ROLES,
    "/enforcer.v1.OrderService/RejectOrder": STOPPERS,
    "/enforcer.v1.OrderService/RecordAct": STOPPERS | OFFICERS,
    "/enforcer.v1.OrderService/GetGuardReport": PERSONS,
    "/enforcer.v1.OrderService/DraftAssessment": PERSONS,
    "/enforcer.v1.OrderService/GetOrder": EVERYBODY,
    "/enforcer.v1.OrderService/ListOrders": EVERYBODY,
    "/enforcer.v1.OrderService/WatchOrders": EVERYBODY,
    "/enforcer.v1.TrustService/RecordRootAct": EVERYBODY,
    "/enforcer.v1.TrustService/GetPolicy": EVERYBODY,
    "/enforcer.v1.TrustService/ListReceivers": EVERYBODY,
    "/enforcer.v1.AuditService/GetCheckpoint": EVERYBODY,
    "/enforcer.v1.AuditService/AddCosignature": EVERYBODY,
    "/enforcer.v1.AuditService/ReadEntries": EVERYBODY,
    "/enforcer.v1.AuditService/GetTile": EVERYBODY,
    "/enforcer.v1.AuditService/GetTargetList": EVERYBODY,
    "/enforcer.v1.AuditService/GetTargetListDelta": EVERYBODY,
    "/enforcer.v1.AuditService/GetWrap": EVERYBODY,
    "/enforcer.v1.AuditService/GetSideFile": PERSONS,
    "/enforcer.v1.AuditService/GetFleet": PERSONS,
    "/enforcer.v1.AuditService/ListAttestations": PERSONS,
    "/enforcer.v1.NodeService/Attest": PERSONS | {Role.NODE},
    "/enforcer.v1.NodeService/PushStop": STOPPERS | {Role.NODE},
    "/enforcer.v1.NodeService/Sync": frozenset((Role.NODE,)),
    "/enforcer.v1.NodeService/PushSuspension": OFFICERS | {Role.NODE},
    "/enforcer.v1.NodeService/ReadOrder": OFFICERS,
    "/enforcer.v1.NodeService/AwaitTrial": frozenset((Role.NODE,)),
    "/grpc.health.v1.Health/Check": ANY_CERTIFICATE,
    "/grpc.health.v1.Health/List": ANY_CERTIFICATE,
    "/grpc.health.v1.Health/Watch": ANY_CERTIFICATE,
}

ACT_ROLES: Final[Mapping[str, frozenset[Role]]] = {
    OrderHeld.TYPE: HOLDERS,
    AssessmentRecorded.TYPE: ORDERING_ROLES,
    HoldLifted.TYPE: HOLDERS,
    OrderConfirmed.TYPE: ORDERING_ROLES,
    OrderPublished.TYPE: STOPPERS,
    ReviewDone.TYPE: HOLDERS,
    NotificationSent.TYPE: STOPPERS,
    AppealFiled.TYPE: STOPPERS,
    AppealDecided.TYPE: frozenset((Role.OVERSIGHT,)),
    OrderSuspended.TYPE: OFFICERS,
    OrderResumed.TYPE: OFFICERS,
}
"""Who may bring which act to RecordAct, by payload type."""

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs alone
Method: TypeAlias = Callable[..., Any]
"""A servicer's method, whatever its messages are."""
CheckCertificate: TypeAlias = Callable[[bytes], None]
"""Raises RefusedError for a peer's certificate, in PEM, that was revoked or has ended."""

CERTIFICATE: Final = "x509_pem_cert"
"""Where gRPC has the certificate that TLS verified."""

log: Final = structlog.get_logger()


def check_role(method: str, caller: Caller) -> None:
    """Check a caller against the table.

    Raises:
        RefusedError: the role may not call the method, or no method of that name is known.
    """
    allowed = ROLES.get(method, frozenset())
    if allowed is not ANY_CERTIFICATE and caller.role not in allowed:
        names = ", ".join(sorted(role.name for role in allowed)) or "nobody"
        raise RefusedError(
            f"a certificate of the role {caller.role.name} cannot call {method.rpartition('/')[2]}",
            advice=f"Those who can: {names}.",
            field="certificate",
            role=caller.role.name,
        )


def check_act(payload_type: str, caller: Caller) -> None:
    """Check a caller of RecordAct against the table of acts.

    Types that are not in it are left to the method, which says more exactly what is wrong.

    Raises:
        RefusedError: the role may not bring the act.
    """
    allowed = ACT_ROLES.get(payload_type)
    if allowed is not None and caller.role not in allowed:
        raise RefusedError(
            f"a certificate of the role {caller.role.name} cannot bring {payload_type}",
            advice=f"Those who can: {', '.join(sorted(role.name for role in allowed))}.",
            field="certificate",
            role=caller.role.name,
        )


class Access(grpc.aio.ServerInterceptor):
    """Stands before every method of a server whose certificates are of one trust domain."""

    def __init__(self, domain: str, check: CheckCertificate) -> None:
        self._domain = domain
        self._check_certificate = check
        self.shares: Final = Shares()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the method's handler, with the door before it.

        All handlers read their requests themselves: gRPC would wait for the one of a unary call
        before it says that there is a call.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.response_streaming:
            streaming = self._streaming(method, handler.unary_stream)
            return grpc.stream_stream_rpc_method_handler(streaming, read, write)
        if handler.request_streaming:
            gathering = self._single(method, handler.stream_unary, is_gathering=True)
            return grpc.stream_unary_rpc_method_handler(gathering, read, write)
        single = self._single(method, handler.unary_unary)
        return grpc.stream_unary_rpc_method_handler(single, read, write)

    def _single(self, method: str, inner: Method | None, *, is_gathering: bool = False) -> Method:
        async def call(requests: AsyncIterator[object], context: Context) -> object:
            try:
                with self.shares.call(self._check(method, context), method):
                    request = in_time(requests) if is_gathering else await the_request(requests)
                    return await inner(request, context) if inner else None
            except EnforcerError as error:
                await _end(context, error)
            except Exception:
                log.exception("method_failed", method=method)
                await _end_broken(context)

        return call

    def _streaming(self, method: str, inner: Method | None) -> Method:
        async def call(requests: AsyncIterator[object], context: Context) -> AsyncIterator[object]:
            try:
                caller = self._check(method, context)
                with self.shares.call(caller, method), self.shares.long_answer(caller):
                    request = await the_request(requests)
                    if inner:
                        async for message in inner(request, context):
                            self._check_peer(context.auth_context())
                            yield message
            except EnforcerError as error:
                await _end(context, error)
            except Exception:
                log.exception("method_failed", method=method)
                await _end_broken(context)

        return call

    def _check(self, method: str, context: Context) -> Names:
        """Return by what names the caller is known here."""
        peer = context.auth_context()
        self._check_peer(peer)
        if ROLES.get(method, frozenset()) is not ANY_CERTIFICATE:
            check_role(method, caller_of(peer, self._domain))
        return tuple(peer.get(URI_NAMES, ()))

    def _check_peer(self, peer: Mapping[str, Iterable[bytes]]) -> None:
        """Check what TLS did not: gRPC's TLS knows no revocations, and looks only once."""
        for pem in peer.get(CERTIFICATE, ()):
            self._check_certificate(pem)


async def _end(context: Context, error: EnforcerError) -> Never:
    code, message, trailers = status_of(error)
    await context.abort(code, message, trailers)


async def _end_broken(context: Context) -> Never:
    await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")
