"""The rounds: every server in each of them, in rotated order, then the gate alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.peers import scale, updates
from bench.peers.aims import Aim, aims
from bench.peers.floor import Upstream
from bench.peers.gate import Gate
from bench.peers.measure import Figures, one_round
from bench.peers.names import NAMES, Names
from bench.peers.plan import QUICK, Plan
from bench.peers.progress import note
from bench.peers.report import spread, tables
from bench.peers.server import Server


def measured(
    folder: Path, kinds: Sequence[type[Server]], peers: Sequence[type[Server]], plan: Plan
) -> tuple[str, bool]:
    """Run everything; return the text of the results, and whether no figure was refused."""
    note(f"{NAMES:,} names, and what is asked")
    names = Names(folder)
    servers = [prepared(kind, folder, names) for kind in kinds]
    found: dict[str, Figures] = {each.name: defaultdict(list) for each in servers}
    has_gate = any(isinstance(each, Gate) for each in servers)
    upstream = Upstream(folder)
    try:
        upstream.wait_until_ready()
        refusals = all_rounds(servers, names, plan, found)
        parts = [tables(servers, found)]
        decided = list(aims([peer.name for peer in peers], found))
        if has_gate and plan is not QUICK:
            for text, aim in (scaled(folder, plan), updates.measure(folder, names, plan)):
                parts.append(text)
                decided.append(aim)
    finally:
        upstream.stop()
    parts += [f"{server}: refused: {why}" for server, why in refusals.items()]
    if has_gate:
        lines = "\n".join(aim.line() for aim in decided)
        parts.append(f"### The aims\n\n```\n{lines}\n```")
    return "\n\n".join(parts), not refusals


def all_rounds(
    servers: Sequence[Server], names: Names, plan: Plan, found: dict[str, Figures]
) -> dict[str, str]:
    """Fill `found`; return why servers were refused, whose figures are then left out."""
    refusals: dict[str, str] = {}
    for at in range(plan.rounds):
        first = at * len(servers) // plan.rounds
        for server in [*servers[first:], *servers[:first]]:
            if server.name in refusals:
                continue
            note(f"round {at + 1} of {plan.rounds}: {server.name}")
            try:
                one_round(server, names, plan, found[server.name])
            except SystemExit as refusal:
                note(f"REFUSED: {refusal}")
                refusals[server.name] = str(refusal).splitlines()[0]
                found[server.name].clear()
    return refusals


def prepared(kind: type[Server], folder: Path, names: Names) -> Server:
    """Return a server of that kind with its files written."""
    note(f"preparing {kind.name}")
    (folder / kind.name).mkdir()
    server = kind(folder / kind.name)
    server.prepare(names)
    return server


def scaled(folder: Path, plan: Plan) -> tuple[str, Aim]:
    """Measure the gate with few and with many names; return the text and the aim."""
    found = scale.measure(folder, plan)
    lines = [f"- {count:,} names: {spread(values)}" for count, values in found.items()]
    text = "\n".join(["### The gate alone, blocked, CPU µs a query", "", *lines])
    few, many = (median(values) for values in found.values())
    return text, Aim("ten million names / a hundred thousand: CPU", many / few, 1.5)
