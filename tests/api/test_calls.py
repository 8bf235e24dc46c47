"""What a call's end amounts to."""

import grpc
import pytest

from enforcer.api.calls import FORGOTTEN, STREAM_TRIES_MAX, answer_to_stream
from enforcer.errors import EnforcerError


def ended(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, details=details)


class Calls:
    """Calls that end as they are told, in this order."""

    def __init__(self, *ends: object) -> None:
        self._ends = list(ends)

    async def begin(self) -> object:
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    @property
    def left(self) -> int:
        return len(self._ends)


LOST = ended(grpc.StatusCode.INTERNAL, FORGOTTEN)


async def test_a_stream_whose_refusal_was_forgotten_is_sent_again():
    calls = Calls(LOST, "answered")
    assert await answer_to_stream(calls.begin) == "answered"


async def test_a_refusal_that_was_heard_is_not_asked_for_again():
    calls = Calls(ended(grpc.StatusCode.PERMISSION_DENIED, "no"), "never")
    with pytest.raises(EnforcerError, match="no"):
        await answer_to_stream(calls.begin)
    assert calls.left == 1


async def test_it_is_not_sent_again_for_ever():
    calls = Calls(*[LOST] * STREAM_TRIES_MAX, "never")
    with pytest.raises(EnforcerError):
        await answer_to_stream(calls.begin)
    assert calls.left == 1
