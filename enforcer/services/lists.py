"""The target lists that a node has at hand: fetched, hashed, checked, and only then used.

Fetched from the feed, else from the control plane, else from a copy: from each as what it differs
in from a list that is here, if it has that. Streamed to disk, never held in memory, but for sealed
lists: of those the disk has the sealed octets, and memory what was opened. Refuses a list that is
not what its hash or its grammar says. A list that is missing makes its order wait, and no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from enforcer.core import list_delta
from enforcer.core.sealed import SealedList
from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, InputError, IntegrityError, NotFoundError
from enforcer.ports import Contents, ControlLink, FeedSource, ListWork, OpenedList
from enforcer.services.paths import FeedPaths
from enforcer.services.sealed_lists import SealedKeeper

NO_BASES: Final[Mapping[str, str]] = {}

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    """Somewhere to fetch lists from."""

    name: str
    at: FeedSource | FeedPaths | ControlLink
    count_fault: Callable[[str], None]


class ListKeeper:
    """The lists of one node; use it from one event loop."""

    def __init__(
        self,
        contents: Contents,
        work: ListWork,
        source: FeedSource | FeedPaths,
        control: ControlLink,
        sealed: SealedKeeper,
        copies: Sequence[FeedSource] = (),
    ) -> None:
        """Take the parts; `source` is the first that is asked, `copies` are the last."""
        self._sources = (
            _Source("feed", source, source.count_fault),
            _Source("control plane", control, source.count_fault),
            *(_Source("copy", copy, copy.count_fault) for copy in copies),
        )
        self._contents = contents
        self._keeper = sealed
        self._bases: Mapping[str, str] = {}
        self._sealed: dict[str, list[SealedList]] = {}
        self._opened: dict[str, OpenedList] = {}
        self._work = work
        self._counts: dict[str, int] = {}  # SHA-256 -> targets, of lists checked by this process
        self._unusable: set[str] = set()  # what has the right hash, and breaks the grammar
        self._absent: set[str] = set()  # what nobody had when it was asked for last

    def has(self, sha256: str) -> bool:
        """Tell whether a list is here and checked."""
        return sha256 in self._counts

    def may_come(self, sha256: str) -> bool:
        """Tell whether a list that is not here was never asked for in vain."""
        return sha256 not in self._absent

    def has_for(self, row: OrderRow) -> bool:
        """Tell whether an order's list is here, checked, and as long as the order says."""
        return self._counts.get(row.target_list_sha256) == row.target_count

    def count(self, sha256: str) -> int | None:
        """Return how many targets a list has; None where it is not at hand."""
        return self._counts.get(sha256)

    def expect(
        self,
        sealed: dict[str, list[SealedList]],
        wanted: Collection[str],
        bases: Mapping[str, str] = NO_BASES,
    ) -> None:
        """Hear which lists are sealed, and close what was opened and is not wanted any more.

        `bases` says which list each of the wanted follows, by SHA-256.
        """
        self._sealed = sealed
        self._bases = bases
        for sha256 in self._opened.keys() - set(wanted):
            self._close(sha256)

    def path(self, sha256: str) -> Path:
        """Return where a list that is at hand can be mapped."""
        opened = self._opened.get(sha256)
        return self._contents.path(sha256) if opened is None else opened.path

    def pinned(self, sha256: str | None) -> tuple[str, Path] | None:
        """Return a list that a policy pins, and where it can be mapped; None: it pins none."""
        return None if sha256 is None else (sha256, self.path(sha256))

    def salted(self, wanted: Iterable[str]) -> frozenset[str]:
        """Return those that begin with their salt."""
        return frozenset(each for each in wanted if each in self._opened)

    def missing_sealed(self, wanted: Iterable[str]) -> list[str]:
        """Return the ids of orders whose sealed lists are not at hand, sorted."""
        absent = (each for each in wanted if each not in self._counts)
        return sorted({of.order_id for each in absent for of in self._sealed.get(each, ())})

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """Return which lists are not at hand."""
        return [each for each in wanted if each not in self._counts]

    async def look(self, wanted: Sequence[str]) -> None:
        """Check those lists that are on the disk already; nobody is asked for anything."""
        for sha256 in self.missing(wanted):
            for of in self._sealed.get(sha256, ()):
                if self._contents.has(of.sealed_sha256) and await self._open(of, only_kept=True):
                    break
            else:
                if self._contents.has(sha256):
                    await self._check(sha256)

    async def bring(self, sha256: str) -> bool:
        """Have a list at hand: from the disk, the feed or the control plane; tell whether it is."""
        is_here = await self._bring(sha256)
        (self._absent.discard if is_here else self._absent.add)(sha256)
        return is_here

    async def _bring(self, sha256: str) -> bool:
        if self.has(sha256):
            return True
        if sha256 in self._sealed:
            return await self._bring_sealed(sha256)
        if self._contents.has(sha256) and await self._check(sha256):
            return True
        if sha256 in self._unusable:
            return False
        if await self._fetch_any(sha256, self._base_of(sha256)):
            is_good = await self._check(sha256)
            if not is_good:
                self._unusable.add(sha256)
            return is_good
        return False

    def distrust(self, sha256: str) -> None:
        """Forget a list that turned out to be altered, to fetch or to open it again."""
        self._close(sha256)

    async def _bring_sealed(self, sha256: str) -> bool:
        for of in self._sealed[sha256]:
            is_here = self._contents.has(of.sealed_sha256)
            if (is_here or await self._fetch_any(of.sealed_sha256)) and await self._open(of):
                return True
        return False

    async def _open(self, of: SealedList, *, only_kept: bool = False) -> bool:
        found = await self._keeper.open(of, only_kept=only_kept)
        if found is None:
            return False
        self._opened[of.sha256], self._counts[of.sha256] = found
        return True

    def _close(self, sha256: str) -> None:
        self._counts.pop(sha256, None)
        opened = self._opened.pop(sha256, None)
        if opened is not None:
            opened.close()

    def _base_of(self, sha256: str) -> str | None:
        """Return the list that is here and that this one follows, if it may have a delta."""
        base = self._bases.get(sha256)
        if base is None or not self._contents.has(base):
            return None
        try:
            size_bytes = self._contents.path(base).stat().st_size
        except OSError:
            return None
        return base if list_delta.may_have_delta(size_bytes) else None

    async def _fetch_any(self, sha256: str, base: str | None = None) -> bool:
        """Fetch a file from wherever it is, if it can be as a delta; tell whether that worked.

        Who is asked next is asked only where the one before has neither.
        """
        for each in self._sources:
            if base is not None and await self._patch(sha256, base, each):
                return True
            if await self._fetch(sha256, each):
                return True
        return False

    async def _patch(self, sha256: str, base: str, source: _Source) -> bool:
        """Make a list of the one that it follows and what it differs in; tell whether that worked.

        It is kept under its hash alone, so whatever else comes out was wrong at the source, unless
        the base was altered here.
        """
        try:
            await self._work.patch_list(
                self._contents.path(base),
                source.at.delta_chunks(sha256, base),
                self._contents.path(sha256),
            )
        except NotFoundError:
            return False
        except EnforcerError as error:
            is_wrong = isinstance(error, (InputError, IntegrityError))
            if is_wrong and error.data.get("expected") != base:
                source.count_fault("a delta is not that of the list that it names")
            _log.warning(
                "made no list of its delta", list=sha256, source=source.name, problem=error.message
            )
            return False
        _log.info("made a list of its delta", list=sha256, base=base, source=source.name)
        return True

    async def _fetch(self, sha256: str, source: _Source) -> bool:
        try:
            with self._contents.writer() as writer:
                async for chunk in source.at.list_chunks(sha256):
                    await asyncio.to_thread(writer.write, chunk)
                await asyncio.to_thread(writer.commit, sha256)
        except NotFoundError:
            return False
        except EnforcerError as error:
            if isinstance(error, IntegrityError):
                source.count_fault("a list is not the one that its hash names")
            _log.warning("fetched no list", list=sha256, source=source.name, problem=error.message)
            return False
        return True

    async def _check(self, sha256: str) -> bool:
        """Check a list on the disk; a worker that is away leaves it for the next time."""
        try:
            summary = await self._work.check_list(self._contents.path(sha256))
        except InputError as error:
            _log.error("cannot use a list", list=sha256, problem=error.message)
            return False
        except EnforcerError as error:
            _log.warning("checked no list", list=sha256, problem=error.message)
            return False
        if summary.sha256 != sha256:
            _log.error("a list was altered on the disk", list=sha256, got=summary.sha256)
            return False
        self._counts[sha256] = summary.target_count
        return True
