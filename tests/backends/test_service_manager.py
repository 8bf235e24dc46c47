"""What a gate says to systemd, and when it says nothing."""

import os
import signal
import socket
from contextlib import suppress

import pytest

from enforcer.backends.service_manager import Watchdog, notify
from tests.backends.gate_tables import compiled, order
from tests.backends.gate_world import reaching_python
from tests.waiting import WAIT_SECONDS, eventually


@pytest.fixture
def manager(folder, monkeypatch):
    """A socket as systemd's, to which a gate of whatever user may write."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(path))
        path.chmod(0o777)
        made.settimeout(WAIT_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield made


def heard(manager):
    return manager.recv(4_096).decode().splitlines()


def test_a_gate_says_that_it_is_ready_reloads_and_ends(start_gate, manager):
    gate = start_gate(prefix=reaching_python())
    assert heard(manager)[0] == "READY=1"
    gate.upgrade()
    reloading = heard(manager)
    assert reloading[0] == "RELOADING=1"
    assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
    assert heard(manager)[0] == "READY=1"
    gate.end()
    assert heard(manager) == ["STOPPING=1"]


def test_the_watchdog_is_fed_while_workers_answer(start_gate, manager):
    start_gate(env={"WATCHDOG_USEC": "100000"})
    assert heard(manager)[0] == "READY=1"
    for _ in range(3):
        assert heard(manager) == ["WATCHDOG=1"]


@pytest.mark.long
def test_the_watchdog_is_not_fed_while_a_worker_hangs(start_gate, manager):
    gate = start_gate(env={"WATCHDOG_USEC": "100000"})
    os.kill(gate.workers()[0], signal.SIGSTOP)
    eventually(lambda: '"worker_lost"' in gate.log.read_text())  # ten seconds: 200 periods
    eventually(lambda: '"worker_died"' in gate.log.read_text())
    manager.setblocking(False)
    said = []
    with suppress(BlockingIOError):
        while True:
            said.append(heard(manager)[0])
    assert said.count("WATCHDOG=1") < 20  # before it was stopped, and after it was replaced
    manager.settimeout(WAIT_SECONDS)
    assert heard(manager) == ["WATCHDOG=1"]


def test_another_process_watchdog_is_not_ours_to_feed(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert Watchdog().seconds_left() > 60


def test_without_a_manager_or_with_a_deaf_one_nothing_happens(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")


def test_an_abstract_address_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("")  # the kernel draws an abstract one
        made.settimeout(WAIT_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + made.getsockname()[1:].decode())
        notify("READY=1", "STATUS=well")
        assert heard(made) == ["READY=1", "STATUS=well"]


def test_a_load_is_answered_while_the_watchdog_is_fed(start_gate, manager, tmp_path):
    gate = start_gate(env={"WATCHDOG_USEC": "20000"})
    for number in range(5):
        size = 100 + number
        assert gate.load(compiled(tmp_path / "t", order(), ledger_size=size)).ledger_size == size
    eventually(lambda: heard(manager) == ["WATCHDOG=1"])
