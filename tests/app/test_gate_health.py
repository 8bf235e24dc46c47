"""The gate's health, as scripts that announce its address see it; and its operator's commands."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from enforcer.app import gate_health as health_module
from enforcer.app.gate_health import gate_health
from enforcer.config import GateConfig, read
from enforcer.ports import GateMode
from tests.backends.conftest import folder, resolver, start_gate  # noqa: F401 - fixtures
from tests.backends.gate_tables import ORIGIN, compiled, order
from tests.waiting import WAIT_SECONDS, eventually


@pytest.fixture
def gate(start_gate, tmp_path):  # noqa: F811
    gate = start_gate(workers=2)
    gate.load(compiled(tmp_path / "t", order()))
    return gate


@pytest.fixture
def config_file(gate, tmp_path):
    path = tmp_path / "gate.toml"
    values = {
        "origin": ORIGIN,
        "listen": [f"{host}:{port}" for host, port in gate.places],
        "upstreams": ["{}:{}".format(*gate.settings["upstreams"][0])],
        "state_dir": gate.settings["state_dir"],
        "control_socket": str(gate.control),
    }
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    return path


@pytest.fixture
def look(config_file):
    config = read(config_file, GateConfig)
    return lambda **options: asyncio.run(gate_health(config, **options))


@pytest.fixture
def look_long(look, monkeypatch):
    """Look at a gate that answers, however long that takes."""
    monkeypatch.setattr(health_module, "QUERY_SECONDS_MAX", WAIT_SECONDS)
    return look


def test_a_gate_that_serves_is_healthy_and_says_why(look_long):
    found = look_long(unconfirmed_seconds_max=3_600)
    assert found.problems == ()
    assert found.line.startswith("healthy: 2 workers, table of ledger size 100, ENFORCE, 127.0.0.1")


def test_a_gate_that_passes_everything_on_purpose_is_healthy(gate, look_long):
    gate.set_mode("bypass")
    assert "BYPASS" in look_long().line


def test_an_upstream_that_is_dead_is_seen_by_the_answer(gate, look_long, resolver):  # noqa: F811
    resolver.is_alive = False
    gate.end()
    gate.change({"listen": gate.places, "upstream_timeout_ms": 500})
    gate.start()
    (problem,) = look_long().problems
    assert "SERVFAIL: no upstream answers" in problem


def test_a_gate_that_is_gone_is_not_healthy_in_either_way(gate, look):
    gate.end()
    problems = look().problems
    assert len(problems) == 2
    assert "the gate does not answer at" in problems[0]
    assert "does not answer queries at 127.0.0.1" in problems[1]


def test_a_gate_without_a_table_or_a_node_is_not_healthy(gate, look_long):
    gate.end()
    state = gate.control.parent / "state"
    (state / "last-good.table").unlink()
    gate.change({"listen": gate.places})
    gate.start()
    assert look_long().problems == ("it has no table",)
    problems = look_long(unconfirmed_seconds_max=60).problems
    assert problems[1] == "no node has confirmed its table since it started"


def test_a_worker_that_cannot_be_had_makes_it_unhealthy(gate, look):
    """Both are killed until the pause before the next try is long enough to be seen."""

    def kill_all():
        for pid in gate.workers():
            with suppress(ProcessLookupError):  # one of the round before, reaped since
                os.kill(pid, 9)
        return "workers serve" in look().line

    eventually(kill_all)


def test_the_commands_bypass_resume_and_tell_health(gate, config_file):
    def run(*words):
        command = [sys.executable, "-m", "enforcer", "gate", words[0], "-c", str(config_file)]
        return subprocess.run([*command, *words[1:]], capture_output=True, text=True, check=False)

    by = ("--by", "an.nguyen", "--reason", "it broke")
    done = run("bypass", *by, "--until", "2h")
    assert (done.returncode, "mode is BYPASS until" in done.stdout) == (0, True)
    override = gate.status().override
    assert (override.mode, override.by, override.reason) == (GateMode.BYPASS, by[1], by[3])
    assert 7_190_000 < override.until_ms - override.since_ms <= 7_200_000
    assert run("bypass", *by, "--until", "25h").returncode == 2
    assert "mode is SHADOW" in run("shadow", *by).stdout
    assert "mode is ENFORCE" in run("resume", *by).stdout
    done = run("health", "--unconfirmed-max", "1h")
    assert (done.returncode, done.stdout.startswith("healthy: ")) == (0, True)
    gate.end()
    done = run("health")
    assert (done.returncode, done.stdout.startswith("unhealthy: ")) == (1, True)
    assert done.stdout.count("\n") == 1
