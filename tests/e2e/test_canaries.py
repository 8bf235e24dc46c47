"""A canary with golden names, and a node that follows it: two nodes, two gates, one network.

Real programs all over, and gRPC with mTLS between the nodes. After each test everything is audited.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.app.acts import signed, write_act
from enforcer.app.keys import make_request, registration
from enforcer.app.pki import certify
from enforcer.backends import durable
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.keys import PrivateKey
from enforcer.core.key import Role
from enforcer.core.policy import DAY_MS
from tests.e2e.dns import ask
from tests.e2e.installation import ORIGIN, Installation, free_ports, now_ms
from tests.e2e.programs import Program

ENFORCER = Path(sys.executable).with_name("enforcer")
GOLDEN = "golden.example.org"
WAIT_SECONDS = 1.5


class Pair(Installation):
    """An installation whose node is a canary, and another node with a gate that follows it."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        gate = self.files.gate / "gate.toml"
        golden = f'golden_names = ["{GOLDEN}"]\n'
        (self.follower_port,) = free_ports(1)
        self._equip_gate(gate.read_text())
        gate.write_text(golden + gate.read_text())
        node = self.files.node / "node.toml"
        self._equip_node(node.read_text())
        node.write_text(node.read_text() + '[canary]\nrole = "canary"\n')
        for name in ("gate", "node"):
            config = self.files.directory / f"{name}-2" / f"{name}.toml"
            command = [str(ENFORCER), name, "--config", str(config)]
            self.programs[f"{name}-2"] = Program(name, command, self.directory / f"{name}-2.log")

    def _equip_gate(self, text: str) -> None:
        place = self.files.directory / "gate-2"
        place.mkdir()
        text = text.replace(f":{self.dns_port}", f":{self.follower_port}")
        (place / "gate.toml").write_text(text)

    def _equip_node(self, text: str) -> None:
        place = self.files.directory / "node-2"
        place.mkdir()
        key = PrivateKey.generate()
        key.save(place / "signing.key")
        shutil.copy(self.files.node / "redis.password", place)
        asked = make_request(place / "signing.key", ORIGIN, Role.NODE, "node-2", operator="isp")
        files = AuthorityFiles(self.files.authority)
        durable.write_file(place / "tls.crt", certify(asked, files, files.load(None)))
        text = re.sub("^(listen) = .*$", "", text, flags=re.MULTILINE)
        text = re.sub("^node_id = .*$", 'node_id = "node-2"', text, flags=re.MULTILINE)
        text = text.replace("../gate/", "../gate-2/")
        follows = json.dumps([self.node_address])
        text += f"[canary]\nfollows = {follows}\nwait_seconds = {WAIT_SECONDS}\n"
        (place / "node.toml").write_text(text)
        top = self.files.directory
        roots = [PrivateKey.load(top / "roots" / f"root-{number}.key") for number in (1, 2)]
        act = signed(registration(asked, now_ms(), now_ms() + 30 * DAY_MS), *roots)
        write_act(top / "acts" / "50-node-2-KeyRegistered.json", act)

    def follower_status(self) -> dict[str, Any]:
        """Return what the follower says of itself; empty before it says anything."""
        path = self.files.directory / "node-2" / "state" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def follower_blocks(self, qname: str) -> bool:
        self._asked.add(qname)
        return ask(self.follower_port, qname).is_blocked

    def is_in_step(self, since_ms: int = 0) -> bool:
        """Tell whether both nodes are."""
        status = self.follower_status()
        is_there = bool(status) and status["gate"]["state"] == "HOLDS_TABLE"
        return (
            super().is_in_step(since_ms)
            and is_there
            and status["planned_size"] == self.ledger_size()
            and not status["canary"]["waiting"]
        )


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
        lambda: installation.follower_blocks("passed.example.org"), "the follower blocks it"
    )
    assert installation.is_blocked("passed.example.org")
    assert installation.follower_status()["canary"]["untried"] == 0

    blamed = installation.order(exact(GOLDEN))

    def is_left_out() -> bool:
        omissions = installation.follower_status()["omissions"]
        said = {each["order_index"]: each["reason"] for each in omissions}
        return said == {blamed.entry_index: "CANARY_BLAMED"}

    installation.wait_until(is_left_out, "the follower leaves it out")
    for port in (installation.dns_port, installation.follower_port):
        assert not ask(port, GOLDEN).is_blocked  # its operator's own name, which logs may have
    assert installation.follower_blocks("passed.example.org")
    installation.wait_until(installation.is_in_step, "both attest it")
    for ref in (blamed, passed):
        installation.stop(ref)


def test_beside_a_dead_canary_blocks_come_within_the_bound_and_stops_at_once(
    installation: Pair,
) -> None:
    held = installation.order(exact("held.example.org"))
    installation.wait_until(
        lambda: installation.follower_blocks("held.example.org"), "the follower blocks it"
    )
    installation.kill("node")
    installation.order(exact("late.example.org"))
    installation.stop(held)
    installation.wait_until(
        lambda: not installation.follower_blocks("held.example.org"), "the stop is obeyed"
    )
    assert not installation.follower_blocks("late.example.org"), "it has not waited"
    installation.wait_until(
        lambda: installation.follower_blocks("late.example.org"), "it waits no longer"
    )
    status = installation.follower_status
    installation.wait_until(lambda: status()["canary"]["untried"] == 1, "it says so")
