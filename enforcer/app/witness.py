"""``enforcer audit witness``: a witness as one process, run until it is told to end.

At start everything is checked and a fault is fatal. Its folder is under a lock for life: two
processes with one key could cosign two histories.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from enforcer.api.witness_server import witness_served
from enforcer.backends import durable
from enforcer.backends.clock import SystemClock
from enforcer.backends.json_log import log_to_stderr
from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.service_manager import notify_ready, notify_stopping
from enforcer.config import WitnessConfig
from enforcer.core.note import VerifierKey
from enforcer.services.witness import Witness

log: Final = structlog.get_logger()


async def run_witness(config: WitnessConfig) -> None:
    """Witness until SIGTERM or SIGINT.

    Raises:
        EnforcerError: it cannot start: a file, the key, its memory, its address.
    """
    log_to_stderr()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    with opened(config) as witness:
        async with witness_served(witness, config.listen.host, config.listen.port) as port:
            address = f"{config.listen.host}:{port}"
            log.info("witness_serves", address=address, vkey=witness.key.text)
            notify_ready(f"serves {address}")
            await told.wait()
            notify_stopping()
            log.info("witness_ends")


@contextmanager
def opened(config: WitnessConfig) -> Iterator[Witness]:
    """Open a witness's memory, alone.

    Raises:
        ConflictError: another process has it.
        EnforcerError: a file or the key is not what it must be.
    """
    durable.make_directory(config.state_dir)
    signer = PrivateKey.load(config.key_file)
    lock = DirectoryLock(config.state_dir / "lock")
    try:
        yield Witness(
            name=config.name,
            signer=signer,
            logs={each.origin: VerifierKey.parse(each.vkey) for each in config.logs},
            files=KeptFiles(config.state_dir),
            clock=SystemClock(),
            verify=verify,
        )
    finally:
        lock.close()
