"""The rounds that bring a node its lists, and have guards look at them.

Owns which lists are wanted, and when they are asked for again: stubborn ones ever more rarely.
Nothing that enforces waits here; what has come stirs the round that enforces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from enforcer.core import list_delta
from enforcer.core.sealed import by_list
from enforcer.errors import EnforcerError
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.plan import wanted_lists
from enforcer.services.replica import Replica
from enforcer.services.scans import Scans


class ListRounds:
    """The lists of one node; `on_change` is called when one has come or was looked at."""

    def __init__(
        self,
        *,
        replica: Replica,
        lists: ListKeeper,
        scans: Scans,
        time: NodeTime,
        blocks_names: bool,
        on_change: Callable[[], None],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._replica = replica
        self._lists = lists
        self._scans = scans
        self._time = time
        self._blocks_names = blocks_names
        self._on_change = on_change
        self._pace = pace
        self._lists_wanted = asyncio.Event()
        self._to_scan = asyncio.Event()

    def entries_came(self) -> None:
        """Look anew at what is wanted: the ledger has gone on."""
        self._lists_wanted.set()
        self._to_scan.set()

    def wanted(self) -> list[str]:
        """Return the lists to have at hand, when the keeper has heard which of them are sealed."""
        state = self._replica.state
        wanted = [*self.wanted_now(), *self._scans.limits.wanted]
        self._lists.expect(by_list(state), wanted, list_delta.bases(state, set(wanted)))
        return wanted

    def wanted_now(self) -> list[str]:
        """Return the lists of what the node enforces or soon may."""
        now_ms = self._time.now_ms()
        return wanted_lists(self._replica.state, now_ms, blocks_names=self._blocks_names)

    async def fetch(self) -> None:
        """Have every list at hand that is or will be needed; it never returns."""
        pause_seconds = self._pace.list_retry_seconds
        while True:
            self._lists_wanted.clear()
            wanted = self.wanted()
            missing = self._lists.missing(wanted)
            for sha256 in missing:
                is_here = await self._lists.bring(sha256)
                self._to_scan.set()  # limits wait for past lists until they were asked for
                if is_here:
                    self._on_change()
                    pause_seconds = self._pace.list_retry_seconds
            # One that is here may yet turn out to be altered, which nobody tells.
            poll_seconds = max(pause_seconds, self._pace.gate_poll_seconds)
            try:
                async with asyncio.timeout(pause_seconds if missing else poll_seconds):
                    await self._lists_wanted.wait()
                pause_seconds = self._pace.list_retry_seconds
            except TimeoutError:
                if missing:
                    pause_seconds = min(pause_seconds * 2, self._pace.list_retry_seconds_max)

    async def scan(self) -> None:
        """Have guards look at the list of every order that blocks or may soon; it never returns."""
        while True:
            self._to_scan.clear()
            pause_seconds = None
            try:
                while await self._scans.look(self._replica.state, self._time.now_ms()):
                    self._on_change()
                if any(map(self._lists.may_come, self._scans.limits.wanted)):
                    self._lists_wanted.set()
            except EnforcerError:
                pause_seconds = self._pace.list_retry_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._to_scan.wait()
