"""What the gate says it holds, by itself and in this process."""

import os
import socket
from contextlib import closing

import pytest

from enforcer._native.gate import Gate
from enforcer.backends import gate_table
from enforcer.backends.gate_messages import Load, Status, sealed_copy
from enforcer.backends.gate_process import GateProcess
from enforcer.backends.gate_table import LastGood
from enforcer.backends.gate_time import TimeFloor
from tests.backends.gate_world import ORIGIN, compiled, order

DAMAGED = "0" * 64


class Hashing:
    """The checksum of a table, counting how often it was computed; memory can go bad."""

    def __init__(self):
        self.times = 0
        self.is_damaged = False

    def __call__(self, octets):
        self.times += 1
        return DAMAGED if self.is_damaged else self.real(octets)

    real = staticmethod(gate_table.body_sha256)


@pytest.fixture
def hashing(monkeypatch):
    made = Hashing()
    monkeypatch.setattr(gate_table, "body_sha256", made)
    return made


@pytest.fixture
def process(tmp_path):
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as upstream,
    ):
        gate = Gate(
            [client.fileno()], [upstream.fileno()], inflight_max=64, timeout_ms=1, drain_ms=0
        )
        yield GateProcess(gate, ORIGIN, LastGood(tmp_path), TimeFloor(tmp_path, ORIGIN), 60_000)


def load(process, path):
    fd = sealed_copy(path.read_bytes(), "test")
    try:
        return process.answer(Load(), fd).report
    finally:
        os.close(fd)


def status(process, *, verify=False):
    return process.answer(Status(verify=verify), None).report


def test_the_table_is_hashed_when_that_is_asked_and_after_a_load(process, hashing, tmp_path):
    loaded = load(process, compiled(tmp_path / "t", order()))
    assert hashing.times == 1
    for _ in range(3):
        assert status(process) == loaded
    assert hashing.times == 1
    assert status(process, verify=True) == loaded
    assert hashing.times == 2


def test_damage_once_found_is_said_until_another_table_comes(process, hashing, tmp_path):
    path = compiled(tmp_path / "t", order())
    loaded = load(process, path)
    hashing.is_damaged = True
    assert status(process).body_sha256 == loaded.body_sha256
    assert status(process, verify=True).body_sha256 == DAMAGED
    assert status(process).body_sha256 == DAMAGED
    hashing.is_damaged = False
    assert load(process, path).body_sha256 == loaded.body_sha256
    assert status(process).body_sha256 == loaded.body_sha256


def test_without_a_table_there_is_nothing_to_hash(process, hashing):
    assert status(process, verify=True).body_sha256 == ""
    assert hashing.times == 0


def test_a_table_from_the_disk_is_what_its_check_found(process, hashing, tmp_path):
    loaded = load(process, compiled(tmp_path / "t", order()))
    process.held = None
    process.begin()
    assert status(process).body_sha256 == loaded.body_sha256
    assert hashing.times == 1
