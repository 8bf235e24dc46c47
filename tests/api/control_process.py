"""A control plane as a process of its own, with a feed in memory: what a test kills.

Run as ``python -m tests.api.control_process CONFIG``; says ``serves PORT`` when it does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from enforcer.app.control import serving
from enforcer.backends.json_log import log_to_stderr
from enforcer.backends.memory_feed import MemoryFeed, MemoryFeedPublisher
from enforcer.config import ControlConfig, read, read_trust
from tests.control import PlainListWork


async def main(path: Path) -> None:
    log_to_stderr()
    config = read(path, ControlConfig)
    feed = MemoryFeedPublisher(MemoryFeed())
    trust = read_trust(config.trust_file)
    async with serving(config, trust, feed, PlainListWork()) as control:
        print("serves", control.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
