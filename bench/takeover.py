"""A control plane dies under load: how long until its standby has answered an act.

Two real `enforcer control --standby` on one ledger of 10,000 and of 100,000 entries, gRPC with
mTLS, no Redis. Two people propose and approve without a pause; the one that serves is killed
(SIGKILL) at a random moment, and a stop that waits is sent every five milliseconds over a fresh
connection until it is answered. The time is from the kill to that answer; a cold start is the same
with the other process started at the kill, from the kept fold and, in the end, without it. How long
a standby takes to be warm is of processes that begin then. TAKEOVER_ENTRIES, TAKEOVER_ROUNDS and
TAKEOVER_COLD say how many of each.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, time_ns

from bench import Row, audit, median_row
from bench._fleet import cpu_seconds
from enforcer.backends.fold_file import FOLD_FILE
from enforcer.core.order import OrderRef
from enforcer.core.state import in_force
from enforcer.errors import UnavailableError
from enforcer.services.kept_fold import AT_REST_MIN
from tests.app.test_standby import ControlPlane, Host, work
from tests.control import LOG_KEY, TARGETS
from tests.ledgers import Archive
from tests.people import Land, seal
from tests.waiting import until

ENTRIES = tuple(map(int, os.environ.get("TAKEOVER_ENTRIES", "10000,100000").split(",")))
ROUNDS = int(os.environ.get("TAKEOVER_ROUNDS", "11"))
COLD = int(os.environ.get("TAKEOVER_COLD", "3"))
ENTRY_MS = 240_000
LOAD_SECONDS = 1.5
FOLD_SECONDS_MAX = 900.0
RETRY_SECONDS = 0.005
WORKERS = 2


def run() -> list[Row]:
    rows: list[Row] = []
    for entries in ENTRIES:
        with tempfile.TemporaryDirectory(prefix="enforcer-bench-") as name:
            rows += asyncio.run(measured(Path(name), entries))
    return rows


async def measured(directory: Path, entries: int) -> list[Row]:
    """Take over again and again, warm and cold, on one ledger."""
    host = Host(directory, land_of(directory / "ledger", entries))
    rows = in_force(host.land.state, host.land.now_ms)
    orders = [host.land.ref(row.index) for row in rows]
    chance = random.Random(20_301)
    what = f"{entries:,} entries"
    try:
        serves = await host.serving(FOLD_SECONDS_MAX)
        await host.bring(TARGETS)
        await kept(host, entries)
        warm, cold, young = [], [], []
        for _ in range(ROUNDS):
            standby = await host.warm(FOLD_SECONDS_MAX)
            young.append(cpu_seconds(standby.pid))
            warm.append(await killed_and_answered(host, orders.pop(), serves, standby, chance))
            serves = standby
        for _ in range(COLD):
            cold.append(await killed_and_answered(host, orders.pop(), serves, None, chance))
            serves = host.started[-1]
        (host.here.config.ledger_dir / FOLD_FILE).unlink()
        anew = await killed_and_answered(host, orders.pop(), serves, None, chance)
        host.check()
    finally:
        for process in host.started:
            await process.kill()
    ratio = median(cold) / median(warm)
    return [
        median_row(f"{what}: processor time until a standby is warm", young, "s"),
        median_row(f"{what}: kill to the standby's first answer", warm, "ms"),
        Row(f"{what}: the longest of them", max(warm), "ms", len(warm)),
        median_row(f"{what}: kill to a cold start's first answer", cold, "ms"),
        Row(f"{what}: cold start / standby", ratio, "times"),
        Row(f"{what}: kill to a cold start's first answer, nothing kept", anew, "ms"),
    ]


async def kept(host: Host, entries: int) -> None:
    """Wait until who serves has kept its fold for the first time."""
    if entries < AT_REST_MIN:
        return
    await until((host.here.config.ledger_dir / FOLD_FILE).exists)


def land_of(path: Path, entries: int) -> Land:
    """Write a ledger as an authority fills it in nine months, the last entry of now."""
    audit.ENTRIES, audit.ENTRY_MS = entries, ENTRY_MS
    now_ms = time_ns() // 1_000_000
    land = Land.founded(now_ms=now_ms - (entries + 1_000) * ENTRY_MS)
    audit.fill(Archive(path, land, log_key=LOG_KEY))
    land.now_ms = now_ms
    return land


async def killed_and_answered(
    host: Host,
    ref: OrderRef,
    serves: ControlPlane,
    standby: ControlPlane | None,
    chance: random.Random,
) -> float:
    """Kill who serves while people work; return after how many ms the order's stop was answered."""
    people = [asyncio.ensure_future(work(host, at, chance)) for at in range(WORKERS)]
    await asyncio.sleep(LOAD_SECONDS + chance.uniform(0, 0.2))
    act = seal(host.land.stopping(ref), host.land.oversight.key)
    os.kill(serves.pid, signal.SIGKILL)
    began = perf_counter()
    if standby is None:
        await host.run()
    while True:
        async with host.here.client(host.land.oversight) as client:
            try:
                host.keep(await client.stop(act))
                break
            except UnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
    took_ms = 1_000 * (perf_counter() - began)
    for person in people:
        person.cancel()
    await asyncio.gather(*people, return_exceptions=True)
    await serves.kill()
    await (standby or host.started[-1]).hear("control_serves", seconds_max=FOLD_SECONDS_MAX)
    return took_ms
