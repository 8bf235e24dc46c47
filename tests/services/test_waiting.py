"""What waits is bounded, keeps its order, and lets stops by."""

import pytest

from enforcer.errors import UnavailableError
from enforcer.services import waiting as waiting_module
from enforcer.services.waiting import WaitingAct, WaitingActs
from tests.people import Land, seal


@pytest.fixture(scope="module")
def land():
    return Land.founded()


def proposing(land):
    order = land.order()
    return WaitingAct(seal(order, land.proposer.key), order)


def stopping(land, ref):
    stop = land.stopping(ref)
    return WaitingAct(seal(stop, land.oversight.key), stop)


async def test_stops_go_first_and_each_kind_keeps_its_order(land):
    ref = land.propose()
    acts = [proposing(land), stopping(land, ref), proposing(land), stopping(land, ref)]
    queue = WaitingActs()
    for act in acts:
        queue.put(act)
    assert list(queue.take()) == [acts[1], acts[3], acts[0], acts[2]]
    assert not queue


async def test_a_full_queue_still_takes_stops(land, monkeypatch):
    monkeypatch.setattr(waiting_module, "ACTS_WAITING_MAX", 1)
    monkeypatch.setattr(waiting_module, "STOPS_WAITING_MAX", 2)
    ref = land.propose()
    queue = WaitingActs()
    queue.put(proposing(land))
    with pytest.raises(UnavailableError, match="1 acts wait"):
        queue.put(proposing(land))
    queue.put(stopping(land, ref))
    queue.put(stopping(land, ref))
    with pytest.raises(UnavailableError, match="2 acts wait"):
        queue.put(stopping(land, ref))
