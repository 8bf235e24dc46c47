"""Looks at the paths that a node does not follow, and finds out when the one it follows lags.

Heads are compared by ledger index, and those that claim more than is here count when the log
signed them. Always true: whoever says that there is more has shown a signature for it; and when
nobody but an untrusted feed has told for long that there is no more, that is said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.note import Note
from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import WAYPOINT_ENTRIES, FeedUpdate
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.paths import COPIES, REDIS, SYNC, FeedPath, FeedPaths, PathState, no_head
from enforcer.services.replica import Replica

SIZES_MAX: Final = 64
"""Looks of which it is remembered how far this node was: at a few paths, each second."""
COPIES_TIMES: Final = 672
"""So much older than what comes over a network may be what is carried: a week, not 15 min."""
PART_ENTRIES_MIN: Final = 256
PART_BYTES_MIN: Final = 1 << 18
"""So much, of entries that no checkpoint proves yet, is more than nothing."""
UNPROVEN_ENTRIES_MAX: Final = WAYPOINT_ENTRIES
UNPROVEN_BYTES_MAX: Final = 64 << 20
"""More of them are withholding, where there are waypoints: Redis is read from one to the next."""


class PathWatch:
    """The looks at one node's paths; `contradiction` takes notes that contradict our history."""

    def __init__(
        self,
        *,
        paths: FeedPaths,
        replica: Replica,
        time: NodeTime,
        contradiction: Callable[[EnforcerError, bytes], None],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._paths = paths
        self._replica = replica
        self._time = time
        self._contradiction = contradiction
        self._pace = pace
        self._heard_ms = time.now_ms()
        self._sizes: deque[tuple[float, int]] = deque(maxlen=SIZES_MAX)
        """When this node had how many entries."""
        self._proven: dict[str, tuple[bytes, bool]] = {}
        """The head that each path was last proven to have, and whether it was of our own size."""
        self._ahead_since: tuple[int, float] | None = None
        """The size at which another path was first seen ahead, and when."""
        self._idle_since: float | None = None
        """Since when the path that is followed has brought nothing."""
        self._part = (0, 0)
        """Entries and octets that it brought since then, proven by no checkpoint."""
        self._goal: tuple[int, float] | None = None
        """The size that another path was proven to have, and since when it is not reached here."""
        self._way = (0, 0)
        """Entries and octets that the path that is followed brought since then."""
        self._unproven: tuple[int, float] | None = None
        """Octets taken beyond what is proven, and since when; None: there are none."""

    @property
    def unheard(self) -> str:
        """Why it is not known that nothing is withheld; empty where it is, or cannot be."""
        names = {path.name for path in self._paths.paths}
        silent_ms = self._time.now_ms() - max(self._heard_ms, self._replica.state.recorded_at_ms)
        seconds_max = self._paths.unheard_seconds_max
        if not names & {REDIS, SYNC}:
            seconds_max *= COPIES_TIMES
        if silent_ms <= seconds_max * 1_000:
            return ""
        what = "the control plane was not heard" if SYNC in names else "nothing new was recorded"
        return (
            f"for {silent_ms // 60_000} min {what}: whether the ledger is idle or withheld cannot "
            "be told"
        )

    def heard(self, path: FeedPath) -> None:
        """Note that a path's head is ours: the control plane's own word counts as its time."""
        if path.name == SYNC:
            self._heard_ms = self._time.now_ms()

    def idles(self) -> None:
        """Note that the path that is followed has brought nothing."""
        if self._idle_since is None:
            self._idle_since = self._paths.seconds()

    def moves(self) -> None:
        """Note that it has brought something, or that another path is followed."""
        self._idle_since = self._ahead_since = None
        self._part = 0, 0

    def begins(self) -> None:
        """Note that another path is followed from now on."""
        self.moves()
        self._goal = self._unproven = None

    @property
    def is_midway(self) -> bool:
        """Whether what the control plane itself brings goes on, and is not proven yet.

        Its stream has no waypoints: to try Redis now would be to ask for all of it again.
        """
        is_ahead = self._replica.next_index > self._replica.size
        is_sync = self._paths.current is not None and self._paths.current.name == SYNC
        return is_sync and is_ahead and self._idle_since is None

    def took(self, update: FeedUpdate, *, is_proven: bool) -> None:
        """Note what the replica took, proven or not."""
        octets, since = self._unproven or (0, self._paths.seconds())
        self._unproven = None if is_proven else (octets + sum(map(len, update.leaves)), since)

    def brings(self, update: FeedUpdate) -> None:
        """Note what came: a part of what a checkpoint covers counts once it is large enough.

        So who gives entry after entry and never the last one is given up, and who gives many to
        a node that has years to read is not.
        """
        more = len(update.leaves), sum(map(len, update.leaves))
        self._part = self._part[0] + more[0], self._part[1] + more[1]
        self._way = self._way[0] + more[0], self._way[1] + more[1]
        if _is_large(self._part) or _is_whole(update):
            self.moves()
        else:
            self.idles()

    async def run(self) -> None:
        """Look at every path that is not followed, each at its own pace; it never returns."""
        async with asyncio.TaskGroup() as looks:
            for path in self._paths.paths if len(self._paths.paths) > 1 else ():
                looks.create_task(self._watch(path))

    async def _watch(self, path: FeedPath) -> None:
        while True:
            await asyncio.sleep(self._pace.path_look_seconds)
            if path is self._paths.current and path.state is PathState.FEEDS:
                continue
            if self._paths.may_retry(path):
                await self._look(path)

    async def _look(self, path: FeedPath) -> None:
        note = None
        try:
            note = await path.source.head()
            if note is None:
                self._paths.fails(path, PathState.STALE, no_head(path, self._had(path)))
                return
            size = Checkpoint.parse(Note.parse(note).text).size
            proof = note, size == self._replica.size
            if size >= self._replica.size and proof != self._proven.get(path.name):
                self._replica.prove_head(note)
                self._proven[path.name] = proof
        except IntegrityError as error:
            self._paths.fails(path, PathState.REFUSED, error.message)
            if note is not None:
                self._contradiction(error, note)
        except EnforcerError as error:
            self._paths.fails(path, PathState.AWAY, error.message)
        else:
            self._compare(path, size)

    def _compare(self, path: FeedPath, size: int) -> None:
        """Say what a head means that is not refused."""
        path.size = size
        if size <= self._replica.size:
            self.heard(path)
        if size < self._had(path):
            what = "it is an older copy" if path.name in COPIES else "it is behind"
            self._paths.fails(
                path, PathState.STALE, f"{what}: {size} entries of our {self._replica.size}"
            )
            return
        self._paths.could(path, size)
        if size > self._replica.next_index:
            self._look_for_lag(path, size)

    def _had(self, path: FeedPath) -> int:
        """Return how many entries were here when this path's head may have been made."""
        now = self._paths.seconds()
        self._sizes.append((now, self._replica.size))
        had = [had for at, had in self._sizes if now - at >= path.head_seconds_max]
        return max(had, default=0)

    def _look_for_lag(self, path: FeedPath, size: int) -> None:
        """Give up the path that is followed when it brings nothing, and another proves more.

        So, too, when it brings something, and not what the other had some while ago; or much, and
        no proof of it.
        """
        followed = self._paths.current
        reason = self._lag(path, size, self._paths.seconds())
        if reason and followed is not None and followed is not path and followed.is_usable:
            self._paths.fails(followed, PathState.STALE, reason, is_withholding=True)

    def _lag(self, path: FeedPath, size: int, now: float) -> str:
        """Return why the path that is followed is to be given up; empty: it is not."""
        if self._goal is None or self._replica.size >= self._goal[0] or _is_large(self._way):
            self._goal, self._way = (size, now), (0, 0)
        if self._ahead_since is None or self._ahead_since[0] != self._replica.size:
            self._ahead_since = self._replica.size, now
        ahead = f"and {path.name} has {size} entries to our {self._replica.size}"
        if unproven := self._unproven_words(now):
            return f"{unproven}, {ahead}"
        if now - self._goal[1] >= self._pace.path_slow_seconds:
            return (
                f"it is slow: it lacks the {self._goal[0]} entries of {path.name}, and brought "
                f"{self._way[0]} in {now - self._goal[1]:.0f} s"
            )
        if self._idle_since is None:
            return ""
        idle_seconds = now - max(self._ahead_since[1], self._idle_since)
        is_idle = idle_seconds >= self._pace.path_lag_seconds
        return f"it brings nothing, {ahead}" if is_idle else ""

    def _unproven_words(self, now: float) -> str:
        """Return what is too much, or too long, without a proof; empty where nothing is."""
        entries = self._replica.next_index - self._replica.size
        if self._paths.current is None or self._paths.current.name != REDIS:
            return ""
        if not entries or self._unproven is None:
            return ""
        octets, since = self._unproven
        is_much = entries > UNPROVEN_ENTRIES_MAX or octets > UNPROVEN_BYTES_MAX
        if not is_much and now - since < self._pace.path_proof_seconds:
            return ""
        return f"it brought {entries} entries in {now - since:.0f} s that nothing proves"


def _is_large(part: tuple[int, int]) -> bool:
    """Tell whether so many entries, or octets of them, are more than next to nothing."""
    return part[0] >= PART_ENTRIES_MIN or part[1] >= PART_BYTES_MIN


def _is_whole(update: FeedUpdate) -> bool:
    """Tell whether an update ends where its checkpoint does, as it claims: proving comes later."""
    try:
        size = Checkpoint.parse(Note.parse(update.checkpoint_note).text).size
    except IntegrityError:
        return True  # it is refused
    return size <= update.first_index + len(update.leaves)
