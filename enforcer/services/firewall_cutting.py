"""Ends the connections to and from what is newly blocked, while everything else goes on.

The rules drop the packets of such a connection at once; what this ends is what rules do not see,
such as a flow that hardware forwards. With many connections that takes seconds, so no later
change waits for it. Refuses nothing: what fails is said and tried again. Always true: what is
let through again before its turn comes is spared.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from enforcer.core.firewall import Pieces
from enforcer.errors import EnforcerError
from enforcer.ports import Firewall, FirewallContent, PieceWork

WAITING_MAX: Final = 256
"""Changes whose connections wait to be ended; beyond it the oldest are given up."""
RETRY_SECONDS: Final = 1.0

_log: Final = structlog.get_logger(__name__)


class ConnectionCutter:
    """What one firewall's changes have to cut; use it from one event loop."""

    def __init__(
        self, firewall: Firewall, work: PieceWork, held: Callable[[], FirewallContent | None]
    ) -> None:
        """Take the firewall, and what tells what it holds at present."""
        self._firewall = firewall
        self._work = work
        self._held = held
        self._waiting: deque[Pieces] = deque(maxlen=WAITING_MAX)
        self._wake = asyncio.Event()

    def add(self, pieces: Pieces) -> None:
        """Have the connections that touch these pieces ended soon."""
        if len(pieces):
            self._waiting.append(pieces)
            self._wake.set()

    async def run(self) -> None:
        """End what is to end; it never returns."""
        said = ""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    await self._cut(self._waiting[0])
                except EnforcerError as error:
                    if error.message != said:
                        said = error.message
                        _log.warning("connections of what is blocked go on", problem=said)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                said = ""
                self._waiting.popleft()

    async def _cut(self, pieces: Pieces) -> None:
        held = self._held()
        if held is None:
            return  # it is away; whoever brings it what it must hold has all of that cut
        blocked = await self._work.keep_rows(pieces, {row.index for row in held.rows})
        if len(blocked):
            await self._firewall.cut(blocked)
