"""dnsperf(1) on the clients' core: as fast as it can, or at a steady rate with each latency."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from bench.peers import CLIENT_CORE, HOST
from bench.peers.server import pinned

SOCKETS = 16
OUTSTANDING = 200  # the default receive buffer holds as many; more would be lost in it
TIMEOUT_SECONDS = 2
LOST_SHARE_MAX = 0.001
LATENCY = re.compile(r"^> \S+ \S+ \S+ ([\d.]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What one run of dnsperf found; latencies are empty where it was as fast as it can."""

    completed: int
    lost: int
    seconds: float
    rcodes: dict[str, int]
    latencies_ms: list[float]

    def percentile_ms(self, percent: int) -> float:
        """Return the latency that `percent` of the answers did not exceed."""
        return quantiles(self.latencies_ms, n=100, method="inclusive")[percent - 1]


def drive(
    queries: Path,
    port: int,
    *,
    seconds: float,
    rate: int | None = None,
    is_once: bool = False,
) -> Run:
    """Send queries for some seconds; `is_once` ends when the file is through.

    Raises:
        SystemExit: dnsperf failed, or too much was lost for a figure to mean something.
    """
    command = [*pinned(CLIENT_CORE), "dnsperf", "-s", HOST, "-p", str(port)]
    command += ["-d", str(queries), "-l", f"{seconds:g}", "-t", str(TIMEOUT_SECONDS), "-W"]
    command += ["-c", str(SOCKETS), "-q", str(OUTSTANDING)]
    command += ["-n", "1"] if is_once else []
    command += ["-Q", str(rate), "-v"] if rate else []
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    run = read(done.stdout)
    if run.lost > LOST_SHARE_MAX * max(run.completed, 1):
        raise SystemExit(f"{run.lost} of {run.lost + run.completed} queries were not answered")
    return run


def read(said: str) -> Run:
    """Return what dnsperf said."""
    rcodes = re.search(r"Response codes: +(.*)", said)
    return Run(
        completed=int(figure(r"Queries completed: +(\d+)", said)),
        lost=int(figure(r"Queries lost: +(\d+)", said)),
        seconds=figure(r"Run time \(s\): +([\d.]+)", said),
        rcodes={
            word: int(count)
            for word, count in re.findall(r"([A-Z]+) (\d+) \(", rcodes[1] if rcodes else "")
        },
        latencies_ms=[float(seconds) * 1e3 for seconds in LATENCY.findall(said)],
    )


def figure(pattern: str, said: str) -> float:
    found = re.search(pattern, said)
    if found is None:
        raise SystemExit(f"dnsperf said something else than expected:\n{said[-2_000:]}")
    return float(found[1])
