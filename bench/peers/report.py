"""What was found, as tables: medians, with the least and the most of the rounds in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bench._report import number, table
from bench.peers import WORKLOADS
from bench.peers.measure import Figures
from bench.peers.server import Server

Found = Mapping[str, Figures]
"""Server's name → its figures."""

REFUSED = "refused"
TITLES = {
    "blocked": "Blocked: each a listed name",
    "cached": "Passed and cached: 10,000 names",
    "uncached": "Passed, not cached: each a new name",
    "mix": "5 % blocked, the rest passed and cached",
}


def tables(servers: Sequence[Server], found: Found) -> str:
    """Return one table for each workload, one for loading, and what each server is."""
    parts = []
    for workload in WORKLOADS:
        there = [each for each in servers if workload in each.workloads]
        parts.append(f"### {TITLES[workload]}\n\n{of_workload(there, found, workload)}")
    there = [each for each in servers if "mix" in each.workloads]
    parts.append(f"### Loading a million names\n\n{of_loading(there, found)}")
    parts.append(f"### The servers\n\n{of_servers(servers)}")
    return "\n\n".join(parts)


def of_workload(servers: Sequence[Server], found: Found, workload: str) -> str:
    floor_us = middle(found, "echo", workload, "cpu_us")
    cells = []
    for server in servers:
        cpu_us = middle(found, server.name, workload, "cpu_us")
        times = f"{cpu_us / floor_us:.2f}" if cpu_us and floor_us else ""
        figures = found[server.name]
        cells.append(
            (
                server.name,
                spread(figures.get((workload, "cpu_us"))),
                times,
                *(
                    spread(figures.get((workload, figure)))
                    for figure in ("qps", "p50_ms", "p99_ms")
                ),
            )
        )
    head = ("server", "CPU µs a query", "of the floor", "queries a second", "p50 ms", "p99 ms")
    return table(head, cells, left=(0,))


def of_loading(servers: Sequence[Server], found: Found) -> str:
    cells = [
        (
            server.name,
            spread(found[server.name].get(("", "load_seconds"))),
            spread(found[server.name].get(("", "memory_mb"))),
        )
        for server in servers
    ]
    return table(("server", "load s", "resident MB"), cells, left=(0,))


def of_servers(servers: Sequence[Server]) -> str:
    cells = [(each.name, each.version(), each.setting) for each in servers]
    return table(("server", "version", "set up"), cells, left=(0, 1, 2))


def spread(values: Sequence[float] | None) -> str:
    """Return the median of `values`, and from where to where they go if there are several."""
    if not values:
        return REFUSED
    text = number(median(values))
    if len(values) > 1:
        text += f" ({number(min(values))} to {number(max(values))})"
    return text


def middle(found: Found, server: str, workload: str, figure: str) -> float | None:
    """Return the median of a figure, or None if there is none."""
    values = found.get(server, {}).get((workload, figure))
    return median(values) if values else None
