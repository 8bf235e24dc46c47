"""Asking witnesses for cosignatures after each append, and showing readers what they gave.

In rounds: all witnesses are asked for one checkpoint, the newest when the round begins, so that
their cosignatures come together. A round ends with a quorum, or when all have answered, or after
a while; a witness that is slow or away is asked again ever more rarely, and keeps nobody
waiting. All are asked again now and then, so that a ledger which was replaced hears of it though
nothing comes. Nothing that is recorded or published waits for any of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, Self

import structlog

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.cosignature import CosignerKey, with_lines
from enforcer.core.note import Note, SignatureLine
from enforcer.core.witness import AddCheckpoint
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import FeedPublisher, LedgerFiles, WitnessLink
from enforcer.services.cosigned import Cosigned
from enforcer.services.ledger import Ledger

ROUND_SECONDS_MAX: Final = 2.0
RETRY_SECONDS: Final = 0.2
RETRY_SECONDS_MAX: Final = 30.0
LOOK_INTERVALS: Final = 6
"""After so many of the feed's intervals all are asked again."""
NOT_EXTENDED_STATUS: Final = 422
"""C2SP tlog-witness: the proof does not lead from what the witness cosigned."""
LINES_MAX: Final = 16
"""Lines that a witness's answer may have."""

_log: Final = structlog.get_logger(__name__)


class AskedWitness:
    """One witness: where it is, what it cosigned last, and when it may be asked again."""

    def __init__(self, key: CosignerKey, link: WitnessLink, files: LedgerFiles) -> None:
        self.key = key
        self._link = link
        self._files = files
        self._size = 0
        self._shown: bytes | None = None  # the note that it cosigned last, with its line
        self._problem = ""
        self._pause_seconds = 0.0
        self._not_before_seconds = 0.0
        self.is_elsewhere = False
        """It has seen another history, or more than is here; so its answer says, unsigned."""
        self.task: asyncio.Task[bytes | None] | None = None

    def is_free(self, now_seconds: float) -> bool:
        """Tell whether it may be asked now."""
        is_asked = self.task is not None and not self.task.done()
        return not is_asked and now_seconds >= self._not_before_seconds

    async def ask(self, note: bytes) -> bytes | None:
        """Return the note with this witness's cosignature, or None, with the reason logged."""
        try:
            cosigned = await self._ask(note)
        except EnforcerError as error:
            self.is_elsewhere = error.data.get("problem") == "split view"
            if error.message != self._problem:
                self._problem = error.message
                is_grave = isinstance(error, IntegrityError)
                say = _log.error if is_grave else _log.warning
                say("not_witnessed", witness=self.key.name, problem=error.message)
            self._pause_seconds = min(
                max(2 * self._pause_seconds, RETRY_SECONDS), RETRY_SECONDS_MAX
            )
            self._not_before_seconds = asyncio.get_running_loop().time() + self._pause_seconds
            return None
        self._problem, self._pause_seconds, self.is_elsewhere = "", 0.0, False
        return cosigned

    async def latest(self, origin: str) -> bytes:
        """Return the newest checkpoint that it shows, unread.

        Raises:
            EnforcerError: it shows none.
        """
        return await self._link.latest(origin)

    async def _ask(self, note: bytes) -> bytes:
        size = Checkpoint.parse(Note.parse(note).text).size
        try:
            answer = await self._add(self._size, size, note)
        except ConflictError as error:
            at = error.data.get("size")
            if not isinstance(at, int):
                raise
            if size < at <= self._files.size:  # it kept what it could not answer any more
                raise UnavailableError(
                    f"the witness has seen {at} entries already",
                    advice="It is asked again with a newer checkpoint.",
                ) from error
            if at > size or at == self._size:
                raise _other_history(at) from error
            if at < self._size and self._shown is not None:
                # It has forgotten what it cosigned. Its own line tells it so.
                await self._add(at, self._size, self._shown)
                raise UnavailableError(
                    f"the witness went back from {self._size} entries to {at}",
                    advice="Ask its operator: its memory was lost or restored.",
                ) from error
            answer = await self._add_again(at, size, note)
        cosigned = with_lines(Note.parse(note), self._lines(answer)).format()
        self._size, self._shown = size, cosigned
        return cosigned

    async def _add_again(self, at: int, size: int, note: bytes) -> bytes:
        """Show the way from where the witness says that it is."""
        try:
            return await self._add(at, size, note)
        except ConflictError as error:
            if at == size == error.data.get("size"):  # as many entries, and still not these
                raise _other_history(at) from error
            raise

    async def _add(self, old_size: int, size: int, note: bytes) -> bytes:
        proof: tuple[bytes, ...] = ()
        if 0 < old_size < size:
            proof = await asyncio.to_thread(self._files.consistency_proof, old_size, size)
        try:
            return await self._link.add_checkpoint(AddCheckpoint(old_size, proof, note).format())
        except RefusedError as error:
            if error.data.get("status") != NOT_EXTENDED_STATUS:
                raise
            raise _other_history(old_size) from error  # our proof is good, so its past is another

    def _lines(self, answer: bytes) -> list[SignatureLine]:
        """Return the lines of the answer that say they are this witness's."""
        lines = answer.decode("utf-8", "replace").splitlines()[:LINES_MAX]
        ours = [line for line in map(SignatureLine.parse, lines) if line.is_of(self.key)]
        if not ours:
            raise RefusedError(
                "the answer has no cosignature by the key that the trust file names",
                advice="Compare the witness's vkey with the trust file's.",
            )
        return ours


class Witnessing:
    """The rounds of one ledger; use it as a context manager, inside that of the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        cosigned: Cosigned,
        links: Mapping[CosignerKey, WitnessLink],
        feed: FeedPublisher,
        interval_seconds: float,
    ) -> None:
        self._files = ledger.files
        self._ledger = ledger
        self._cosigned = cosigned
        self._feed = feed
        self._interval_seconds = interval_seconds
        self._asked = [AskedWitness(key, link, ledger.files) for key, link in links.items()]
        self._wake = asyncio.Event()
        self._asked_once = asyncio.Event()
        self.tasks: frozenset[asyncio.Task[None]] = frozenset()
        """They end only with this object."""

    async def __aenter__(self) -> Self:
        self._ledger.on_append(lambda _appended: self._wake.set())
        self._wake.set()
        self._cosigned.news.set()
        self.tasks = frozenset(
            (asyncio.create_task(self._ask_on()), asyncio.create_task(self._show_on()))
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """End at once; the next start asks again for what is not witnessed."""
        asking = [each.task for each in self._asked if each.task is not None]
        for task in (*self.tasks, *asking):
            task.cancel()
        await asyncio.gather(*self.tasks, *asking, return_exceptions=True)

    async def first_word(self) -> None:
        """Wait until witnesses have said what they have seen, or did not for a moment.

        Whoever serves before that may answer acts that no witness will ever take.
        """
        await self._asked_once.wait()

    async def _ask_on(self) -> None:
        loop = asyncio.get_running_loop()
        look_seconds = LOOK_INTERVALS * self._interval_seconds
        look_at = loop.time() + look_seconds
        while True:
            note = self._files.checkpoint_note
            is_due = loop.time() >= look_at
            if is_due:
                look_at = loop.time() + look_seconds
            if self._asked and note is not None:
                await self._round(note, self._asked if is_due else self._missing(_size(note)))
            self._asked_once.set()
            is_done = note == self._files.checkpoint_note and self._is_done(note)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at if is_done else loop.time() + RETRY_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    def _is_done(self, note: bytes | None) -> bool:
        """Tell whether every witness has cosigned a checkpoint, so that nothing is left to ask."""
        if note is None or not self._asked:
            return True
        return not self._missing(_size(note))

    def _missing(self, size: int) -> list[AskedWitness]:
        names = self._cosigned.cosigners(size)
        return [each for each in self._asked if each.key not in names]

    async def _round(self, note: bytes, witnesses: Iterable[AskedWitness]) -> None:
        """Ask those that may be asked for one checkpoint, until it is witnessed or time is over."""
        loop = asyncio.get_running_loop()
        size = _size(note)
        for each in witnesses:
            if each.is_free(loop.time()):
                each.task = asyncio.create_task(self._bring(each, note))
        end = loop.time() + ROUND_SECONDS_MAX
        while not self._cosigned.is_witnessed(size):
            asking = [each.task for each in self._asked if each.task and not each.task.done()]
            left_seconds = end - loop.time()
            if not asking or left_seconds <= 0:
                return
            await asyncio.wait(asking, timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _bring(self, witness: AskedWitness, note: bytes) -> bytes | None:
        cosigned = await witness.ask(note)
        if witness.is_elsewhere:
            self._cosigned.doubt(witness.key, _size(note))
            await self._look_for_signed(witness)
        if cosigned is not None:
            try:
                await self._cosigned.add(cosigned)
            except EnforcerError as error:
                _log.error("cosignature_refused", witness=witness.key.name, problem=error.message)
        return cosigned

    async def _look_for_signed(self, witness: AskedWitness) -> None:
        """Have a witness that refuses show what it has signed, where it offers that."""
        try:
            await self._cosigned.hear(await witness.latest(self._ledger.state.origin))
        except EnforcerError as error:
            _log.debug("no_signed_word", witness=witness.key.name, problem=error.message)

    async def _show_on(self) -> None:
        """Put the best into the feed when it is new, and again at each interval."""
        problem = ""
        while True:
            self._cosigned.news.clear()
            best = self._cosigned.best
            try:
                fence = self._cosigned.fence
                if best is not None and fence.error is None and fence.doubt is None:
                    await self._feed.show_cosigned(best)
                problem = ""
            except EnforcerError as error:
                if error.message != problem:
                    problem = error.message
                    _log.warning("cosigned_not_shown", problem=problem)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._cosigned.news.wait()


def _other_history(size: int) -> IntegrityError:
    return IntegrityError(
        f"the witness has seen another history, of {size} entries",
        advice="Ask its operator for both checkpoints: this ledger was forked or rolled back.",
        problem="split view",
    )


def _size(note: bytes) -> int:
    return Checkpoint.parse(Note.parse(note).text).size
