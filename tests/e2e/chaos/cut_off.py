"""A node cut off from the feed's Redis: links down, packets dropped without a word, and refused.

Told in a process of its own (`test_cut_off.py`), in two network namespaces made for it: all
programs in one, Redis in the other, with one link for the control plane and one for the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from enforcer.backends.redis_server import RedisServer
from tests.backends.firewall_kernel import Namespace, inside
from tests.e2e.chaos.invariants import Invariants, exact
from tests.e2e.installation import PASSWORDS, Installation, now_ms
from tests.ports import free_ports

CONTROLS, NODES = "203.0.113.2", "198.51.100.2"
"""Where Redis is for the control plane, and for the node."""
HERE = """
link set lo up
link add c0 type veth peer name c1
link add n0 type veth peer name n1
link set c1 netns {there}
link set n1 netns {there}
addr add 203.0.113.1/24 dev c0
addr add 198.51.100.1/24 dev n0
link set c0 up
link set n0 up
"""
THERE = """
link set lo up
addr add 203.0.113.2/24 dev c1
addr add 198.51.100.2/24 dev n1
link set c1 up
link set n1 up
"""
RULES = {
    # Half-open: who waits for an answer is told nothing.
    "dropped": 'iifname "n1" drop',
    # As by a firewall that was changed.
    "refused": 'iifname "n1" meta l4proto tcp reject with tcp reset',
}
TABLE = """
add table inet cut
add chain inet cut in {{ type filter hook input priority 0; }}
add rule inet cut in {rule}
"""
STALE_SECONDS_MAX = 20.0
BACK_SECONDS_MAX = 20.0


class FarRedis(RedisServer):
    """A server in another network namespace."""

    namespace: Namespace

    def start(self, timeout_seconds: float = 10.0) -> None:
        with inside(self.namespace):
            super().start(timeout_seconds)


class CutOff(Installation):
    """The installation; this thread is where its programs are."""

    def __init__(self, there: Namespace) -> None:
        self.there = there
        super().__init__()

    def _redis(self) -> RedisServer:
        super()._redis()  # for its file of users
        (self.redis_port,) = free_ports(1)
        made = FarRedis(
            self.directory / "redis",
            port=self.redis_port,
            settings={"aclfile": str(self.directory / "redis.acl"), "bind": "0.0.0.0"}
            | {"protected-mode": "no"},
        )
        made.namespace = self.there
        return made

    def _admit(self, program: str, user: str) -> None:
        super()._admit(program, user)
        config = getattr(self.files, program) / f"{program}.toml"
        place = CONTROLS if program == "control" else NODES
        url = f"127.0.0.1:{self.redis_port}"
        config.write_text(config.read_text().replace(url, f"{place}:{self.redis_port}"))

    def feed(self, user: str | None = None) -> redis.Redis:
        password = PASSWORDS.get(user or "")
        return redis.Redis(CONTROLS, self.redis_port, username=user, password=password)

    @contextmanager
    def cut(self, how: str) -> Iterator[None]:
        """Cut the node off; at the end, join it again."""
        if how == "down":
            self.there.run("ip", "link", "set", "n1", "down")
        else:
            self.there.run("nft", "-f", "-", text=TABLE.format(rule=RULES[how]))
        try:
            yield
        finally:
            if how == "down":
                self.there.run("ip", "link", "set", "n1", "up")
            else:
                self.there.run("nft", "delete", "table", "inet", "cut")

    def is_away(self) -> bool:
        return self.node_status()["feed"]["paths"]["redis"]["state"] == "AWAY"

    def feed_is(self, state: str) -> bool:
        return self.node_status()["feed"]["state"] == state

    def redis_is_gone(self) -> bool:
        return self.node_status()["feed"]["paths"]["redis"]["state"] in ("AWAY", "STALE")


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[CutOff]:
    here, there = Namespace(), Namespace()
    try:
        here.run("ip", "-batch", "-", text=HERE.format(there=there.pid))
        there.run("ip", "-batch", "-", text=THERE)
        with inside(here), CutOff(there) as installation:
            yield installation
    finally:
        here.close()
        there.close()


@pytest.mark.parametrize("how", ["dropped", "down", "refused"])
def test_a_node_that_is_cut_off_says_so_enforces_on_and_comes_back(installation: CutOff, how: str):
    invariants = Invariants(installation)
    invariants.begin()
    names = {each: f"{each}.{how}.example.org" for each in ("stays", "ends", "stopped", "new")}
    stays = installation.order(exact([names["stays"]]))
    ends_ms = now_ms() + 6_000
    installation.order(exact([names["ends"]]), expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
    stopped = installation.order(exact([names["stopped"]]))
    installation.wait_until(
        lambda: installation.is_blocked(names["stays"], names["stopped"]), "all is blocked"
    )
    with invariants.watched():
        with installation.cut(how):
            new = installation.order(exact([names["new"]]))  # the control plane has its own way
            installation.wait_until(
                installation.redis_is_gone, "it says that Redis is away", STALE_SECONDS_MAX
            )
            installation.wait_until(
                lambda: installation.is_blocked(names["new"]), "it comes by the second path"
            )
            installation.kill("control")
            installation.wait_until(
                lambda: installation.feed_is("STALE"), "it says STALE", STALE_SECONDS_MAX
            )
            assert installation.is_blocked(names["stays"])
            installation.push_stop_to_node(stopped, by=installation.land.oversight)
            installation.wait_until(
                lambda: not installation.is_blocked(names["stopped"]), "a stop came another way"
            )
            installation.wait_until(
                lambda: not installation.is_blocked(names["ends"]), "an order ends by itself"
            )
            assert now_ms() >= ends_ms
            installation.start("control")
            assert installation.is_blocked(names["stays"])
        installation.wait_until(
            lambda: not installation.is_away(), "it comes back", BACK_SECONDS_MAX
        )
        installation.mend()
        installation.wait_until(lambda: not invariants.feed_differs(), "the feed is the ledger's")
        assert not installation.is_blocked(names["stopped"])
    for ref in (stays, new):
        installation.stop(ref)
