"""Which past lists may share a target with an order's, asked of the worker once for each pair.

Lists are named by their hashes, so what two of them share never changes: an order that was looked
at when it was proposed waits at its approval for none that was there then. Always true: none
that shares a target is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from enforcer.ports import ListWork
from enforcer.services.lists import ListKeeper

LISTS_KEPT_MAX: Final = 65_536
"""Past lists and orders' own; beyond it all is forgotten, and asked again."""


class NearLists:
    """What one node knows of the lists of its orders; use it from one event loop."""

    def __init__(self, work: ListWork, lists: ListKeeper) -> None:
        self._work = work
        self._lists = lists
        self._past: dict[str, None] = {}
        """Past lists, as they came."""
        self._near: dict[str, set[str]] = {}
        self._compared: dict[str, int] = {}
        """List -> how many of the past lists, the first of them, it was compared with."""

    async def of(self, lists: Sequence[str], past: Iterable[str]) -> dict[str, set[str]]:
        """Return for each of the lists those of `past` that may share a target; all are here.

        There may be others among them, which were asked about earlier.

        Raises:
            UnavailableError: a list cannot be read, or the worker died.
        """
        if len(self._past) > LISTS_KEPT_MAX or len(self._near) > LISTS_KEPT_MAX:
            self._past, self._near, self._compared = {}, {}, {}
        self._past.update(dict.fromkeys(past))
        count = len(self._past)
        due = [each for each in dict.fromkeys(lists) if self._compared.get(each, 0) < count]
        if due:
            since = min(self._compared.get(each, 0) for each in due)
            others = list(self._past)[since:]
            here = [each for each in others if self._lists.has(each)]
            asked = self._asked(due)
            paths = {each: self._lists.path(each) for each in (*due, *here)}
            found = await self._work.near_lists(asked, paths, self._lists.salted(paths))
            for each in due:
                near = found.get(each) or {other for other in asked if each in found[other]}
                self._near.setdefault(each, set()).update(near)
                if len(here) == len(others):
                    self._compared[each] = count
        return {each: self._near.get(each, set()) for each in lists}

    def _asked(self, due: Sequence[str]) -> list[str]:
        """Return those whose answers tell of all that are due, since two lists share both ways."""
        new = [each for each in due if each not in self._compared]
        least = min((self._compared[each] for each in due if each in self._compared), default=None)
        if least is None or not set(list(self._past)[least:]) <= set(new):
            return list(due)
        return new
