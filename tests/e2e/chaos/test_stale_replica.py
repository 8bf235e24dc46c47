"""A node that reads from a replica whose replication is cut, and which answers on all the same.

What it lacks the node learns from its second path. Without that nobody can tell an idle ledger from
a withheld one: then the node says so after a while.
"""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.chaos.behind import Behind
from tests.e2e.chaos.invariants import Invariants, exact
from tests.e2e.installation import now_ms
from tests.ports import free_ports

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("redis-server") is None or shutil.which("redis-cli") is None,
        reason="the package redis-server is not installed",
    ),
]
UNHEARD_SECONDS = 60
"""The least that a node may be told."""
STALE_SECONDS_MAX = 40.0
LASTS_MS = 25_000


class Reading(Behind):
    """The installation; its node reads from the replica, and shows metrics."""

    def _admit(self, program: str, user: str) -> None:
        super()._admit(program, user)
        if program == "node":
            (self.metrics_port,) = free_ports(1)
            config = self.files.node / "node.toml"
            text = config.read_text().replace("[redis]\n", "[redis]\nfrom_replica = true\n")
            text = f'metrics_listen = "127.0.0.1:{self.metrics_port}"\n{text}'
            text += f"[sync]\nunheard_seconds_max = {UNHEARD_SECONDS}\n"
            config.write_text(text)

    @contextmanager
    def without_replication(self) -> Iterator[None]:
        """Have the primary refuse its replica for a while; sentinels cannot help that."""
        with self.redis.client(self.redis.port) as primary:
            primary.acl_setuser("replica", enabled=False, reset_keys=False, reset_channels=False)
            primary.client_kill_filter(_type="replica")
            self.wait_until(lambda: not self._is_joined(), "the replica has lost its primary")
            try:
                yield
            finally:
                primary.acl_setuser("replica", enabled=True, reset_keys=False, reset_channels=False)

    def _is_joined(self) -> bool:
        with self.redis.client(self.redis.replica_port) as replica:
            return replica.info("replication")["master_link_status"] == "up"

    def metric(self, name: str) -> float:
        """Return one of the node's metrics, by its name with labels; nan: it shows none such."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:  # it is just starting
            return float("nan")
        found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
        return float(found[0]) if found else float("nan")

    def path_is(self, name: str, state: str) -> bool:
        """Tell whether status and metrics say so of a path."""
        metric = f'enforcer_node_path_state{{path="{name}",state="{state}"}}'
        said = self.node_status()["feed"]["paths"][name]["state"]
        return said == state and self.metric(metric) == 1.0

    def feed_is(self, state: str) -> bool:
        """Tell whether status and metrics say so of the feed, all paths together."""
        metric = f'enforcer_node_feed_state{{state="{state}"}}'
        return self.node_status()["feed"]["state"] == state and self.metric(metric) == 1.0


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[Reading]:
    with Reading() as installation:
        yield installation


def test_what_a_stale_replica_lacks_comes_by_the_second_path_and_the_node_says_so(
    installation: Reading,
):
    invariants = Invariants(installation)
    invariants.begin()
    installation.wait_until(lambda: installation.path_is("redis", "FEEDS"), "the replica feeds")
    with invariants.watched():
        with installation.without_replication():
            installation.order(exact(["after.stale.example.org"]))
            installation.wait_until(
                lambda: installation.path_is("redis", "STALE"), "STALE", STALE_SECONDS_MAX
            )
            reason = installation.node_status()["feed"]["paths"]["redis"]["reason"]
            assert "sync" in reason or "behind" in reason, reason
            installation.wait_until(
                lambda: installation.is_blocked("after.stale.example.org"), "it came"
            )
            installation.wait_until(lambda: installation.path_is("sync", "FEEDS"), "another feeds")
            installation.wait_until(lambda: installation.feed_is("OK"), "all in all it is well")
        installation.wait_until(
            lambda: installation.path_is("redis", "FEEDS"), "the replica feeds again", 90.0
        )


def test_with_nothing_but_a_stale_replica_the_node_enforces_on_and_says_stale(
    installation: Reading,
):
    """The control plane is not to be reached from the node, and works."""
    config = installation.files.node / "node.toml"
    text = config.read_text()
    installation.programs["node"].stop()
    config.write_text(
        re.sub('^address = ".*"', 'address = "127.0.0.1:9"', text, flags=re.MULTILINE)
    )
    installation.start("node")
    installation.wait_until(installation.is_in_step, "the node reads from the replica alone", 90.0)
    invariants = Invariants(installation)
    invariants.begin()
    ends_ms = now_ms() + LASTS_MS
    installation.order(exact(["ends.example.org"]), expires_at_ms=ends_ms, review_due_at_ms=ends_ms)
    installation.wait_until(lambda: installation.is_blocked("ends.example.org"), "it is blocked")
    with invariants.watched():
        with installation.without_replication():
            installation.order(exact(["unheard.example.org"]))
            installation.wait_until(
                lambda: not installation.is_blocked("ends.example.org"), "it ends", 60.0
            )
            assert now_ms() >= ends_ms
            installation.wait_until(
                lambda: installation.feed_is("STALE"), "it says STALE", 2.0 * UNHEARD_SECONDS
            )
            assert "was not heard" in installation.node_status()["feed"]["reason"]
            assert installation.metric("enforcer_node_feed_stale_seconds") > 0
        installation.wait_until(
            lambda: installation.is_blocked("unheard.example.org"), "the replica goes on", 60.0
        )
    installation.programs["node"].stop()
    config.write_text(text)
    installation.start("node")
    installation.wait_until(lambda: installation.feed_is("OK"), "it hears the control plane", 90.0)
