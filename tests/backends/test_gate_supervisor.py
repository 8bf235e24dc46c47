"""What the gate's supervisor says it holds, with workers that agree to everything."""

import os
from dataclasses import replace

import pytest

from enforcer.backends import gate_last_good, gate_table
from enforcer.backends.gate_channel import Answer
from enforcer.backends.gate_messages import Load, Status, sealed_copy
from enforcer.backends.gate_settings import GateSettings
from enforcer.backends.gate_stats import GateStats
from enforcer.backends.gate_supervisor import Supervisor
from enforcer.backends.watch import Watch
from tests.backends.gate_tables import ORIGIN, compiled, order

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


class Agreeing:
    """A crew without workers."""

    serving = ()

    def __init__(self, stats):
        self.stats = stats

    def ask(self):
        return [Answer()]

    def tell(self, message, fds, to):
        return [Answer()]

    def counters(self):
        return {}


@pytest.fixture
def watch():
    with Watch() as made:
        yield made


def written_at_once(run, *, keeping, nice):
    """Do what a child would, here, and return a child that ends so: these tests have threads."""
    code = run()
    assert all(os.fstat(fd) for fd in keeping)
    return os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {code}"], os.environ)


@pytest.fixture(autouse=True)
def no_copies(monkeypatch):
    monkeypatch.setattr(gate_last_good, "forked", written_at_once)


@pytest.fixture
def begin(tmp_path, watch):
    made = []
    stats = GateStats.create()

    def begin():
        made.append(
            Supervisor(
                GateSettings(
                    origin=ORIGIN,
                    listen=(),
                    upstreams=(),
                    state_dir=tmp_path,
                    control_socket=tmp_path / "gate.sock",
                ),
                watch,
            )
        )
        made[-1].crew = Agreeing(stats)
        made[-1].begin()
        return made[-1]

    yield begin
    stats.close()
    for each in made:
        each.finish()


@pytest.fixture
def process(begin):
    return begin()


def load(process, path):
    fd = sealed_copy(path.read_bytes(), "test")
    try:
        return replace(process.answer(Load(), [fd]).report, confirmed_at_ms=0)
    finally:
        os.close(fd)


def status(process, *, verify=False):
    report = process.answer(Status(verify=verify), []).report
    return replace(report, confirmed_at_ms=0)


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


def test_a_table_from_the_disk_is_what_its_check_found(begin, hashing, tmp_path):
    process = begin()
    loaded = load(process, compiled(tmp_path / "t", order()))
    process.finish()
    assert status(begin()).body_sha256 == loaded.body_sha256
    assert hashing.times == 1


def test_many_tables_in_a_second_cost_one_writer_and_the_last_one_is_kept(
    begin, watch, monkeypatch, tmp_path
):
    writers = []

    def counted(run, *, keeping, nice):
        writers.append(nice)
        return written_at_once(run, keeping=keeping, nice=nice)

    clock = [1_000.0]
    monkeypatch.setattr(gate_last_good, "forked", counted)
    monkeypatch.setattr(gate_last_good.time, "monotonic", lambda: clock[0])
    process = begin()
    for at in range(5):
        loaded = load(process, compiled(tmp_path / f"t{at}", order(index=at + 1)))
        process.tend()
        while process.is_writing:
            watch.turn(1.0)
    assert writers == [gate_last_good.WRITER_NICE]
    clock[0] += gate_last_good.PAUSE_SECONDS
    process.tend()
    assert len(writers) == 2
    while process.is_writing:
        watch.turn(1.0)
    assert status(begin()).body_sha256 == loaded.body_sha256
