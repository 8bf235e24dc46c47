"""What shadow and bypass let pass is passed then, and blocked again at once when that ends."""

import threading

import pytest

from tests.backends.gate_client import query
from tests.backends.gate_tables import compiled, order
from tests.waiting import WAIT_SECONDS, eventually

NXDOMAIN = 3
PASSING = {"shadow": "shadowed", "bypass": "bypassed"}


def rcode(reply):
    return reply[3] & 0x0F


@pytest.fixture
def gate(start_gate, tmp_path):
    gate = start_gate()
    gate.load(compiled(tmp_path / "t", order()))
    return gate


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("mode", PASSING)
def test_what_was_cached_meanwhile_is_judged_when_it_is_over(gate, resolver, mode, is_stream):
    asking = gate.streaming() if is_stream else gate.asking()
    assert rcode(asking.ask(query())) == NXDOMAIN
    gate.set_mode(mode)
    for _ in range(3):
        assert rcode(asking.ask(query())) == 0
    assert len(resolver.seen) + len(resolver.seen_tcp) == 1
    gate.set_mode("enforce")
    assert rcode(asking.ask(query())) == NXDOMAIN
    gate.set_mode(mode)
    assert rcode(asking.ask(query())) == 0
    counters = gate.counters()
    assert (counters[PASSING[mode]], counters["cache_hit"]) == (4, 3)
    assert counters["blocked_nxdomain"] == 2


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("mode", PASSING)
def test_what_was_let_pass_and_is_answered_when_it_is_over_is_blocked(
    gate, resolver, mode, is_stream
):
    may_answer = threading.Event()
    resolver.respond = lambda wire: [*resolver.honest(wire)] * may_answer.wait(WAIT_SECONDS)
    gate.set_mode(mode)
    asking = gate.streaming() if is_stream else gate.asking()
    asking.send(query())
    eventually(lambda: gate.counters()["in_flight"] == 1)
    gate.set_mode("enforce")
    may_answer.set()
    assert rcode(asking.receive()) == NXDOMAIN
    assert rcode(asking.ask(query())) == NXDOMAIN  # nor has the cache taken it for judged
