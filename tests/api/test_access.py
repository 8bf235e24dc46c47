"""The table at the door."""

import grpc
import pytest

from enforcer.api import shares
from enforcer.api.access import ROLES, Access, check_role
from enforcer.api.identity import Caller
from enforcer.core.key import Role
from enforcer.errors import RefusedError
from enforcer.v1 import audit_pb2, audit_pb2_grpc
from tests.control import persistently
from tests.waiting import until

ORDERS = "/enforcer.v1.OrderService/"
MAY_WRITE = {
    ORDERS + "ProposeOrder": {Role.PROPOSER, Role.OVERSIGHT},
    ORDERS + "ApproveOrder": {Role.APPROVER},
    ORDERS + "ExtendOrder": {Role.PROPOSER, Role.APPROVER},
    ORDERS + "StopOrder": {Role.PROPOSER, Role.APPROVER, Role.OVERSIGHT},
    ORDERS + "RejectOrder": {Role.PROPOSER, Role.APPROVER, Role.OVERSIGHT},
    ORDERS + "RecordAct": {Role.PROPOSER, Role.APPROVER, Role.OVERSIGHT, Role.SAFETY_OFFICER},
    "/enforcer.v1.NodeService/Attest": {*Role} - {Role.UNSPECIFIED, Role.CONTROL},
    "/enforcer.v1.NodeService/PushStop": {
        Role.PROPOSER,
        Role.APPROVER,
        Role.OVERSIGHT,
        Role.NODE,
    },
}


@pytest.mark.parametrize("method", MAY_WRITE)
@pytest.mark.parametrize("role", Role)
def test_only_the_named_roles_write(method, role):
    caller = Caller(role, "somebody")
    if role in MAY_WRITE[method]:
        check_role(method, caller)
    else:
        with pytest.raises(RefusedError):
            check_role(method, caller)


def test_a_method_that_nobody_thought_of_is_for_nobody():
    with pytest.raises(RefusedError) as caught:
        check_role(ORDERS + "DeleteEverything", Caller(Role.OVERSIGHT, "somebody"))
    assert "nobody" in caught.value.advice


def test_the_role_zero_is_let_in_nowhere():
    assert all(Role.UNSPECIFIED not in roles for roles in ROLES.values() if roles is not None)


class FakeContext:
    """What the door needs of a call."""

    def auth_context(self):
        return {
            "peer_uri": [b"spiffe://example.org/auditor/auditor"],
            "x509_pem_cert": [b"the certificate"],
        }

    async def abort(self, code, message, trailers):
        raise PermissionError(message)


async def one(request):
    """Give a request as gRPC does."""
    yield request


async def test_a_long_answer_ends_when_the_certificate_does():
    revoked = []

    def check(pem):
        assert pem == b"the certificate"
        if revoked:
            raise RefusedError("it was revoked", advice="Ask for another.")

    async def messages(request, context):
        for number in range(100):
            yield number

    door = Access("example.org", check)
    answering = door._streaming("/enforcer.v1.AuditService/ReadEntries", messages)
    answers = answering(one(b"everything"), FakeContext())
    assert [await anext(answers) for _ in range(4)] == [0, 1, 2, 3]
    revoked.append("certificate")
    with pytest.raises(PermissionError, match="it was revoked"):
        await anext(answers)


async def test_health_too_is_refused_to_what_was_revoked():
    def check(pem):
        raise RefusedError("it was revoked", advice="Ask for another.")

    door = Access("example.org", check)
    call = door._single("/grpc.health.v1.Health/Check", None)
    with pytest.raises(PermissionError, match="it was revoked"):
        await call(one(b""), FakeContext())


async def test_answers_that_are_not_read_are_bounded_for_each_caller(served, monkeypatch):
    monkeypatch.setattr(shares, "LONG_ANSWERS_PER_CALLER_MAX", 3)
    everything = audit_pb2.ReadEntriesRequest()

    async def read(client):
        return [each async for each in client.read_entries()]

    async with served.deaf("node-1") as channel:
        node = audit_pb2_grpc.AuditServiceStub(channel)
        calls = [node.ReadEntries(everything) for _ in range(8)]
        await until(lambda: sum(each.done() for each in calls) == 5)
        refused = next(each for each in calls if each.done())
        assert await refused.code() is grpc.StatusCode.UNAVAILABLE
        assert "3 long answers" in await refused.details()
        async with served.connect(served.issue(Role.NODE, "node-2")) as other:
            assert await read(other)
    async with served.connect(served.issue(Role.NODE, "node-1")) as same:
        assert await persistently(read, same)
