"""What 10,000 nodes cost the control plane: taking their words in, recording them, telling of them.

The services of a control plane over a real ledger on the disk, with real registrations and real
signatures, without gRPC and TLS (`fleet_simulation` measures a call with those). Each node attests
ATTESTATIONS_ROUNDS times, a minute apart, of a ledger with 200 orders; signing is not measured.
Processor time is that of the process, threads included. ATTESTATIONS_NODES says how many nodes.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

from bench import Row, median_row, peak_memory_mb
from enforcer.core.attestation import EffectTime
from enforcer.core.key import Role
from enforcer.services.fleet_orders import FleetOrders
from tests.people import Person, request_id, seal
from tests.services.test_attested import FleetDesk

NODES = int(os.environ.get("ATTESTATIONS_NODES", "10000"))
ROUNDS = int(os.environ.get("ATTESTATIONS_ROUNDS", "3"))
ORDERS = 200
MINUTE_MS = 60_000


def run() -> list[Row]:
    return asyncio.run(_run())


async def _run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        async with FleetDesk(Path(folder) / "ledger") as desk:
            nodes = [Person(f"node-{at:05d}", Role.NODE, operator="isp-1") for at in range(NODES)]
            roots = desk.land.roots[:2]
            for at in range(0, NODES, 500):
                acts = [
                    seal(node.registration(desk.land.now_ms), *roots)
                    for node in nodes[at : at + 500]
                ]
                await asyncio.gather(*map(desk.ledger.record, acts))
            for at in range(ORDERS):
                order = await desk.propose(f"exact bad-{at}.example.org\n".encode())
                await desk.approve(order)
            return await measured(desk, nodes)


async def measured(desk: FleetDesk, nodes: list[Person]) -> list[Row]:
    """Measure a fleet that attests each minute, and an interval's end."""
    at_nodes = FleetOrders(desk.ledger, desk.fleet)
    newest = max(desk.ledger.state.orders)
    before_mb = peak_memory_mb()
    took: list[float] = []
    walls: list[float] = []
    for _ in range(ROUNDS):
        desk.land.now_ms += MINUTE_MS
        effects = (EffectTime(newest, desk.land.now_ms - 50, None),)
        said = desk.said(effects=effects)
        envelopes = [
            seal(replace(said, node_id=node.person_id, request_id=request_id()), node.key)
            for node in nodes
        ]
        began, clock = process_time(), perf_counter()
        for node, envelope in zip(nodes, envelopes, strict=True):
            await desk.attestations.receive(envelope, node.person_id)
        took.append((process_time() - began) / NODES * 1e6)
        walls.append((perf_counter() - clock) / NODES * 1e6)
    memory_mb = peak_memory_mb() - before_mb
    clock, began = perf_counter(), process_time()
    recorded = await desk.recorded(1_000)
    record_seconds, record_cpu = perf_counter() - clock, process_time() - began
    assert recorded.node_count == NODES
    assert recorded.exception_count == 5, "the five that the world has besides, and never attested"
    (batch,) = (desk.path / "batches").iterdir()
    order = desk.ledger.state.orders[newest]
    clock = perf_counter()
    shown = at_nodes.order(order)
    show_seconds = perf_counter() - clock
    assert len(shown.nodes) == NODES + 5
    return [
        Row("nodes", NODES, ""),
        median_row("an attestation taken in: processor time", took, "us"),
        median_row("an attestation taken in, one after the other", walls, "us"),
        Row("memory: the newest word of each, and what this process signs", memory_mb, "MB"),
        Row("an interval recorded", record_seconds * 1e3, "ms"),
        Row("an interval recorded: processor time", record_cpu * 1e3, "ms"),
        Row("a batch on the disk", batch.stat().st_size / 1e6, "MB"),
        Row("an order shown over all nodes", show_seconds * 1e3, "ms"),
    ]
