"""A canary with golden names, and a node that follows it: two nodes, two gates, one network.

Real programs all over, and gRPC with mTLS between the nodes. After each test everything is audited.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from enforcer.config import Address, CanaryPart
from tests.e2e.dns import ask
from tests.e2e.installation import now_ms
from tests.e2e.two_nodes import TwoNodes

GOLDEN = "golden.example.org"
PATIENT_SECONDS = 60.0
"""So long a follower waits for a canary that lives: what it says is the question, not how soon."""
WAIT_SECONDS = 1.5
"""And so long for a dead one."""


class Pair(TwoNodes):
    """An installation whose node is a canary, and another node with a gate that follows it."""

    def __init__(self) -> None:
        super().__init__(is_canary=True)

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        gate, follower = self.files.gate / "gate.toml", self.second("node") / "node.toml"
        for file, line, instead in (
            (gate, "# golden_names = .*", f'golden_names = ["{GOLDEN}"]'),
            (follower, "# wait_seconds = .*", f"wait_seconds = {PATIENT_SECONDS}"),
        ):
            text, count = re.subn(line, instead, file.read_text())
            assert count == 1, file
            file.write_text(text)

    def _second_canary(self) -> CanaryPart:
        return CanaryPart(follows=(Address(self.node_address),))

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Have the follower wait but a moment, from a new start on; it is down afterwards."""
        config = self.second("node") / "node.toml"
        patient, impatient = (f"wait_seconds = {each}" for each in (PATIENT_SECONDS, WAIT_SECONDS))
        text = config.read_text()
        assert patient in text
        config.write_text(text.replace(patient, impatient))
        try:
            self._start_follower_again()
            yield
        finally:
            config.write_text(text)
            self.kill("node-2")

    def _start_follower_again(self) -> None:
        self.kill("node-2")
        since_ms = now_ms()
        self.start("node-2")

        def is_back() -> bool:
            status = self.second_status()
            return status["t_ms"] >= since_ms and status["gate"]["state"] == "HOLDS_TABLE"

        self.wait_until(is_back, "the follower goes on")

    def is_in_step(self, since_ms: int = 0) -> bool:
        """Tell whether both nodes are, and nothing waits for the canary."""
        return super().is_in_step(since_ms) and not self.second_status()["canary"]["waiting"]


@pytest.fixture(scope="module")
def whole_installation(redis_executable: Path) -> Iterator[Pair]:
    with Pair() as installation:
        yield installation


def exact(name: str) -> bytes:
    return f"exact {name}\n".encode()


def test_a_follower_takes_what_the_canary_passed_and_leaves_out_what_it_blamed(
    installation: Pair,
) -> None:
    passed = installation.order(exact("passed.example.org"))
    installation.wait_until(
        lambda: installation.second_blocks("passed.example.org"), "the follower blocks it"
    )
    assert installation.is_blocked("passed.example.org")
    status = installation.second_status
    installation.wait_until(lambda: status()["canary"]["untried"] == 0, "the canary's word came")

    blamed = installation.order(exact(GOLDEN))

    def is_left_out() -> bool:
        omissions = installation.second_status()["omissions"]
        said = {each["order_index"]: each["reason"] for each in omissions}
        return said == {blamed.entry_index: "CANARY_BLAMED"}

    installation.wait_until(is_left_out, "the follower leaves it out")
    for port in (installation.dns_port, installation.second_port):
        assert not ask(port, GOLDEN).is_blocked  # its operator's own name, which logs may have
    assert installation.second_blocks("passed.example.org")
    installation.wait_until(installation.is_in_step, "both attest it")
    for ref in (blamed, passed):
        installation.stop(ref)


def test_beside_a_dead_canary_blocks_come_within_the_bound_and_stops_at_once(
    installation: Pair,
) -> None:
    held = installation.order(exact("held.example.org"))
    installation.wait_until(
        lambda: installation.second_blocks("held.example.org"), "the follower blocks it"
    )
    installation.kill("node")
    with installation.impatient():
        began = time.monotonic()
        installation.order(exact("late.example.org"))
        installation.stop(held)
        installation.wait_until(
            lambda: not installation.second_blocks("held.example.org"), "the stop is obeyed"
        )
        installation.wait_until(
            lambda: installation.second_blocks("late.example.org"), "it waits no longer"
        )
        assert time.monotonic() - began >= WAIT_SECONDS, "it has not waited"
        status = installation.second_status
        installation.wait_until(lambda: status()["canary"]["untried"] == 1, "it says so")
