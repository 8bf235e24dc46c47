"""Checkpoints of the ledger as it was at each few thousand entries, for nodes that are far behind.

A node that reads years from bundles proves and keeps them step by step, so that nothing that ends
it takes it back to the beginning. They are signed when they are first shown, by the log keys of
that moment, as the head is.
"""

from __future__ import annotations

import asyncio

from enforcer.ports import WAYPOINT_ENTRIES, FeedPublisher
from enforcer.services.ledger import Ledger


class Waypoints:
    """The older checkpoints of one ledger's feed; use it from one event loop."""

    def __init__(self, feed: FeedPublisher, ledger: Ledger) -> None:
        self._feed = feed
        self._ledger = ledger
        self._notes: dict[int, bytes] = {}
        self._log_vkey: str | None = None

    async def show(self) -> int:
        """Have them in the feed; return how many were missing or others.

        Raises:
            UnavailableError: the feed is away.
            IntegrityError: the ledger's files are damaged.
        """
        log_vkey = self._ledger.state.log_vkey
        if log_vkey != self._log_vkey:  # from now on the newer key's signature is asked for
            self._notes, self._log_vkey = {}, log_vkey
        for size in range(WAYPOINT_ENTRIES, self._ledger.files.size + 1, WAYPOINT_ENTRIES):
            if size not in self._notes:
                self._notes[size] = await asyncio.to_thread(self._ledger.waypoint, size)
        return await self._feed.show_waypoints(self._notes)
