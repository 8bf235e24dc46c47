"""The paths by which the ledger reaches a node, and which of them feeds it now.

Their order is fixed: Redis, the control plane itself, copies in directories. The first that works
is followed; one that fails is tried again within seconds, and one that withholds ever more rarely.
Nothing here is believed or read: who follows, and who looks at the others, says what came of it.
Stops come over all of them, always.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import structlog

from enforcer.ports import FeedSource
from enforcer.services.pace import DEFAULT_PACE, Pace, jittered

REDIS: Final = "redis"
SYNC: Final = "sync"
COPIES: Final = ("copy-1", "copy-2", "copy-3", "copy-4")
PATHS: Final = (REDIS, SYNC, *COPIES)
"""Every name that a path can have, in their order."""
WITHHELD_MAX: Final = 16
"""So many times count for the pause."""
SYNC_HEAD_SECONDS_MAX: Final = 7.0
"""How old the control plane's word on its head may be while entries are not asked for."""
UNHEARD_SECONDS_MAX: Final = 900

_log: Final = structlog.get_logger(__name__)


class PathState(IntEnum):
    """How it stands with one path."""

    UNSPECIFIED = 0
    FEEDS = 1
    """It is followed."""
    READY = 2
    """It could be, and another is."""
    STALE = 3
    """It is empty, lacks something, or is behind what is here or elsewhere."""
    AWAY = 4
    REFUSED = 5
    """It offers what cannot be true."""


FAILED: Final = frozenset({PathState.STALE, PathState.AWAY, PathState.REFUSED})


@dataclass(slots=True, eq=False)
class FeedPath:
    """One path, and what is known of it; written by `FeedPaths` alone."""

    name: str
    source: FeedSource
    head_seconds_max: float = 0.0
    """How old its head may be, when another path is ahead of it."""
    state: PathState = PathState.READY
    reason: str = "not tried yet"
    since_ms: int = 0
    size: int | None = None
    """How many entries its head claimed, the last time."""
    retry_at_seconds: float = 0.0
    withheld: int = 0
    """How often it withheld something since it last brought something true."""

    @property
    def is_usable(self) -> bool:
        """Whether it works, as far as is known."""
        return self.state not in FAILED


def no_head(path: FeedPath, size: int) -> str:
    """Say what it means that a path shows no head, where `size` entries are known.

    Redis may be emptied, and the control plane refills it; who refills has lost its ledger.
    """
    if path.name == SYNC and size:
        return f"the control plane was rolled back: it shows no entry, and we have {size}"
    return "it has no head"


@dataclass(frozen=True, slots=True)
class PathView:
    """One path, for whoever shows it."""

    name: str
    state: PathState
    reason: str
    since_ms: int
    size: int | None


@dataclass(slots=True)
class FeedPaths:
    """The paths of one node, in their order; itself what lists and wraps are asked of."""

    paths: Sequence[FeedPath]
    now_ms: Callable[[], int]
    pace: Pace = DEFAULT_PACE
    unheard_seconds_max: int = UNHEARD_SECONDS_MAX
    """After so long without the control plane's own word, and without an entry, it is said."""
    seconds: Callable[[], float] = time.monotonic
    on_change: Callable[[], None] = lambda: None
    current: FeedPath | None = field(default=None, init=False)
    """The path that was chosen last."""

    def __post_init__(self) -> None:
        """Raise ValueError where there is no path at all."""
        if not self.paths:
            raise ValueError("a node needs a path")
        for path in self.paths:
            path.since_ms = self.now_ms()

    @property
    def views(self) -> tuple[PathView, ...]:
        """What is known of each."""
        return tuple(
            PathView(each.name, each.state, each.reason, each.since_ms, each.size)
            for each in self.paths
        )

    @property
    def faults(self) -> Mapping[str, int]:
        """How often garbage was passed over, on any path, by what it was."""
        total: Counter[str] = Counter()
        for path in self.paths:
            total.update(path.source.faults)
        return total

    @property
    def has_usable(self) -> bool:
        """Whether a path is left that works, as far as is known."""
        return any(path.is_usable for path in self.paths)

    def choose(self, *, stays: bool = False) -> FeedPath:
        """Return the path to follow: the first usable one, else one after the other.

        Where it `stays`, the one that was chosen last, while that is usable.
        """
        if stays and self.current is not None and self.current.is_usable:
            return self.current
        usable = [path for path in self.paths if path.is_usable]
        chosen = usable[0] if usable else self._after(self.current)
        if chosen is not self.current:
            former, self.current = self.current, chosen
            if former is not None and former.state is PathState.FEEDS:
                self._is(former, PathState.READY, "")
        return chosen

    def works(self, path: FeedPath, size: int) -> None:
        """Note that a path that is followed has what belongs there, `size` entries of it."""
        path.size = size
        self._is(path, PathState.FEEDS, "")

    def brought(self, path: FeedPath) -> None:
        """Note that a path brought entries that were proven."""
        path.withheld = 0

    def could(self, path: FeedPath, size: int) -> None:
        """Note that a path that is not followed could be."""
        path.size = size
        if path is not self.current or path.state is not PathState.FEEDS:
            self._is(path, PathState.READY, "")

    def fails(
        self, path: FeedPath, state: PathState, reason: str, *, is_withholding: bool = False
    ) -> None:
        """Note that a path cannot be followed, and when it is to be tried again.

        One that was refused costs a look, and one that withholds costs what came meanwhile: so that
        one is tried ever more rarely. All that a fleet tries at once it does not at one moment.
        """
        if self.may_retry(path):  # else it was tried for want of another, and the pause goes on
            pause_seconds = self.pace.path_look_seconds
            if state is PathState.REFUSED:
                pause_seconds = self.pace.path_retry_seconds
            elif is_withholding:
                pause_seconds = min(
                    self.pace.path_retry_seconds * 2**path.withheld,
                    self.pace.path_retry_seconds_max,
                )
                path.withheld = min(path.withheld + 1, WITHHELD_MAX)
            path.retry_at_seconds = self.seconds() + jittered(pause_seconds)
        self._is(path, state, reason)

    def may_retry(self, path: FeedPath) -> bool:
        """Tell whether a path that failed may be looked at again."""
        return self.seconds() >= path.retry_at_seconds

    def summary(self) -> tuple[PathState, str]:
        """Return how it stands when no path works: a refusal goes before all else."""
        refused = [path for path in self.paths if path.state is PathState.REFUSED]
        path = refused[0] if refused else self.paths[0]
        words = path.reason if len(self.paths) == 1 else f"{path.name}: {path.reason}"
        return path.state, words

    def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes, from the path that is followed.

        Raises:
            NotFoundError: it does not have it.
        """
        return self._source.list_chunks(sha256)

    def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another, from the path that is followed.

        Raises:
            NotFoundError: it does not have it.
        """
        return self._source.delta_chunks(sha256, base_sha256)

    def count_fault(self, what: str) -> None:
        """Count something that turned out to be wrong, for the path that is followed."""
        self._source.count_fault(what)

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver, from the path that is followed.

        Raises:
            NotFoundError: it does not have it.
        """
        return await self._source.wrap(sealed_sha256, key_id)

    def _after(self, path: FeedPath | None) -> FeedPath:
        """Return the next path in the round; the first comes after none."""
        at = self.paths.index(path) if path is not None else -1
        return self.paths[(at + 1) % len(self.paths)]

    @property
    def _source(self) -> FeedSource:
        return (self.current or self.paths[0]).source

    def _is(self, path: FeedPath, state: PathState, reason: str) -> None:
        if (state, reason) == (path.state, path.reason):
            return
        is_other = state is not path.state
        path.state, path.reason = state, reason
        if is_other:
            path.since_ms = self.now_ms()
            tell = _log.warning if state in FAILED else _log.info
            tell("a path to the ledger", path=path.name, state=state.name, reason=reason)
        self.on_change()
