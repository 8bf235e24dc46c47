"""New blocks wait, for a bounded time, until a canary's gate has shown that they break nothing.

Owns which orders wait here, since when, and what the canaries said. Only what neither gate nor
firewall has yet can wait: no end, stop or suspension does. Refuses to believe a canary in
anything but time: what it passes is tried by this node's own gate as well. Always true: nothing
waits longer than the bound for a canary's word, nor is left out by it beyond `BLAME_MS_MAX`; and
without canaries nothing waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import structlog

from enforcer.core.attestation import NotEnforced
from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError
from enforcer.ports import CanaryLink, TrialVerdict
from enforcer.services.canary_blame import BlameFile
from enforcer.services.plan import Plan

ASKED_MAX: Final = 1_000
"""Orders that one question can be about; the others are asked for next."""
TRIAL_SECONDS: Final = 10.0
"""How long a canary takes to answer a question to which it has no answer yet, at most."""
BLAME_SECONDS: Final = 5.0
"""How often a canary is asked whether its gate still refuses an order."""
BLAME_MS_MAX: Final = 3_600_000
"""How long a new block waits where canaries go on to blame it; then the own gate tries it."""
ASK_SECONDS: Final = 2.0
"""Time for an answer about what is new to this process alone, and has had its time elsewhere."""
RETRY_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.1

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Awaited:
    """An order that waits here."""

    since_ms: int
    """Since when, by the node's time."""
    until_seconds: float
    """When it waits no longer, by a clock that nobody can set."""
    ends_seconds: float
    """When it waits no longer whatever a canary says, by the same clock."""
    is_blamed: bool = False
    """A canary's gate refuses it; it is left out while one goes on to say so, until it ends."""


@dataclass(frozen=True, slots=True)
class CanaryView:
    """What a node knows of its canaries."""

    is_canary: bool = False
    canaries: int = 0
    answering: int = 0
    waiting: tuple[int, ...] = ()
    """Orders that wait, by entry index."""
    blamed: tuple[int, ...] = ()
    untried: int = 0
    """Orders that began since the start without a canary's word, or in spite of one."""


class Canaries:
    """The canaries that one node follows; use it from one event loop."""

    def __init__(
        self,
        links: Sequence[CanaryLink] = (),
        *,
        wait_seconds: float = 0.0,
        is_canary: bool = False,
        blame: BlameFile | None = None,
        seconds: Callable[[], float] = time.monotonic,
        blame_seconds: float = BLAME_SECONDS,
        blame_ms_max: int = BLAME_MS_MAX,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Take the ways to the canaries; without any, or with no time for them, nothing waits.

        What they blamed before is read from `blame`; it blocks.
        """
        self.is_canary: Final = is_canary
        self.on_change: Callable[[], None] = lambda: None
        self._links = links if wait_seconds else ()
        self._wait_seconds = wait_seconds
        self._seconds = seconds
        self._blame_seconds = blame_seconds
        self._blame_ms_max = blame_ms_max
        self._retry_seconds = retry_seconds
        self._awaited: dict[int, Awaited] = {}
        self._released: set[int] = set()
        self._blame = blame
        self._recalled: dict[int, int] = blame.read() if blame is not None else {}
        """Entry index -> since when it waited, of what was blamed before this process began."""
        self._looked = asyncio.Event()
        """What is blamed may have changed."""
        self._begun_ms: int | None = None
        """The time of the first plan."""
        self._untried = 0
        self._trial_seconds = min(TRIAL_SECONDS, blame_seconds)
        self._problems = ["it was not asked yet"] * len(self._links)
        """Why each of them did not answer; empty: it did."""
        self._news = [asyncio.Event() for _ in range(len(self._links) + 1)]

    @property
    def view(self) -> CanaryView:
        """What is known as of now."""
        return CanaryView(
            is_canary=self.is_canary,
            canaries=len(self._links),
            answering=self._problems.count(""),
            waiting=tuple(at for at, each in self._awaited.items() if not each.is_blamed),
            blamed=tuple(at for at, each in self._awaited.items() if each.is_blamed),
            untried=self._untried,
        )

    def part(self, plan: Plan, held: Collection[int]) -> Plan:
        """Return the plan less what waits for a canary; `held` is what is enforced already."""
        if not self._links:
            return plan
        now_seconds = self._seconds()
        if self._begun_ms is None:
            self._begun_ms = plan.t_ms
            after_ms = plan.t_ms - self._blame_ms_max
            self._recalled = {at: ms for at, ms in self._recalled.items() if ms > after_ms}
        new = [row for row in plan.rows if row.index not in held]
        for row in new:
            self._look_at(row, plan.t_ms, now_seconds)
        for index in held:
            self._release(index)
        waiting = [row for row in new if row.index in self._awaited]
        for gone in self._awaited.keys() - {row.index for row in plan.rows}:
            del self._awaited[gone]
        self._looked.set()
        since_ms = {at: min(each.since_ms, plan.t_ms) for at, each in self._awaited.items()}
        blamed = [row for row in waiting if self._awaited[row.index].is_blamed]
        others = [row for row in waiting if not self._awaited[row.index].is_blamed]
        plan = plan.without(others, NotEnforced.CANARY_AWAITED, since_ms)
        return plan.without(blamed, NotEnforced.CANARY_BLAMED, since_ms)

    async def run(self) -> None:
        """Ask the canaries, and let nothing wait beyond its bound; it never returns."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mind_bounds())
            for number in range(len(self._links)):
                tasks.create_task(self._follow(number))
            if self._blame is not None and self._links:
                tasks.create_task(self._keep(self._blame))

    def _look_at(self, row: OrderRow, t_ms: int, now_seconds: float) -> None:
        """Let a row wait that is new here, or no longer."""
        if row.index in self._released:
            return
        awaited = self._awaited.get(row.index)
        if awaited is None and row.index in self._recalled:
            self._awaited[row.index] = self._recall(row.index, t_ms, now_seconds)
            self._tell()
        elif awaited is None and (awaited := self._first_seen(row, t_ms, now_seconds)):
            self._awaited[row.index] = awaited
            self._tell()
        elif awaited is not None and awaited.until_seconds <= now_seconds:
            self._untried += 1
            if awaited.is_blamed:
                problem = "the own gate tries what a canary blamed: for too long, or it is away"
            else:
                problem = "no canary has answered for an order in time"
            _log.warning(problem, index=row.index)
            self._release(row.index)

    def _first_seen(self, row: OrderRow, t_ms: int, now_seconds: float) -> Awaited | None:
        """Return how an order that is new here waits; None: it does not.

        What began before this process did waits for as long as it does at nodes that heard of it
        then, and always until a canary that lives has answered: it may have been blamed meanwhile.
        Beyond the time that any blame lasts it is not new: it comes back with a gate that forgot.
        """
        wait_seconds, blame_seconds = self._wait_seconds, self._blame_ms_max / 1_000
        if self._begun_ms is not None and row.from_ms < self._begun_ms:
            age_seconds = (t_ms - row.from_ms) / 1_000
            blame_seconds -= age_seconds
            if blame_seconds <= 0:
                return None
            wait_seconds = max(wait_seconds - age_seconds, min(ASK_SECONDS, wait_seconds))
        return Awaited(t_ms, now_seconds + wait_seconds, now_seconds + blame_seconds)

    def _recall(self, index: int, t_ms: int, now_seconds: float) -> Awaited:
        """Return an order that was blamed before this process began, and is until one answers."""
        since_ms = self._recalled.pop(index)
        left_ms = min(max(since_ms + self._blame_ms_max - t_ms, 0), self._blame_ms_max)
        ends_seconds = now_seconds + left_ms / 1_000
        until_seconds = min(self._lapse_seconds(now_seconds), ends_seconds)
        return Awaited(since_ms, until_seconds, ends_seconds, is_blamed=True)

    def _lapse_seconds(self, now_seconds: float) -> float:
        """Return when blame lapses unless a canary says it again."""
        return now_seconds + self._wait_seconds + 2 * self._blame_seconds

    def _release(self, index: int) -> None:
        self._awaited.pop(index, None)
        self._released.add(index)

    def _tell(self) -> None:
        for each in self._news:
            each.set()

    def _take(self, verdicts: Mapping[int, TrialVerdict]) -> None:
        """Go by what a canary said."""
        before = self.view
        lapse_seconds = self._lapse_seconds(self._seconds())
        for index, verdict in verdicts.items():
            awaited = self._awaited.get(index)
            if awaited is None:
                continue
            if verdict is TrialVerdict.BLAMED:
                until_seconds = min(lapse_seconds, awaited.ends_seconds)
                blamed = replace(awaited, is_blamed=True, until_seconds=until_seconds)
                self._awaited[index] = blamed
                if not awaited.is_blamed:
                    _log.error("a canary's gate refuses an order: it is left out", index=index)
            elif verdict is TrialVerdict.PASSED:
                self._release(index)
        if self.view != before:
            self.on_change()
            self._tell()

    async def _keep(self, blame: BlameFile) -> None:
        """Keep on disk what is blamed; it never returns."""
        kept: dict[int, int] | None = None
        while True:
            await self._looked.wait()
            self._looked.clear()
            blamed = {at: each.since_ms for at, each in self._awaited.items() if each.is_blamed}
            if (now := self._recalled | blamed) != kept:
                await asyncio.to_thread(blame.write, now)
                kept = now

    async def _mind_bounds(self) -> None:
        """Have the plan made anew when something has waited long enough."""
        news = self._news[-1]
        while True:
            news.clear()
            ends = [each.until_seconds for each in self._awaited.values()]
            left_seconds = min(ends, default=inf) - self._seconds()
            try:
                async with asyncio.timeout(max(left_seconds, 0.0) if ends else None):
                    await news.wait()
            except TimeoutError:
                self.on_change()
                await asyncio.sleep(LOOK_SECONDS)  # for the plan to be made

    async def _follow(self, number: int) -> None:
        """Ask one canary for whatever waits."""
        news, blame_at_seconds = self._news[number], 0.0
        while True:
            news.clear()
            asked = [at for at, each in self._awaited.items() if not each.is_blamed]
            blamed = [at for at, each in self._awaited.items() if each.is_blamed]
            pause_seconds = self._blame_seconds if blamed else None
            if blamed and self._seconds() >= blame_at_seconds:
                asked += blamed
                blame_at_seconds = self._seconds() + self._blame_seconds
            if asked:
                pause_seconds = await self._ask(number, sorted(asked)[:ASKED_MAX], news)
            try:
                async with asyncio.timeout(pause_seconds):
                    await news.wait()
            except TimeoutError:
                continue

    async def _ask(self, number: int, indices: list[int], news: asyncio.Event) -> float:
        """Ask, until there is an answer or something else to ask for; return how long to pause."""
        link = self._links[number]
        call = asyncio.ensure_future(link.await_trial(indices, self._trial_seconds))
        woken = asyncio.ensure_future(news.wait())
        try:
            await asyncio.wait({call, woken}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                return 0.0
            verdicts = call.result()
        except EnforcerError as error:
            if self._problems[number] != error.message:
                _log.warning("a canary is away", problem=error.message, advice=error.advice)
            self._problems[number] = error.message
            return self._retry_seconds
        finally:
            for task in (call, woken):
                task.cancel()
            await asyncio.gather(call, woken, return_exceptions=True)
        self._problems[number] = ""
        self._take(verdicts)
        return 0.0 if verdicts else LOOK_SECONDS
