"""A safety officer with two nodes of which one is down: it is told, and the act gets there."""

import json
import re
import shutil
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from enforcer.app.acts import signed, write_act
from enforcer.app.demo_land import APPROVER, AUDITOR, OFFICER, OVERSIGHT
from enforcer.app.demo_stage import ORIGIN, program
from enforcer.app.keys import make_request, registration
from enforcer.app.pki import certify
from enforcer.backends import durable
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.clock import SystemClock
from enforcer.backends.keys import PrivateKey
from enforcer.config import Address
from enforcer.core.key import Role
from enforcer.core.policy import DAY_MS
from tests.cli.test_order import order  # noqa: F401 - a fixture
from tests.cli.test_order_life import proposed, shown  # noqa: F401 - a fixture
from tests.e2e.programs import Program
from tests.ports import free_ports
from tests.waiting import WAIT_SECONDS

WHY = "It breaks our own mail."


class Second:
    """Another node of the stage's network, without a gate."""

    def __init__(self, stage):
        made, self.stage = stage.installation, stage
        self.place = made.directory / "node-2"
        self.address = Address(f"127.0.0.1:{free_ports(1)[0]}")
        self.state = self.place / "state"
        config = self.place / "node.toml"
        command = program(["node", "-c", str(config)])
        self.program = Program("node", command, self.place / "log")
        if not self.place.exists():
            self._equip(made, config)
            self._register(made)

    def _equip(self, made, config):
        self.place.mkdir()
        key = self.place / "signing.key"
        PrivateKey.generate().save(key)
        self.request = make_request(key, ORIGIN, Role.NODE, "node-2", operator="isp")
        files = AuthorityFiles(made.authority)
        durable.write_file(
            self.place / "tls.crt",
            certify(self.request, files, files.load(None), hosts=("127.0.0.1",)),
        )
        text = (made.node / "node.toml").read_text()
        for name, value in (("node_id", '"node-2"'), ("listen", f'"{self.address}"')):
            text = re.sub(f"^{name} = .*$", f"{name} = {value}", text, count=1, flags=re.MULTILINE)
        text = re.sub("^(gate_socket|encryption_key_file) = .*$", "", text, flags=re.MULTILINE)
        config.write_text(text)

    def _register(self, made):
        now = SystemClock().now_ms()
        roots = [PrivateKey.load(made.directory / "roots" / f"root-{at}.key") for at in (1, 2)]
        act = signed(registration(self.request, now, now + 30 * DAY_MS), *roots)
        write_act(self.place / "registered.json", act)
        words = [
            "trust",
            "submit",
            "-c",
            self.stage.person(AUDITOR),
            self.place / "registered.json",
        ]
        done = self.stage.command(*map(str, words))
        assert done.returncode == 0, done.stderr

    def status(self):
        with suppress(OSError, ValueError):
            return json.loads((self.state / "status.json").read_text())
        return {}

    def has_read(self, size):
        return self.status().get("ledger", {}).get("size", 0) >= size

    def suspends(self, identity):
        return identity in json.dumps(self.status().get("suspensions", {}).get("held", ""))

    def waits(self):
        return bool(self.status()["suspensions"]["unlogged"])


@pytest.fixture(scope="module")
def second(stage):
    node = Second(stage)
    yield node
    node.program.kill()


@pytest.fixture
def officer(stage, second):
    """Return the client.toml of the officer of two nodes, and one whose control plane is away."""
    config = Path(stage.person(OFFICER))
    nodes = json.dumps([str(stage.node_address), str(second.address)])
    text = re.sub("^nodes = .*\n", "", config.read_text(), flags=re.MULTILINE)
    text = f"nodes = {nodes}\n{text}"
    paths = config.with_name("two.toml"), config.with_name("two-cut-off.toml")
    paths[0].write_text(text)
    paths[1].write_text(re.sub('address = ".*"', 'address = "127.0.0.1:1"', text))
    return paths


@pytest.fixture
def in_force(run, stage, proposed, second):  # noqa: F811 - the fixture
    """An order in force that both nodes have read; the second is down now."""
    identity = proposed()
    said = run("order", "approve", identity, "-c", stage.person(APPROVER), "--yes")
    assert said.code == 0, said.err
    size = shown(run, stage, identity)["history"][-1]["entry_index"] + 1
    if not second.program.is_running:
        second.program.start()
    stage.wait_until(
        "both read it", lambda: stage.holds(size) and second.has_read(size), WAIT_SECONDS
    )
    second.program.kill()
    (second.state / "status.json").unlink()
    yield identity
    said = run("order", "stop", identity, "-c", stage.person(OVERSIGHT), "--yes")
    assert said.code == 0, said.err


@pytest.fixture
def control_away(stage):
    """Let the control plane stand still; the function that comes lets it go on."""
    process = stage._processes["control"]
    process.send_signal(signal.SIGSTOP)
    yield lambda: process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("way", ["again", "by file"])
def test_a_node_that_was_down_is_named_and_gets_the_act_without_the_control_plane(
    run, stage, second, officer, in_force, control_away, tmp_path, way
):
    by = ("--reason", WHY, "--yes", "--json", "--drop", tmp_path / "drop", "-c", officer[1])
    said = run("order", "suspend", in_force, *by)
    assert (said.code, said.json["away"]) == (6, [str(second.address)])
    assert said.json["nodes"][str(stage.node_address)] == "heeded"
    told = " ".join(said.err.split())
    assert f"These nodes do not have it: {second.address}" in told
    assert "run this again once they answer" in told
    assert f"put the files in {tmp_path / 'drop'} into the folder stops" in told

    second.program.start()
    stage.wait_until("it is back", lambda: second.has_read(1), WAIT_SECONDS)
    assert not second.suspends(in_force)  # nobody who has it can reach it
    if way == "again":
        stage.wait_until("it answers", lambda: answers(second.address), WAIT_SECONDS)
        again = run("order", "suspend", in_force, *by)
        assert again.code == 0, again.err
        assert list(again.json["nodes"].values()) == ["already", "heeded"]
    else:
        shutil.copytree(tmp_path / "drop", second.state / "stops", dirs_exist_ok=True)
    stage.wait_until("it suspends", lambda: second.suspends(in_force), WAIT_SECONDS)

    control_away()
    stage.wait_until(
        "the ledger has it",
        lambda: shown(run, stage, in_force)["suspended_by"] == ["isp"],
        WAIT_SECONDS,
    )
    stage.wait_until("one act is left", lambda: not second.waits(), WAIT_SECONDS)
    assert second.suspends(in_force)
    late = run("order", "suspend", in_force, "--yes", "-c", officer[0])
    assert late.code == 0, late.err
    assert "The ledger says so already" in late.out


def test_what_the_ledger_has_comes_to_a_node_that_was_down_by_itself(
    run, stage, second, officer, in_force
):
    said = run("order", "suspend", in_force, "--yes", "-c", officer[0])
    assert said.code == 0, said.err
    assert "The ledger brings it to them as soon as they read on." in said.err
    second.program.start()
    stage.wait_until("it suspends", lambda: second.suspends(in_force), WAIT_SECONDS)


def test_a_longer_suspension_takes_the_place_of_the_one_that_holds(run, stage, in_force, officer):
    by = ("--yes", "-c", officer[0])
    began_ms = SystemClock().now_ms()
    for days in (7, 14):
        said = run("order", "suspend", in_force, "--until", f"+{days}d", *by)
        assert said.code == 0, said.err
        assert "The ledger says so already" not in said.out
        stage.wait_until(
            "the node holds it until then",
            lambda end_ms=began_ms + days * DAY_MS: held_until_ms(stage, in_force) >= end_ms,
            WAIT_SECONDS,
        )
    shorter = run("order", "suspend", in_force, "--until", "+1d", *by)
    assert (shorter.code, "The ledger says so already" in shorter.out) == (0, True), shorter.err
    ended = run("order", "resume", in_force, *by)
    assert ended.code == 0, ended.err
    stage.wait_until("it is over", lambda: not held_until_ms(stage, in_force), WAIT_SECONDS)


def held_until_ms(stage, identity):
    """Return until when the stage's node leaves an order out; 0: it does not."""
    suspensions = stage.node_status().get("suspensions", {})
    held = (each for each in suspensions.get("held", ()) if each["order_id"] == identity)
    return max((each["until_ms"] for each in held), default=0)


def answers(address):
    with socket.socket() as connection:
        return connection.connect_ex((address.host, address.port)) == 0
