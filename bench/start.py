"""A node's start with 100,000 entries: from the feed onto an empty disk, and again from its own.

The ledger is that of `bench.audit`, every act really signed; the feed stands in a real Redis over a
Unix socket, filled by the publisher. Each start is a process of its own with the node's own
source, replica, ledger on the disk and kept fold; lists, gate and attestations are not part of it.
The floor hashes every leaf and verifies every signature in one process and does nothing else. All
in seconds of processor time, which a busy machine changes least. START_ENTRIES says how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import bench.audit
from bench import ROOT, Row
from enforcer.backends.keys import PrivateKey
from enforcer.backends.redis_feed import RedisFeedPublisher
from enforcer.backends.redis_server import RedisServer
from enforcer.core.checkpoint import Checkpoint, sign_checkpoint
from enforcer.ports import WAYPOINT_ENTRIES
from tests.ledgers import LOG_KEY, VKEY, Archive, opened
from tests.people import ORIGIN, Land

ENTRIES = int(os.environ.get("START_ENTRIES", "100000"))


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="enforcer-bench-") as name:
        base = Path(name)
        archive = Archive(base / "ledger", Land.founded())
        bench.audit.ENTRIES = ENTRIES
        bench.audit.fill(archive)
        archive.write_trust(base / "trust.toml")
        PrivateKey.generate().save(base / "node.key")
        server = RedisServer(base / "redis", unixsocket=base / "redis.sock")
        server.start()
        try:
            sent_mb = asyncio.run(filled(base, server))
            cold = ran("cold", base, server.url)
        finally:
            server.stop()
        again, restart = ran("again", base), ran("restart", base)
        floor = ran("floor", base)
        return [
            Row("entries", len(archive.land.leaves), ""),
            Row("the feed's bundles", sent_mb, "MB"),
            Row("floor: hash every leaf, verify every signature", floor["cpu_seconds"], "s"),
            Row("first start, from the feed", cold["cpu_seconds"], "s"),
            Row("first start, times the floor", ratio(cold, floor), "times"),
            Row("first start, peak memory", cold["peak_mb"], "MB"),
            Row("restart, folding again", again["cpu_seconds"], "s"),
            Row("restart, folding again, peak memory", again["peak_mb"], "MB"),
            Row("restart from the kept fold", restart["cpu_seconds"], "s"),
            Row("restart from the kept fold, times the floor", ratio(restart, floor), "times"),
            Row("restart from the kept fold, peak memory", restart["peak_mb"], "MB"),
            Row("the kept fold", (base / "fold").stat().st_size / 1e6, "MB"),
        ]


async def filled(base: Path, server: RedisServer) -> float:
    """Fill the feed from the ledger; return how many MB of bundles it has."""
    publisher = RedisFeedPublisher(server.url, ORIGIN)
    with opened(base / "ledger") as ledger:
        await publisher.reconcile(ledger, ledger.lists, ())
        sizes = range(WAYPOINT_ENTRIES, ledger.size + 1, WAYPOINT_ENTRIES)
        roots = {size: Checkpoint(ORIGIN, size, ledger.root_at(size)) for size in sizes}
        await publisher.show_waypoints(
            {size: sign_checkpoint(root, VKEY, LOG_KEY.sign) for size, root in roots.items()}
        )
        sent = sum(len(leaf) + 2 for leaf in ledger.entries(0, ledger.size))
    await publisher.close()
    return sent / 1e6


def ratio(one: dict[str, float], other: dict[str, float]) -> float:
    return one["cpu_seconds"] / other["cpu_seconds"]


def ran(*words: object) -> dict[str, float]:
    """Run one way of starting in a process of its own."""
    command = [sys.executable, "-m", "bench._starting", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return said
