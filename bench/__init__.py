"""Measurements that anyone can run again: `python -m bench [NAME…]`.

Each module here has `run() -> list[Row]`. Absolute times drift with the machine; what a
module compares, it measures in one run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One number: the median of `rounds` measurements."""

    what: str
    value: float
    unit: str
    rounds: int = 1


def median_row(what: str, values: Sequence[float], unit: str) -> Row:
    """Return the row of the median of `values`."""
    return Row(what, median(values), unit, len(values))


def data_path(*parts: str) -> Path:
    """Return a file of the shared data: under ENFORCER_DATA, else ../shared/data."""
    path = data_path_or_none(*parts)
    if path is None:
        raise SystemExit(f"no shared data {'/'.join(parts)}: say where with ENFORCER_DATA")
    return path


def data_path_or_none(*parts: str) -> Path | None:
    """Return a file of the shared data if it is here."""
    named = os.environ.get("ENFORCER_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    path = folder.joinpath(*parts)
    return path if path.exists() else None


def peak_memory_mb() -> float:
    """Return the most memory that this process has held in MB of 10^6 bytes, mapped files included.

    From /proc, not getrusage: ru_maxrss of a child begins with its parent's size at fork.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("the kernel does not tell peak memory in /proc/self/status")
