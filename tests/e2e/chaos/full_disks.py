"""Disks that are full: under the ledger, under the node, under the gate.

Told in a process of its own (`test_apart.py`), whose mounts nobody else sees: each of the three
has a small file system in memory, which ballast fills.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from enforcer.errors import UnavailableError
from tests.e2e.chaos.invariants import Invariants, exact
from tests.e2e.installation import REASONS, Installation

SIZE = "8m"


class Small(Installation):
    """The installation, with a small disk for each program's state."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        self.disks = {
            "control": self.files.ledger,
            "node": self.files.node / "state",
            "gate": self.files.gate / "state",
        }
        for disk in self.disks.values():
            disk.mkdir(exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "none", str(disk)]
            subprocess.run(command, check=True)

    def close(self) -> None:
        super().close()
        for disk in self.disks.values():
            subprocess.run(["umount", str(disk)], check=False, stderr=subprocess.DEVNULL)

    @contextmanager
    def full(self, *which: str) -> Iterator[None]:
        """Leave no octet free on these disks, until the end."""
        ballast = [self.disks[each] / "ballast" for each in which]
        for file in ballast:
            fill(file)
        try:
            yield
        finally:
            for file in ballast:
                file.unlink()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 4_096, 1):
            with suppress(OSError):
                while ballast.write(bytes(size)):
                    pass


@pytest.fixture(scope="module")
def whole_installation(redis_executable) -> Iterator[Small]:
    with Small() as installation:
        yield installation


def test_a_ledger_whose_disk_is_full_loses_nothing_answered_and_goes_on(installation: Small):
    invariants = Invariants(installation)
    invariants.begin()
    stopped = installation.order(exact(["stopped.control.example.org"]))
    installation.wait_until(
        lambda: installation.is_blocked("stopped.control.example.org"), "it is blocked"
    )
    with invariants.watched():
        with installation.full("control"):
            size = installation.ledger_size()
            proposal = installation.proposal(exact(["stopped.control.example.org"]))
            with pytest.raises(UnavailableError) as caught:
                installation.submit(installation.land.proposer, "propose", proposal, [REASONS])
            assert "space" in caught.value.message + caught.value.advice
            assert installation.ledger_size() == size
            # A stop is obeyed all the same, and recorded when there is room.
            with pytest.raises(UnavailableError):
                installation.stop(stopped)
            installation.wait_until(
                lambda: not installation.is_blocked("stopped.control.example.org"),
                "the stop is obeyed",
            )
            installation.check_answers()
            # Nor does a start with a full disk lose anything.
            installation.kill("control")
            installation.start("control")
            installation.wait_until(installation.control_serves, "the control plane serves")
            installation.check_answers()
        installation.mend()
        ref = installation.order(exact(["again.control.example.org"]))
        installation.wait_until(
            lambda: installation.is_blocked("again.control.example.org"), "it goes on"
        )
    installation.stop(ref)


def test_a_node_whose_disk_is_full_enforces_on_says_so_and_goes_on(installation: Small):
    invariants = Invariants(installation)
    invariants.begin()
    stopped = installation.order(exact(["stopped.node.example.org"]))
    installation.wait_until(
        lambda: installation.is_blocked("stopped.node.example.org"), "it is blocked"
    )
    node = installation.programs["node"]
    with invariants.watched():
        with installation.full("node"):
            before = len(node.text())
            names = [f"new{at}.node.example.org" for at in range(3)]
            new = [installation.order(exact([name])) for name in names]
            installation.wait_until(lambda: "No space" in node.text()[before:], "it says so")
            installation.push_stop_to_node(stopped, by=installation.land.oversight)
            installation.wait_until(
                lambda: not installation.is_blocked("stopped.node.example.org"),
                "a stop needs no room",
            )
            assert node.is_running
        installation.wait_until(lambda: installation.is_blocked(*names), "it goes on")
        installation.mend()
        assert not installation.is_blocked("stopped.node.example.org")
    for ref in new:
        installation.stop(ref)


def test_a_node_that_starts_with_a_full_disk_has_all_again_when_there_is_room(
    installation: Small,
):
    invariants = Invariants(installation)
    invariants.begin()
    with invariants.watched():
        with installation.full("node", "gate"):
            installation.kill("node")
            installation.start("node")
            ref = installation.order(exact(["later.node.example.org"]))
            with invariants.gate_down():
                installation.kill("gate")
                installation.start("gate")
        installation.mend()
        installation.wait_until(
            lambda: installation.is_blocked("later.node.example.org"), "it goes on"
        )
    installation.stop(ref)
