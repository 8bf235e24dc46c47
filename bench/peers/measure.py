"""One round of one server: started, asked, driven, ended; every answer held to what is right."""

from __future__ import annotations

import time
from collections import defaultdict

from bench.peers.asking import check_blocked, check_passed, wait_until_blocked
from bench.peers.dnsperf import Run, drive
from bench.peers.names import MIX_BLOCKED, Names
from bench.peers.plan import Plan
from bench.peers.server import Server

Figures = dict[tuple[str, str], list[float]]
"""(workload, figure) → one value a round; the workload is "" for what belongs to none."""

SHARE_DOUBT = 0.01
"""How far the mix that dnsperf got through may be from the one in its file."""


def one_round(server: Server, names: Names, plan: Plan, found: Figures) -> None:
    """Add one round's figures to `found`.

    Raises:
        SystemExit: an answer was wrong or missing.
    """
    started = time.monotonic()
    server.start()
    try:
        seconds = wait_until_blocked(server, names.some_blocked, started)
        if "mix" in server.workloads:
            found["", "load_seconds"].append(seconds)
        check(server, names)
        found["", "memory_mb"].append(server.memory_mb())
        if server.empty_mb is not None:
            found["", "empty_mb"].append(server.empty_mb)
        for workload in server.workloads:
            for figure, value in one_workload(server, names, plan, workload).items():
                found[workload, figure].append(value)
        check(server, names)
    finally:
        server.stop()


def check(server: Server, names: Names) -> None:
    """Raise SystemExit unless a sample of names is answered as it must be."""
    if "mix" in server.workloads:
        check_blocked(server, names.some_blocked)
        check_passed(server, names.some_passed)


def one_workload(server: Server, names: Names, plan: Plan, workload: str) -> dict[str, float]:
    """Drive one workload as hard as dnsperf can, then at the steady rate; return its figures."""
    if workload in {"cached", "mix"}:
        warm(server, names)
    before = server.cpu_seconds()
    run = drive(
        names.queries(workload),
        server.port,
        seconds=plan.seconds,
        is_once=workload == "uncached",
    )
    cpu_seconds = server.cpu_seconds() - before
    judge(server, workload, run)
    steady = drive(
        names.queries(workload, is_steady=True),
        server.port,
        seconds=plan.steady_seconds,
        rate=plan.steady_rate,
        is_once=workload == "uncached",
    )
    judge(server, workload, steady)
    return {
        "cpu_us": cpu_seconds * 1e6 / run.completed,
        "qps": run.completed / run.seconds,
        "p50_ms": steady.percentile_ms(50),
        "p99_ms": steady.percentile_ms(99),
    }


def warm(server: Server, names: Names) -> None:
    """Ask for each of the hot names, so that they are cached where there is a cache."""
    drive(names.queries("cached"), server.port, seconds=20, is_once=True)


def judge(server: Server, workload: str, run: Run) -> None:
    """Raise SystemExit unless the response codes are those of the workload."""
    blocked = {"blocked": 1.0, "mix": MIX_BLOCKED}.get(workload, 0.0)
    wanted: dict[str, float] = defaultdict(float)
    wanted["NXDOMAIN" if server.blocked_rcode == 3 else "NOERROR"] += blocked
    wanted["NOERROR"] += 1 - blocked
    for rcode in {*wanted, *run.rcodes}:
        share = run.rcodes.get(rcode, 0) / run.completed
        doubt = SHARE_DOUBT if workload == "mix" else 0.0
        if abs(share - wanted[rcode]) > doubt:
            raise SystemExit(f"{server.name}, {workload}: wrong answers: {run.rcodes}")
