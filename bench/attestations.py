"""What 10,000 nodes cost the control plane: taking their words in, recording them, telling of them.

The services of a control plane over a real ledger on the disk, with real registrations and real
signatures, without gRPC and TLS (`fleet_simulation` measures a call with those). Each node attests
ATTESTATIONS_ROUNDS times, a minute apart, of a ledger with 200 orders; signing is not measured.
Processor time is that of the process, threads included. How long the event loop was held is the
longest processor time of its thread between two turns of a task that only waits for its next: so
much, and no more, does any of these keep an approval waiting. ATTESTATIONS_NODES says how many.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time, thread_time

from bench import Row, median_row, peak_memory_mb
from enforcer.api.fleet_messages import order_fleet_with_nodes
from enforcer.api.fleet_metrics import FleetView, expose_fleet
from enforcer.core.attestation import EffectTime
from enforcer.core.key import Role
from enforcer.core.order import OrderRef
from enforcer.core.state import OrderRecord
from enforcer.services.fleet_orders import FleetOrders
from enforcer.services.fleet_walk import FleetWalk
from enforcer.services.fleet_watch import FleetWatch
from tests.people import Person, request_id, seal
from tests.services.test_attested import FleetDesk

NODES = int(os.environ.get("ATTESTATIONS_NODES", "10000"))
ROUNDS = int(os.environ.get("ATTESTATIONS_ROUNDS", "3"))
ORDERS = 200
MINUTE_MS = 60_000
AT_ONCE = 50
PAGE = 500
TIME_MS_MAX = 2**53 - 1
HOLD = "… the longest that the event loop was held"


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
            orders = [await approved(desk, at) for at in range(ORDERS)]
            return await measured(desk, nodes, orders[-1])


async def approved(desk: FleetDesk, at: int) -> OrderRef:
    """Have an order with one name of its own in force."""
    order = await desk.propose(f"exact bad-{at}.example.org\n".encode())
    await desk.approve(order)
    return order


async def measured(desk: FleetDesk, nodes: list[Person], newest: OrderRef) -> list[Row]:
    """Measure a fleet that attests each minute, an interval's end, and what is told of it."""
    walk = FleetWalk(desk.ledger, desk.fleet)
    at_nodes = FleetOrders(desk.ledger, desk.fleet, walk)
    FleetWatch(desk.ledger, desk.fleet, at_nodes)
    before_mb = peak_memory_mb()
    took: list[float] = []
    walls: list[float] = []
    for _ in range(ROUNDS):
        desk.land.now_ms += MINUTE_MS
        effects = (EffectTime(newest.entry_index, desk.land.now_ms - 50, None),)
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
    at_once, at_once_hold = await held(attested_at_once(desk, nodes))
    order = desk.ledger.state.orders[newest.entry_index]
    shown, show_hold = await held(shown_with_nodes(at_nodes, order))
    scraped, scrape_hold = await held(scrape(desk, walk, at_nodes))
    listed, list_hold = await held(list_all(desk))
    stopped, stop_hold = await held(desk.ledger.record(desk.stop_of(newest)))
    recorded, record_hold = await held(desk.recorded(1_000))
    (batch,) = (desk.path / "batches").iterdir()
    return [
        Row("nodes", NODES, ""),
        median_row("an attestation taken in: processor time", took, "us"),
        median_row("an attestation taken in, one after the other", walls, "us"),
        Row("memory: the newest word of each, and what this process signs", memory_mb, "MB"),
        Row("a batch on the disk", batch.stat().st_size / 1e6, "MB"),
        Row(f"{AT_ONCE} attestations at once: processor time", at_once, "ms"),
        Row(HOLD, at_once_hold, "ms"),
        Row("an interval recorded: processor time", recorded, "ms"),
        Row(HOLD, record_hold, "ms"),
        Row("an order shown over all nodes, each by name: processor time", shown, "ms"),
        Row(HOLD, show_hold, "ms"),
        Row("/metrics scraped: processor time", scraped, "ms"),
        Row(HOLD, scrape_hold, "ms"),
        Row("the newest word of each, page by page: processor time", listed, "ms"),
        Row(HOLD, list_hold, "ms"),
        Row("an order stopped, while all nodes are followed: processor time", stopped, "ms"),
        Row(HOLD, stop_hold, "ms"),
    ]


async def held(work: Awaitable[object]) -> tuple[float, float]:
    """Return the processor time of some work, and the longest that it kept the loop, in ms.

    The latter as processor time of the loop's thread between two turns of another task.
    """
    longest, is_over = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not is_over:
            began = thread_time()
            await asyncio.sleep(0)
            longest = max(longest, thread_time() - began)

    gc.collect()
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    began = process_time()
    await work
    spent = process_time() - began
    is_over = True
    await watching
    return spent * 1e3, longest * 1e3


async def attested_at_once(desk: FleetDesk, nodes: list[Person]) -> None:
    """Take in the words of some nodes that come in one moment."""
    said = desk.said(t_ms=desk.land.now_ms + 1)
    envelopes = [
        seal(replace(said, node_id=node.person_id, request_id=request_id()), node.key)
        for node in nodes[:AT_ONCE]
    ]
    await asyncio.gather(
        *(
            desk.attestations.receive(envelope, node.person_id)
            for node, envelope in zip(nodes, envelopes, strict=False)
        )
    )


async def shown_with_nodes(at_nodes: FleetOrders, order: OrderRecord) -> None:
    """Do what `order show --nodes` asks for."""
    shown = await at_nodes.order(order)
    assert len(shown.nodes) == NODES + 5
    await order_fleet_with_nodes(shown)


async def scrape(desk: FleetDesk, walk: FleetWalk, at_nodes: FleetOrders) -> None:
    """Do what a scrape of /metrics asks for."""
    totals = await walk.totals()
    assert totals.nodes == NODES + 5
    state = desk.ledger.state
    view = FleetView(
        state.size,
        state.attested_until_ms,
        totals,
        desk.fleet.outcomes,
        at_nodes.began,
        at_nodes.ended,
        standbys={},
    )
    await asyncio.to_thread(expose_fleet, view)


async def list_all(desk: FleetDesk) -> None:
    """Read what ListAttestations gives, in pages."""
    after, found = "", 0
    while page := await page_of(desk, after):
        after, found = page[-1], found + len(page)
    assert found == NODES


async def page_of(desk: FleetDesk, after: str) -> list[str]:
    """Return the nodes of a page."""
    page: list[str] = []
    async for node_id, _, _ in desk.attestations.read("", 0, TIME_MS_MAX, after):
        page.append(node_id)
        if len(page) == PAGE:
            break
    return page
