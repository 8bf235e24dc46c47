"""A node and its witnesses: it looks for cosigned checkpoints, and cosigns if it is a witness.

It looks only while witnesses have yet to see some of its copy, soon at first and then ever more
rarely; new entries make it look soon again. Nothing else of the node waits for it, and no path
waits for another: one that hangs is heard when it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import structlog

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.cosignature import CosignerKey, cosign, with_lines
from enforcer.core.note import Note
from enforcer.errors import EnforcerError, IntegrityError
from enforcer.ports import ControlLink, Signer
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.paths import FeedPath, FeedPaths
from enforcer.services.replica import Replica
from enforcer.services.split_views import SplitViews

LOOK_SECONDS_MAX: Final = 0.5
"""How long one look waits; who answers later is heard by a later one."""

_log: Final = structlog.get_logger(__name__)


class WitnessWatch:
    """Brings the witnessed part of one replica forward; `on_progress` is called when it has."""

    def __init__(
        self,
        *,
        replica: Replica,
        paths: FeedPaths,
        split_views: SplitViews,
        on_progress: Callable[[], None],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._replica = replica
        self._paths = paths
        self._split_views = split_views
        self._on_progress = on_progress
        self._pace = pace
        self._new_entries = asyncio.Event()
        self._problem = ""
        self._asked: dict[str, asyncio.Task[bytes | EnforcerError | None]] = {}
        """Path -> its answer, of those that have not been heard yet."""

    def entries_came(self) -> None:
        """Look soon: there are entries that witnesses may have seen."""
        self._new_entries.set()

    async def run(self) -> None:
        """Look for cosigned checkpoints; it never returns."""
        async with asyncio.TaskGroup() as asks:
            pause_seconds = self._pace.witness_poll_seconds
            while True:
                if self._replica.witnessed.is_behind:
                    await self._look(asks)
                is_behind = self._replica.witnessed.is_behind
                try:
                    async with asyncio.timeout(pause_seconds if is_behind else None):
                        await self._new_entries.wait()
                    self._new_entries.clear()
                    pause_seconds = self._pace.witness_poll_seconds
                except TimeoutError:
                    pause_seconds = min(pause_seconds * 2, self._pace.witness_poll_seconds_max)

    async def _look(self, asks: asyncio.TaskGroup) -> None:
        """Ask all paths at once: one that is not followed may have what the other withholds."""
        problem: EnforcerError | None = None
        async with aclosing(self._answers(asks)) as answers:
            async for answer in answers:
                try:
                    if await self._take(answer):
                        self._problem = ""
                        return
                except IntegrityError as error:
                    problem = problem or error
                    if isinstance(answer, bytes):
                        await asyncio.to_thread(self._split_views.look, answer)
                except EnforcerError as error:
                    problem = problem or error
        if problem is not None:
            self._say(problem)
        elif not self._asked:
            self._problem = ""

    async def _answers(
        self, asks: asyncio.TaskGroup
    ) -> AsyncGenerator[bytes | EnforcerError | None, None]:
        """Yield what paths answer within `LOOK_SECONDS_MAX`, as it comes.

        One that was asked by a former look, and has not answered yet, is not waited for.
        """
        for name in [each for each, answer in self._asked.items() if answer.done()]:
            yield self._asked.pop(name).result()
        waits = {path.name for path in self._paths.paths} - self._asked.keys()
        for path in self._paths.paths:
            if path.name in waits:
                self._asked[path.name] = asks.create_task(_ask(path))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOOK_SECONDS_MAX
        while waits:
            await asyncio.wait(
                [self._asked[name] for name in waits],
                timeout=max(deadline - loop.time(), 0),
                return_when=asyncio.FIRST_COMPLETED,
            )
            done = [name for name in waits if self._asked[name].done()]
            if not done:
                return
            for name in done:
                waits.remove(name)
                yield self._asked.pop(name).result()

    async def _take(self, note: bytes | EnforcerError | None) -> bool:
        """Count as seen what a cosigned checkpoint proves; tell whether all of the copy is.

        Raises:
            EnforcerError: why there is none, or why it proves nothing.
        """
        if isinstance(note, EnforcerError):
            raise note
        if note is None:
            return False
        witnessed = self._replica.witnessed
        proven = await asyncio.to_thread(witnessed.prove, note)
        if proven is not None:
            witnessed.accept(proven)
            self._on_progress()
            await asyncio.to_thread(witnessed.keep, note)
        return not witnessed.is_behind

    def _say(self, error: EnforcerError) -> None:
        """Log why there is no cosigned checkpoint, once for each reason."""
        if error.message != self._problem:
            self._problem = error.message
            _log.warning("no cosigned checkpoint", problem=error.message)


async def _ask(path: FeedPath) -> bytes | EnforcerError | None:
    """Return the newest cosigned checkpoint that a path has, or why it cannot be had."""
    try:
        return await path.source.cosigned()
    except EnforcerError as error:
        return error


class Cosigner:
    """Cosigns what a node has verified and kept, where the trust file names it as a witness."""

    def __init__(
        self, key: CosignerKey, signer: Signer, control: ControlLink, time: NodeTime
    ) -> None:
        self._key = key
        self._signer = signer
        self._control = control
        self._time = time
        self._newest: bytes | None = None
        self._wake = asyncio.Event()

    def saw(self, note: bytes | None) -> None:
        """Have the newest checkpoint of the own copy cosigned; it is durable there."""
        self._newest = note
        self._wake.set()

    async def run(self) -> None:
        """Deliver cosignatures of the newest checkpoint; it never returns."""
        pause_seconds = 1.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._newest is None:
                continue
            note = Note.parse(self._newest)
            t_seconds = self._time.now_ms() // 1_000
            line = cosign(note.text, self._key, self._signer.sign, t_seconds)
            try:
                await self._control.add_cosignature(with_lines(note, [line]).format())
                pause_seconds = 1.0
            except EnforcerError as error:
                size = Checkpoint.parse(note.text).size
                _log.warning("delivered no cosignature", size=size, problem=error.message)
                self._wake.set()
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 30.0)
