"""What lists differ in from those that they follow, made and put into the feed.

So a new version of a long list costs the feed what it changes. A delta is made when the list is
proposed, and again when it is missing; nothing waits for one, and without it nodes fetch the list
whole. Always true: no delta is of a list that is or was sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from enforcer.errors import EnforcerError
from enforcer.ports import Contents, Delta, DeltaFiles, FeedPublisher, ListWork

log: Final = structlog.get_logger()


class Deltas:
    """The deltas of one control plane; use it from one event loop."""

    def __init__(
        self, feed: FeedPublisher, lists: Contents, files: DeltaFiles, work: ListWork
    ) -> None:
        self._feed = feed
        self._lists = lists
        self._files = files
        self._work = work
        self._useless: set[Delta] = set()
        """Of lists that differ in too much, or are short."""
        self._turn = asyncio.Lock()

    def made(self, bases: Mapping[str, str]) -> dict[Delta, Path]:
        """Return where those are that are made."""
        return {each: self._files.path(each) for each in bases.items() if self._files.has(each)}

    async def bring_all(self, bases: Mapping[str, str]) -> None:
        """Make those that are not made and put them into the feed; failing is no harm."""
        for delta in bases.items():
            await self.bring(*delta)

    async def bring(self, sha256: str, base_sha256: str) -> None:
        """Make one and put it into the feed, if that has not been done; failing is no harm."""
        delta = (sha256, base_sha256)
        try:
            async with self._turn:
                if not self._files.has(delta) and await self._make(delta):
                    await self._feed.put_delta(*delta, self._files.path(delta))
        except EnforcerError as error:
            log.warning("delta_not_in_feed", target_list_sha256=sha256, problem=error.message)

    async def keep_only(self, bases: Mapping[str, str]) -> None:
        """Forget all others.

        Raises:
            UnavailableError: the disk does not let them go.
        """
        deltas = set(bases.items())
        self._useless &= deltas
        async with self._turn:
            await asyncio.to_thread(self._files.keep_only, deltas)

    async def _make(self, delta: Delta) -> bool:
        if delta in self._useless or not all(map(self._lists.has, delta)):
            return False
        path, base = map(self._lists.path, delta)
        is_made = await self._work.diff_lists(base, path, self._files.path(delta))
        if not is_made:
            self._useless.add(delta)
        return is_made
