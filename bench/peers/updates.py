"""The gate alone: its latency while a thousand small updates a minute arrive, and while none do.

An update is an overlay with an order of a thousand new names over the million; as its making is
the node's work, all are made beforehand. Segments alternate, at the same steady rate.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench._report import number
from bench.peers.aims import Aim
from bench.peers.asking import check_blocked, wait_until_blocked
from bench.peers.dnsperf import drive
from bench.peers.gate import Gate
from bench.peers.made_tables import Tables
from bench.peers.measure import judge, warm
from bench.peers.names import Names, target_list
from bench.peers.plan import Plan
from bench.peers.progress import note
from bench.peers.report import spread
from enforcer.errors import EnforcerError
from enforcer.ports import SealedTable

UPDATES_A_MINUTE = 1_000
TARGETS = 1_000
LIMIT = 1.2


def measure(folder: Path, names: Names, plan: Plan) -> tuple[str, Aim]:
    """Return the text of what was found, and the aim."""
    (folder / "updates").mkdir()
    gate, tables = Gate(folder / "updates"), Tables()
    gate.hand_over(tables.base([target_list(names.blocked)]), names.some_blocked)
    quiet, busy = [], []
    started = time.monotonic()
    gate.start()
    try:
        wait_until_blocked(gate, names.some_blocked, started)
        warm(gate, names)
        for at in range(plan.rounds):
            note(f"round {at + 1} of {plan.rounds}: quiet, then updates")
            quiet.append(p99_ms(gate, names, plan))
            busy.append(while_updated(gate, names, plan, tables, at))
    except (EnforcerError, SystemExit) as error:  # the other figures stand
        what = f"p99 under updates: refused: {str(error).splitlines()[0]}"
        return f"### The gate under updates\n\n{what}", Aim(what, None, LIMIT)
    finally:
        gate.stop()
    text = (
        f"### The gate under updates\n\n"
        f"- p99 while nothing comes: {spread(quiet)} ms\n"
        f"- p99 at {number(UPDATES_A_MINUTE)} updates a minute: {spread(busy)} ms"
    )
    return text, Aim("p99 under updates / quiet", median(busy) / median(quiet), LIMIT)


def p99_ms(gate: Gate, names: Names, plan: Plan) -> float:
    run = drive(names.queries("mix"), gate.port, seconds=plan.update_seconds, rate=plan.steady_rate)
    judge(gate, "mix", run)
    return run.percentile_ms(99)


def while_updated(gate: Gate, names: Names, plan: Plan, tables: Tables, at: int) -> float:
    """Return the p99 while updates arrive; each must be in force at the end of its turn."""
    count = int(plan.update_seconds * UPDATES_A_MINUTE / 60)
    lists = [f"{turn:04}.r{at}.example.net" for turn in range(count)]
    made = [tables.overlay(targets(below)) for below in lists]
    failed: list[EnforcerError] = []
    sender = threading.Thread(target=send, args=(gate, made, failed))
    sender.start()
    try:
        found = p99_ms(gate, names, plan)
    finally:
        sender.join()
    if failed:
        raise failed[0]
    check_blocked(gate, [f"n0.{lists[-1]}", f"n{TARGETS - 1}.{lists[-1]}"])
    return found


def send(gate: Gate, made: Sequence[SealedTable], failed: list[EnforcerError]) -> None:
    """Hand the overlays over, each at its time."""
    started = time.monotonic()
    for turn, overlay in enumerate(made):
        time.sleep(max(0.0, started + turn * 60 / UPDATES_A_MINUTE - time.monotonic()))
        try:
            asyncio.run(gate.client.overlay(overlay))
        except EnforcerError as error:
            failed.append(error)
            return
        overlay.close()


def targets(below: str) -> bytes:
    """Return a canonical list of names below one."""
    return b"".join(sorted(f"subtree n{at}.{below}\n".encode() for at in range(TARGETS)))
