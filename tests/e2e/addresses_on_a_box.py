"""Orders against addresses on a box that forwards: from two signatures to packets, and back."""

from __future__ import annotations

import errno
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.firewall_kernel import CLIENT, why_not
from tests.e2e.installation import now_ms
from tests.e2e.router import Router, echoes, routed

pytestmark = pytest.mark.root

BLOCKED = {4: "192.0.2.7", 6: "2001:db8:0:7::7"}
NEIGHBOUR = {4: "192.0.2.8", 6: "2001:db8:0:7::8"}
WHY = {4: errno.EHOSTUNREACH, 6: errno.EACCES}
"""What Linux makes of "administratively prohibited": ICMP 3/13, ICMPv6 1/1."""


@pytest.fixture(scope="module")
def whole_router(redis_executable: Path) -> Iterator[Router]:
    if refuse := why_not():
        pytest.skip(refuse)
    with routed() as router:
        yield router


@pytest.fixture
def router(whole_router: Router) -> Iterator[Router]:
    whole_router.mend()
    yield whole_router
    whole_router.mend()
    whole_router.audit()
    whole_router.check_answers()
    whole_router.check_privacy()
    written = [data for _, data in whole_router.written()]
    assert not any(address.encode() in text for address in CLIENT.values() for text in written)


def holds(router: Router) -> bool:
    """Tell whether the node says that the firewall holds what it should, all entries read."""
    return router.is_in_step() and router.firewall["state"] == "HOLDS"


def until_blocked(router: Router, *addresses: str) -> None:
    router.wait_until(lambda: not any(map(router.passes, addresses)), f"{addresses} are blocked")


def until_passing(router: Router, *addresses: str) -> None:
    router.wait_until(lambda: all(map(router.passes, addresses)), f"{addresses} pass")


@pytest.mark.parametrize("version", [4, 6])
def test_an_order_stops_exactly_its_addresses_and_a_stop_brings_them_back(
    router: Router, version: int
):
    blocked, neighbour = BLOCKED[version], NEIGHBOUR[version]
    with router.connect(blocked) as cut, router.connect(neighbour) as goes_on:
        assert echoes(cut)
        assert echoes(goes_on)
        ref = router.order_addresses(f"ip {blocked}")
        until_blocked(router, blocked)
        # What is sent on the open connection first, and is not back when the other's is, is gone.
        cut.send(b"word")
        assert echoes(goes_on)
        assert not select.select([cut], [], [], 0)[0]
        assert router.why_not(blocked) == WHY[version]
        assert router.passes(neighbour)
        router.wait_until(lambda: holds(router), "the firewall holds it")
        router.wait_until(
            lambda: router.firewall["order_counters"].get(str(ref.entry_index), {}).get("packets"),
            "the order's packets are counted",
        )
        router.stop(ref)
        until_passing(router, blocked)
        assert echoes(goes_on)
    router.wait_until(lambda: holds(router), "the firewall holds nothing of it")
    router.wait_until(lambda: router.firewall["orders"] == 0, "it says so")


@pytest.mark.long
def test_an_order_ends_by_itself_with_everything_else_away(router: Router):
    ends_ms = now_ms() + 12_000
    router.order_addresses("ip 192.0.2.9", expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
    until_blocked(router, "192.0.2.9")
    router.kill("redis", "control", "gate")
    assert now_ms() < ends_ms, "too slow to see anything"
    until_passing(router, "192.0.2.9")
    assert now_ms() >= ends_ms


@pytest.mark.long
def test_a_node_that_is_killed_leaves_all_as_it_was_and_finds_it_again(router: Router):
    ref = router.order_addresses("ip 192.0.2.10", "net 2001:db8:1::/48")
    until_blocked(router, "192.0.2.10", "2001:db8:1::1")
    router.wait_until(lambda: holds(router), "the firewall holds it")
    before = router.rules()
    router.kill("node")
    assert router.rules() == before
    assert not router.passes("192.0.2.10")
    router.start("node")
    router.mend()
    router.wait_until(lambda: holds(router), "the firewall holds it again")
    assert not router.passes("192.0.2.10")
    assert router.firewall["repairs"] == 0

    router.kill("node")
    router.stop(ref)
    assert not router.passes("192.0.2.10")
    router.start("node")
    until_passing(router, "192.0.2.10", "2001:db8:1::1")


@pytest.mark.long
def test_what_another_tool_takes_out_comes_back(router: Router):
    ref = router.order_addresses("ip 192.0.2.11")
    until_blocked(router, "192.0.2.11")
    router.wait_until(lambda: holds(router), "the firewall holds it")
    router.network.box.run("nft", "flush", "ruleset")
    router.wait_until(lambda: not router.passes("192.0.2.11"), "it is blocked all the same")
    # Without its owner anybody may take it away.
    router.kill("node")
    router.network.box.run("nft", "flush", "ruleset")
    assert router.passes("192.0.2.11")
    router.start("node")
    until_blocked(router, "192.0.2.11")
    router.stop(ref)
    until_passing(router, "192.0.2.11")


@pytest.mark.long
def test_the_boxs_own_addresses_cannot_be_cut_off(router: Router):
    own = "203.0.113.254"
    ref = router.order_addresses(f"ip {own}", "ip 192.0.2.12")
    until_blocked(router, "192.0.2.12")
    router.wait_until(
        lambda: router.firewall.get("curtailed") == [ref.entry_index], "the node says so"
    )
    router.wait_until(lambda: holds(router), "the firewall holds the rest")
    assert router.why_not(own) == errno.ECONNREFUSED, "the box itself is not reached"
    router.stop(ref)
    until_passing(router, "192.0.2.12")
