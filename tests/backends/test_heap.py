"""A process that keeps its heap small gives back what it has freed."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from enforcer.backends.worker_process import WorkerProcess

BLOCK_BYTES = 1 << 20
BLOCKS = 32


def taken_bytes() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.findall(r"^Pss_Anon: +(\d+) kB", text, re.MULTILINE)[0]) * 1_024


def kept_bytes() -> int:
    """Return what stays taken of many blocks when all but a small one behind them were freed."""
    bytearray(24 << 20)[:] = b""  # by default the library keeps blocks as large from now on
    before = taken_bytes()
    blocks = [b"\1" * BLOCK_BYTES for _ in range(BLOCKS)]
    last = b"\1" * 1_000
    blocks.clear()
    return taken_bytes() - before + 0 * len(last)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no mallopt in this libc")
def test_a_worker_gives_back_what_it_has_freed():
    worker = WorkerProcess()
    try:
        assert worker.submit(kept_bytes).result(30) < 4 * BLOCK_BYTES
    finally:
        worker.close()
