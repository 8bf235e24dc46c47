"""The control plane's wiring for what nodes attest: taken in, kept, recorded each interval."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from enforcer.backends.batch_files import BatchFiles
from enforcer.backends.kept_files import KeptFiles
from enforcer.config import ControlConfig
from enforcer.ports import Signer
from enforcer.services.attestations import Attestations
from enforcer.services.attested import AttestedRecorder
from enforcer.services.fleet import Fleet
from enforcer.services.ledger import Ledger


@dataclass(frozen=True, slots=True)
class FleetParts:
    """What knows the nodes of one ledger."""

    fleet: Fleet
    attestations: Attestations
    recorder: AttestedRecorder
    task: asyncio.Task[None]
    """It ends only when something is broken."""


@asynccontextmanager
async def fleet_of(
    ledger: Ledger, config: ControlConfig, signer: Signer
) -> AsyncIterator[FleetParts]:
    """Take up what was kept, in the background, and record what comes, until left."""
    fleet = Fleet()
    kept = KeptFiles(config.ledger_dir / "attestations")
    attestations = Attestations(ledger, kept, fleet)
    batches = BatchFiles(config.ledger_dir / "batches")
    recorder = AttestedRecorder(
        ledger, fleet, batches, signer, config.attestations_interval_seconds
    )
    task = asyncio.create_task(recorder.run(attestations.restore))
    try:
        yield FleetParts(fleet, attestations, recorder, task)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
