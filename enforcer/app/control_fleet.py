"""The control plane's wiring for what nodes attest: taken in, kept, recorded each interval."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path

from enforcer.api.fleet_metrics import FleetView, expose_fleet
from enforcer.api.metrics_server import pages_served
from enforcer.backends.batch_files import BatchFiles
from enforcer.backends.control_marks import SERVING, SILENT_MS_MAX, marks
from enforcer.backends.kept_files import KeptFiles
from enforcer.config import ControlConfig
from enforcer.ports import Signer
from enforcer.services.attestations import Attestations
from enforcer.services.attested import AttestedRecorder
from enforcer.services.fleet import Fleet
from enforcer.services.fleet_orders import FleetOrders
from enforcer.services.fleet_walk import FleetWalk
from enforcer.services.fleet_watch import FleetWatch
from enforcer.services.ledger import Ledger


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What knows the nodes of one ledger."""

    fleet: Fleet
    walk: FleetWalk
    orders: FleetOrders
    watch: FleetWatch
    attestations: Attestations
    recorder: AttestedRecorder
    task: asyncio.Task[None]
    """It ends only when something is broken."""
    metrics_port: int
    """0: metrics are not shown."""


def standbys(ledger_dir: Path) -> Counter[str]:
    """Return how many processes stand by for a ledger, READY and SILENT; it reads the disk."""
    return Counter(
        "SILENT" if mark.silent_ms > SILENT_MS_MAX else "READY"
        for mark in marks(ledger_dir)
        if mark.does != SERVING
    )


@asynccontextmanager
async def fleet_of(
    ledger: Ledger, config: ControlConfig, signer: Signer
) -> AsyncIterator[FleetParts]:
    """Take up what was kept, in the background, and record what comes, until left."""
    fleet = Fleet()
    walk = FleetWalk(ledger, fleet)
    orders = FleetOrders(ledger, fleet, walk)
    watch = FleetWatch(ledger, fleet, orders)
    kept = KeptFiles(config.ledger_dir / "attestations")
    attestations = Attestations(ledger, kept, fleet)
    batches = BatchFiles(config.ledger_dir / "batches")
    recorder = AttestedRecorder(
        ledger, fleet, batches, signer, config.attestations_interval_seconds
    )
    task = asyncio.create_task(recorder.run(attestations.restore))
    at = config.metrics_listen

    async def page() -> Callable[[], bytes]:
        totals, state = await walk.totals(), ledger.state
        view = FleetView(
            state.size,
            state.attested_until_ms,
            totals,
            dict(fleet.outcomes),
            deepcopy(orders.began),
            deepcopy(orders.ended),
            {},
        )
        return partial(shown, view)

    def shown(seen: FleetView) -> bytes:
        return expose_fleet(replace(seen, standbys=standbys(config.ledger_dir)))

    try:
        async with pages_served(
            (at.host, at.port) if at is not None else None,
            page,
            lambda: (HTTPStatus.OK, f"ok: it serves {ledger.state.size} entries\n".encode()),
        ) as port:
            yield FleetParts(fleet, walk, orders, watch, attestations, recorder, task, port)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
