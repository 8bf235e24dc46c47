"""Who goes first on a processor: the loops before what an update costs."""

import ctypes
import os
import platform
import struct
from pathlib import Path

import pytest

from tests.backends.gate_client import query

LINUX = tuple(int(part) for part in platform.release().split(".")[:2])
SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
ATTR = struct.Struct("<IIQiIQQQ")
TURN_NS = 100_000
LIBC = ctypes.CDLL(None, use_errno=True)


def turn_ns(thread):
    """Return how long the kernel lets a thread run at a time (sched_getattr(2))."""
    found = ctypes.create_string_buffer(ATTR.size)
    assert LIBC.syscall(SCHED_GETATTR, thread, found, ATTR.size, 0) == 0
    return ATTR.unpack(found.raw)[5]


@pytest.fixture
def worker(start_gate, resolver):
    gate = start_gate()
    assert gate.asking().ask(query("free.example"))
    (pid,) = gate.workers()
    return pid, sorted({int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()} - {pid})


def test_the_loops_go_before_what_their_own_process_does_for_an_update(worker):
    pid, loops = worker
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert len(loops) == 2
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in loops} == {ours}
    assert os.getpriority(os.PRIO_PROCESS, pid) == max(ours, 10)


@pytest.mark.skipif(LINUX < (6, 12), reason="before Linux 6.12 turns are all alike")
@pytest.mark.skipif(SCHED_GETATTR is None, reason="the call's number is not known here")
def test_the_loops_take_short_turns_so_that_one_that_wakes_goes_before_a_supervisor(worker):
    _, loops = worker
    assert [turn_ns(each) for each in loops] == [TURN_NS, TURN_NS]
    assert turn_ns(os.getpid()) != TURN_NS
