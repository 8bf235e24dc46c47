"""A site that no network reaches: copies are carried there, and what it attests is carried back.

Real programs: control plane, Redis and a node with a gate at home, a node with a gate far away.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.errors import UnavailableError
from tests.e2e.far import Far
from tests.e2e.installation import Installation


class Site(Installation):
    """An installation, and a far node that has nothing but a directory."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        self.copy = self.directory / "medium"
        self.far = Far(self, "7", copy=self.copy)
        self.add_gate(self.far.files.gate)

    def is_in_step(self, since_ms: int = 0) -> bool:
        """Tell whether the node at home is, and the far gate answers."""
        return super().is_in_step(since_ms) and self._far_gate_answers()

    def _far_gate_answers(self) -> bool:
        try:
            self.call(self.gate_controls[1].status())
        except UnavailableError:
            return False
        return True

    def run(self, *words: object) -> str:
        """Run a command to its end, and return what it said."""
        done = subprocess.run(
            [self.enforcer, *map(str, words)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def carry_there(self) -> None:
        self.run("ledger", "backup", self.copy, "-c", self.files.control / "control.toml")

    def person(self, identity: str) -> Path:
        return self.files.person(identity) / "client.toml"


@pytest.fixture(scope="module")
def whole_installation(redis_executable: Path) -> Iterator[Site]:
    with Site() as installation:
        yield installation


def test_a_far_site_enforces_what_is_carried_there_and_its_word_comes_back(
    installation: Site,
) -> None:
    far = installation.far
    ref = installation.order(b"exact carried.example.org\n")
    installation.wait_until(
        lambda: installation.is_blocked("carried.example.org"), "it is blocked at home"
    )
    assert not far.blocks("carried.example.org")
    installation.carry_there()
    installation.wait_until(lambda: far.blocks("carried.example.org"), "it is blocked far away")

    def attested() -> Any:
        file = far.files.node / "state" / "attestation.json"
        if not file.exists():
            return None
        said = json.loads(_payload(file))
        shutil.copy(file, installation.desk / "from-node-7.json")
        return said if said["effects"] and said["gate"] == "HOLDS_TABLE" else None

    said = installation.wait_until(attested, "the far node attests it")
    assert said["carried"]
    log = (installation.directory / "node-7.log").read_text()
    assert "delivered no attestation" not in log
    shown = installation.run("status", "--node", far.files.node / "node.toml")
    assert "enforcer node deliver" in " ".join(shown.split())
    assert str(far.files.node / "state" / "attestation.json") in shown

    show = ("order", "show", ref.order_id, "--nodes", "-c", installation.person("auditor"))
    assert "node-7  silent" in installation.run(*show)
    brought = installation.run(
        "node",
        "deliver",
        installation.desk / "from-node-7.json",
        "-c",
        installation.person("auditor"),
    )
    assert "node-7" in brought
    told = installation.run(*show)
    assert "node-7  in force; in force since" in told
    assert "node-7" not in told.partition("took effect")[2].partition("\n")[0]

    installation.stop(ref)
    installation.wait_until(
        lambda: not installation.is_blocked("carried.example.org"), "it is lifted at home"
    )
    assert far.blocks("carried.example.org")
    assert "node-7  lags" in installation.run(*show)
    installation.carry_there()
    installation.wait_until(lambda: not far.blocks("carried.example.org"), "it is lifted there")


def _payload(file: Path) -> bytes:
    from enforcer.core.envelope import parse_envelope

    return parse_envelope(file.read_bytes()).payload
