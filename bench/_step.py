"""A step of a bench in a process of its own, so that its peak of memory is its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from time import perf_counter_ns

from bench import ROOT, peak_memory_mb


def in_child(module: str, *words: object) -> bytes:
    """Run `python -m MODULE WORDS…` and return what it writes."""
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Do the work; return the seconds it took, and the most memory of this process so far."""
    start = perf_counter_ns()
    work()
    return {"seconds": (perf_counter_ns() - start) / 1e9, "memory_mb": peak_memory_mb()}
