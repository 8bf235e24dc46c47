"""One certificate takes its share of a server and no more, whatever it leaves open."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest

from enforcer.api import server, shares
from enforcer.api.shares import Shares, in_time, the_request
from enforcer.core.key import Role
from enforcer.errors import InputError, UnavailableError
from enforcer.v1 import node_pb2
from tests.api.test_control_plane import approved, proposed
from tests.control import NEVER_SECONDS, Installation
from tests.people import seal
from tests.waiting import until

NODE = "/enforcer.v1.NodeService/"
CONNECTIONS = 4
PLACES = 60
SHARE = 24


def channel(served, files) -> grpc.aio.Channel:
    """Return a connection of its own."""
    return grpc.aio.secure_channel(
        f"127.0.0.1:{served.control.port}",
        grpc.ssl_channel_credentials(files.authority, files.key, files.certificate),
        options=[("grpc.use_local_subchannel_pool", 1)],
    )


@pytest.fixture
async def small(tmp_path, monkeypatch):
    """A control plane with few places for calls."""
    monkeypatch.setattr(server, "CALLS_AT_ONCE_MAX", PLACES)
    monkeypatch.setattr(shares, "CALLS_PER_CALLER_MAX", SHARE)
    monkeypatch.setattr(shares, "REQUEST_SECONDS_MAX", NEVER_SECONDS)
    async with Installation(tmp_path) as served:
        await served.found()
        yield served


async def unasked(served, stack: AsyncExitStack, identity: str, method: str = "Attest"):
    """Open more calls than there are places, over several connections, and send no request."""
    files = served.issue(Role.NODE, identity)
    calls = []
    for _ in range(CONNECTIONS):
        opened = await stack.enter_async_context(channel(served, files))
        call = opened.stream_unary(NODE + method)
        calls += [call() for _ in range(PLACES // 2)]
    return calls


async def test_calls_that_are_never_asked_keep_nobody_from_stopping(small, tmp_path):
    ref = await proposed(small, tmp_path)
    await approved(small, ref)
    async with AsyncExitStack() as stack:
        calls = await unasked(small, stack, "node-1")
        await until(lambda: sum(each.done() for each in calls) == len(calls) - SHARE)
        refused = next(each for each in calls if each.done())
        assert await refused.code() is grpc.StatusCode.UNAVAILABLE
        async with small.client(small.land.oversight) as client:
            await client.stop(seal(small.land.stopping(ref), small.land.oversight.key))
        again = await unasked(small, stack, "node-1")
        await until(lambda: all(each.done() for each in again))
    assert small.control.ledger.state.orders[ref.entry_index].ended_index is not None


async def test_a_call_whose_request_never_comes_is_ended_and_its_place_is_free(small, monkeypatch):
    monkeypatch.setattr(shares, "REQUEST_SECONDS_MAX", 0.2)
    async with AsyncExitStack() as stack:
        calls = await unasked(small, stack, "node-1")
        codes = [await each.code() for each in calls]
        assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
        said = [await each.details() for each in calls]
        assert sum("no request came" in each for each in said) >= SHARE
        await until(lambda: not small.control.door.shares.calls)


async def test_acts_that_wait_for_the_ledger_have_a_smaller_share(small, monkeypatch):
    method = NODE + "PushSuspension"
    monkeypatch.setattr(shares, "CALLS_OF_METHOD_PER_CALLER_MAX", {method: 2})
    async with AsyncExitStack() as stack:
        files = small.issue(Role.NODE, "node-1")
        opened = await stack.enter_async_context(channel(small, files))
        calls = [opened.stream_unary(method)() for _ in range(5)]
        await until(lambda: sum(each.done() for each in calls) == 3)
        refused = next(each for each in calls if each.done())
        assert "2 calls of PushSuspension" in await refused.details()
        other = await stack.enter_async_context(channel(small, small.issue(Role.NODE, "node-2")))
        garbage = node_pb2.PushSuspensionRequest(envelope=b"{}").SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await other.unary_unary(method)(garbage)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, "its own share is free"


async def test_who_may_not_call_is_refused_before_the_request_comes(small):
    async with AsyncExitStack() as stack:
        files = small.issue(Role.AUDITOR, "auditor")
        opened = await stack.enter_async_context(channel(small, files))
        call = opened.stream_unary(NODE + "PushStop")()
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_what_was_taken_is_given_back_also_when_a_call_fails():
    taken = Shares()
    for _ in range(shares.CALLS_PER_CALLER_MAX + 1):
        with pytest.raises(ValueError, match="broken"), taken.call((b"a",), "method"):
            raise ValueError("broken")
    assert taken.calls == 0


async def test_a_call_without_a_request_is_refused_and_one_that_stalls_is_ended(monkeypatch):
    monkeypatch.setattr(shares, "REQUEST_SECONDS_MAX", 0.01)

    async def nothing():
        return
        yield

    async def stalled():
        yield b"first"
        await asyncio.sleep(60)

    with pytest.raises(InputError, match="no request"):
        await the_request(nothing())
    assert await the_request(stalled()) == b"first"
    parts = in_time(stalled())
    assert await anext(parts) == b"first"
    with pytest.raises(UnavailableError, match="no request came"):
        await anext(parts)
