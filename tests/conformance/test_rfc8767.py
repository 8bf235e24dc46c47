"""RFC 8767: when the resolver fails, an old answer is better than none; a block stays one."""

import time

import dns.rcode
import pytest

from tests.backends.gate_tables import compiled, order
from tests.conformance.client import answers, extended_errors
from tests.conformance.upstream import SOA
from tests.conformance.world import CORE, orders, world_of
from tests.waiting import eventually

STALE, STALE_NXDOMAIN = 3, 19
QUICK = {"upstream_timeout_ms": 400, "upstream_try_ms": 150}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with world_of(tmp_path_factory.mktemp("stale"), **QUICK) as world:
        yield world


@pytest.fixture
def quick(shared):
    """A gate that soon gives up waiting, and a resolver that answers it."""
    yield shared
    shared.upstream.is_silent = False
    eventually(lambda: is_heard(shared))


def is_heard(world):
    """Tell whether the resolver is asked and heard again: a gate gives up one that is silent."""
    return answers(world.client.ask(f"t{time.monotonic_ns()}.example"))


def known(world, *names, ttl=1):
    """Have the gate know one address of each name, for so many seconds."""
    for name in names:
        world.upstream.says(name, "A", f"{name}. {ttl} A 192.0.2.3")
        eventually(lambda name=name: answers(world.client.ask(name)))


def expire(world, seconds=1):
    """Wait until what was kept for so many seconds, before this call, is old."""
    later = f"t{time.monotonic_ns()}.example"
    known(world, later, ttl=seconds)
    before = len(world.upstream.asked(later))

    def is_asked_again():
        return world.client.ask(later) and len(world.upstream.asked(later)) > before

    eventually(is_asked_again)


def test_an_old_answer_is_given_with_a_short_ttl_and_said_to_be_old(quick):
    known(quick, "old.example")
    quick.upstream.says(
        "gone.example", "A", authority=[f"example. 1 SOA {SOA}"], rcode=dns.rcode.NXDOMAIN
    )
    eventually(lambda: quick.client.ask("gone.example").rcode() == dns.rcode.NXDOMAIN)
    expire(quick)
    quick.upstream.is_silent = True
    for _ in range(2):  # when asking failed, and while it is not asked again
        reply = quick.client.ask("old.example")
        assert answers(reply) == ["old.example. A 192.0.2.3"]
        assert reply.answer[0].ttl == 30
        assert [code for code, _ in extended_errors(reply)] == [STALE]
    reply = quick.client.ask("gone.example")
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert [code for code, _ in extended_errors(reply)] == [STALE_NXDOMAIN]
    assert quick.client.ask("old.example", edns=False).options == ()


def test_what_is_not_old_is_given_as_ever_and_what_was_never_known_fails(quick):
    known(quick, "kept.example", ttl=300)
    quick.upstream.is_silent = True
    reply = quick.client.ask("kept.example")
    assert (answers(reply), extended_errors(reply)) == (["kept.example. A 192.0.2.3"], [])
    assert quick.client.ask("never.example").rcode() == dns.rcode.SERVFAIL


def test_a_resolver_that_answers_is_heard_first(world):
    known(world, "moved.example")
    expire(world)
    world.upstream.says("moved.example", "A", "moved.example. 1 A 192.0.2.33")
    assert answers(world.client.ask("moved.example")) == ["moved.example. A 192.0.2.33"]


def test_a_resolver_that_says_servfail_is_believed(world):
    """It may have found the data bogus: §5 would allow the old answer, DESIGN does not."""
    known(world, "bogus.example")
    expire(world)
    world.upstream.says("bogus.example", "A", rcode=dns.rcode.SERVFAIL)
    for _ in range(2):
        reply = world.client.ask("bogus.example")
        assert (reply.rcode(), reply.answer) == (dns.rcode.SERVFAIL, [])


def test_a_blocked_name_is_blocked_whatever_is_kept_of_it(quick, tmp_path):
    known(quick, "later.example")
    expire(quick)
    more = order(9, b"subtree later.example\n")
    quick.gate.load(compiled(tmp_path / "t", *orders(), more, core=CORE, ledger_size=101))
    quick.upstream.is_silent = True
    for _ in range(2):
        reply = quick.client.ask("later.example")
        assert (reply.rcode(), reply.answer) == (dns.rcode.NXDOMAIN, [])


@pytest.mark.long
def test_a_resolver_that_comes_back_is_asked_again_after_half_a_minute(quick):
    """§5: a failure is not looked into again at once, and not for ever."""
    known(quick, "brief.example")
    expire(quick)
    quick.upstream.is_silent = True
    assert answers(quick.client.ask("brief.example")) == ["brief.example. A 192.0.2.3"]
    quick.upstream.is_silent = False
    quick.upstream.says("brief.example", "A", "brief.example. 60 A 192.0.2.44")
    anew = ["brief.example. A 192.0.2.44"]
    eventually(lambda: answers(quick.client.ask("brief.example")) == anew, within_seconds=60)


@pytest.mark.parametrize("seconds", [0, 1])
def test_nothing_is_older_than_the_operator_allows(start_world, seconds):
    world = start_world(serve_stale_seconds_max=seconds, **QUICK)
    known(world, "old.example")
    expire(world, 1 + seconds)
    world.upstream.is_silent = True
    assert world.client.ask("old.example").rcode() == dns.rcode.SERVFAIL
