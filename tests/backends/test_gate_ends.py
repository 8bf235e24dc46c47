"""What does not end a gate, and that one which ends says why."""

import errno
import os
import time
from contextlib import closing, suppress

import pytest

from enforcer.backends import gate_crew
from enforcer.backends.gate_crew import Crew
from enforcer.backends.gate_settings import GateSettings
from enforcer.backends.gate_sockets import bound_sockets
from enforcer.backends.gate_stats import GateStats
from enforcer.backends.watch import Watch
from tests.backends.gate_client import query
from tests.backends.gate_tables import compiled, order
from tests.backends.gate_world import GateUnderTest

NXDOMAIN = 3


def blocks(gate):
    return gate.asking().ask(query())[3] & 0x0F == NXDOMAIN


@pytest.fixture
def silent(folder, resolver):
    """Start gates whose log nobody can read."""
    started = []

    def start(stderr):
        started.append(GateUnderTest(folder, resolver.place))
        return started[-1].start(stderr)

    yield start
    for gate in started:
        gate.open.close()
        assert gate.end() == 0


@pytest.fixture
def unread():
    """Yield the writing end of a pipe that is full."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, bytes(65_536)):
            pass
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)


@pytest.fixture
def unheard():
    """Yield the writing end of a pipe that nobody has the other end of."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.fixture
def full():
    """Yield a disk that is full."""
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("stderr", ["full", "unheard", "unread"])
def test_a_log_that_takes_nothing_is_no_reason_to_end(silent, stderr, request, tmp_path):
    gate = silent(request.getfixturevalue(stderr))
    gate.load(compiled(tmp_path / "t", order()))
    assert blocks(gate)
    gate.set_mode("bypass")
    assert not blocks(gate)


def test_a_worker_that_cannot_be_had_is_tried_again_ever_more_slowly(monkeypatch, tmp_path):
    tries = []

    def refused(run, *, keeping):
        tries.append(time.monotonic())
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(gate_crew, "forked", refused)
    place = ("127.0.0.1", 0)
    settings = GateSettings(
        origin="example.org/ledger",
        listen=(place,),
        upstreams=(("192.0.2.1", 53),),
        state_dir=tmp_path,
        control_socket=tmp_path / "gate.sock",
    )
    (sockets,) = bound_sockets([place], settings.upstreams, 1)
    with Watch() as watch, closing(sockets), closing(GateStats.create()) as stats:
        crew = Crew(settings, [sockets], watch, lambda worker: None, stats)
        crew.start()
        assert "temporarily unavailable" in crew.first_error.message
        pause_seconds = crew.tend()  # a second one, at once
        while len(tries) < 3:
            time.sleep(pause_seconds)
            pause_seconds = crew.tend()
    assert not crew.workers
    assert tries[2] - tries[1] >= 0.4
    assert pause_seconds > 0.7


def test_one_that_gets_no_worker_at_its_start_says_so(folder, resolver):
    gate = GateUnderTest(folder, resolver.place, prefix=["prlimit", "--nproc=0:0"])
    with pytest.raises(AssertionError, match=r"ended with 1(.|\n)*a worker cannot be started"):
        gate.start()
