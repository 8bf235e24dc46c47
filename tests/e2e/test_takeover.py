"""The control plane is lost, or its host: what comes in its place, and what node and gate see."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from enforcer.app.status import standby_status
from tests.e2e.installation import Installation, insist
from tests.e2e.programs import Program

pytestmark = pytest.mark.long
ENFORCER = Path(sys.executable).with_name("enforcer")


def standby_of(installation: Installation, name: str) -> Program:
    """Return one more control plane by the same file."""
    config = installation.files.control / "control.toml"
    command = [str(ENFORCER), "control", "--standby", "--config", str(config)]
    program = Program(name, command, installation.directory / f"{name}.log")
    installation.end_with_us(program)
    return program


def is_warm(installation: Installation, standby: Program) -> None:
    """Wait until a standby that was started is warm."""
    installation.wait_until(lambda: "standby_warm" in standby.text(), f"{standby.name} is warm")


def in_force(installation: Installation, name: str) -> None:
    """Have two persons order a name blocked, and wait until the gate does that."""
    insist(lambda: installation.order(f"exact {name}\n".encode()))
    installation.wait_until(lambda: installation.is_blocked(name), f"{name} is blocked")


def test_a_standby_serves_in_a_killed_ones_place_and_a_node_follows_on(installation):
    standbys = [standby_of(installation, f"standby-{at}") for at in range(2)]
    ledger = installation.files.ledger
    for at, standby in enumerate(standbys):
        standby.start()
        is_warm(installation, standby)
        in_force(installation, f"before-{at}.example.org")
        serving = installation.programs["control"] if at == 0 else standbys[0]
        serving.kill()
        in_force(installation, f"after-{at}.example.org")
    # A planned handover, the other way: the first one stands by, and is told to serve again.
    installation.programs["control"] = first = standby_of(installation, "control")
    first.start()
    is_warm(installation, first)
    assert standbys[1].stop() == 0
    in_force(installation, "handed-over.example.org")

    def is_shown() -> bool:
        status = standby_status(ledger)
        return status["state"] == "SERVING" and status["standbys"] == []

    installation.wait_until(is_shown, "it is shown as the one that serves")


def test_a_stopped_one_keeps_the_ledger_and_its_acts_until_it_is_ended(installation):
    standby = standby_of(installation, "standby-3")
    standby.start()
    is_warm(installation, standby)
    control = installation.programs["control"]
    os.kill(control.pid, signal.SIGSTOP)
    installation.wait_until(
        lambda: "serving_process_silent" in standby.text(), "the standby says that it is silent"
    )
    assert "standby_takes_over" not in standby.text()
    os.kill(control.pid, signal.SIGCONT)
    in_force(installation, "thawed.example.org")
    control.kill()
    in_force(installation, "ended.example.org")
    installation.programs["control"] = standby


def test_a_lost_host_is_replaced_from_a_nodes_copy(installation):
    in_force(installation, "kept.example.org")
    installation.wait_until(installation.is_in_step, "the node has all of the ledger")
    installation.kill("control")
    files = installation.files
    lost = files.ledger.with_name("lost")
    files.ledger.rename(lost)
    command = [
        *(ENFORCER, "ledger", "restore", files.node / "state"),
        *("--config", files.control / "control.toml", "--json"),
    ]
    words = list(map(str, command))
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert refused.returncode == 5, refused  # nobody witnesses here
    assert not files.ledger.exists()
    words += ["--unproven", "Nobody witnesses yet."]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert any("attestations" in each for each in said["missing"])
    installation.check_answers()
    assert installation.is_blocked("kept.example.org")
    installation.start("control")
    in_force(installation, "restored.example.org")
    shutil.rmtree(lost)
