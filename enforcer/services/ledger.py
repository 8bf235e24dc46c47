"""The one writer of the ledger: judge, append, fold, prove.

Acts that wait are recorded together, in one append; stops come first. An act is answered
when it is durable, and never before; what is refused changes nothing. The same signed act
again gives, for ever, the entry that it became. Nothing here knows about feeds or networks:
whoever must hear of new entries is told by a call that does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import structlog

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.entry import AnyPayload, Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, Verify
from enforcer.core.fold import Effect, apply
from enforcer.core.judge import judge
from enforcer.core.policy import PolicyAdopted
from enforcer.core.receipt import Receipt
from enforcer.core.state import State
from enforcer.core.trust import Trust
from enforcer.errors import (
    EnforcerError,
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import Clock, LedgerFiles
from enforcer.services.footprint import EVERYTHING, footprint
from enforcer.services.ledger_time import LedgerTime
from enforcer.services.order_history import OrderHistory
from enforcer.services.waiting import WaitingAct, WaitingActs

ENTRIES_PER_APPEND_MAX: Final = 64
"""At most 4 MiB, so that a stop waits for one small append at the longest."""

log: Final = structlog.get_logger()

Seal: TypeAlias = Callable[[Checkpoint], bytes]
"""Return the signed note of a checkpoint."""
Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, in entries."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An act that stands in the ledger, and the proof that it does."""

    index: int
    leaf: bytes
    receipt: Receipt
    is_repeated: bool
    """It had been recorded before this call."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append added."""

    first_index: int
    entries: tuple[Entry, ...]
    leaves: tuple[bytes, ...]
    checkpoint_note: bytes


class Ledger:
    """The ledger of one control plane; use it from one event loop, as a context manager.

    ``state`` is the fold of everything that was answered; others only read it.
    """

    def __init__(
        self, files: LedgerFiles, state: State, history: OrderHistory, seal: Seal, clock: Clock
    ) -> None:
        """Take files and what exactly their entries amount to, as :meth:`open` finds it."""
        if files.size != state.size:
            raise ValueError(f"the state is of {state.size} entries, the files of {files.size}")
        self.files = files
        self.state = state
        self.history = history
        self._seal = seal
        self._time = LedgerTime(clock)
        self._tell: list[Callable[[Appended], None]] = []
        self._waiting = WaitingActs()
        self._wake = asyncio.Event()
        self._is_closing = False
        self.writer: asyncio.Task[None] | None = None
        """It ends only with the ledger: if it does before, this process is of no use."""
        # Its own thread: an append must not queue behind anybody's reading.
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="append")

    @classmethod
    async def open(
        cls,
        files: LedgerFiles,
        trust: Trust,
        verify: Verify,
        seal: Seal,
        clock: Clock,
        progress: Progress | None = None,
    ) -> Ledger:
        """Fold all entries that the files have, and return the ledger.

        With a clock that is behind them it is open all the same, and records nothing: what is
        there can be read, and stops reach the nodes.

        Raises:
            IntegrityError: an entry cannot be understood, or a file is damaged.
        """
        history = OrderHistory()
        state = await asyncio.to_thread(replay, files, trust, verify, progress, history.note)
        ledger = cls(files, state, history, seal, clock)
        ledger._clock_fault()
        return ledger

    async def __aenter__(self) -> Self:
        self.writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Record what waits, then end; what comes after is refused."""
        self._is_closing = True
        self._wake.set()
        if self.writer is not None:
            await self.writer
        self._disk.shutdown()

    def on_append(self, tell: Callable[[Appended], None]) -> None:
        """Have `tell` called after each append, before its acts are answered; it must not wait."""
        self._tell.append(tell)

    def now_ms(self) -> int:
        """Return the time that an act recorded now would get."""
        return self._time.now_ms(self.state.recorded_at_ms)

    def judge(self, envelope: Envelope) -> AnyPayload:
        """Return the payload if the act could be recorded now, or is recorded already.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: the rule that it breaks.
        """
        payload = parse_payload(envelope)
        if self.recorded_as(envelope, payload) is None:
            self._judge(envelope, payload, self.now_ms())
        return payload

    def recorded_as(self, envelope: Envelope, payload: AnyPayload) -> int | None:
        """Return the entry that this very act became: same payload, same signers."""
        index = self.state.index_of_payload.get(envelope.payload_sha256)
        if index is None:
            return None
        # Not `==`: a later stop may have used the request id again, which nothing forbids a stop.
        requests = self.state.index_of_request
        uses = [requests.get((part.key_id, payload.request_id), -1) for part in envelope.signatures]
        return index if all(use >= index for use in uses) else None

    async def record(
        self,
        envelope: Envelope,
        then: Callable[[int], Envelope] | None = None,
        check: Callable[[int], None] | None = None,
    ) -> Recorded:
        """Record an act; again gives the same entry with a fresh receipt.

        `then` makes, of the entry's index, an act that becomes the entry after it: in one append,
        both or none. `check` is called by the writer with the act's time, when nothing can come
        between any more: what it raises is the answer. Neither is called for an act that is
        recorded already.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: the rule that it breaks.
            UnavailableError: the disk did not take it, the clock is wrong, too much waits, or
                this is ending.
            IntegrityError: the ledger on disk is not what it must be.
        """
        payload = parse_payload(envelope)
        index = self.recorded_as(envelope, payload)
        if index is not None:
            return await self._prove(index, is_repeated=True)
        if self._is_closing:
            raise UnavailableError(
                "the control plane is shutting down",
                advice="Send the same act again in a moment.",
            )
        act = WaitingAct(envelope, payload, then, check)
        self._waiting.put(act)
        self._wake.set()
        index, is_repeated = await act.answer
        return await self._prove(index, is_repeated=is_repeated)

    def _clock_fault(self) -> UnavailableError | None:
        """Return, and log, why nothing can be recorded by this machine's clock."""
        fault = self._time.fault(self.state.recorded_at_ms)
        if fault is not None:
            log.error("clock_wrong", problem=fault.message, advice=fault.advice)
        return fault

    async def _prove(self, index: int, *, is_repeated: bool) -> Recorded:
        def read() -> Recorded:
            (leaf,) = self.files.entries(index, index + 1)
            return Recorded(index, leaf, self.files.receipt(index), is_repeated)

        return await asyncio.to_thread(read)

    def _judge(
        self,
        envelope: Envelope,
        payload: AnyPayload,
        recorded_at_ms: int,
        state: State | None = None,
    ) -> bytes:
        """Return the leaf that the act would be after the entries of `state`, or of all."""
        state = state or self.state
        if state.size == 0 and not isinstance(payload, PolicyAdopted):
            raise RefusedError(
                "the ledger is empty, and its first entry adopts a policy",
                advice="Have the roots sign a policy, and record that first.",
                field="payloadType",
            )
        try:
            judge(state, envelope, recorded_at_ms)
        except IntegrityError as error:
            # Followers would stop at such an entry: so it must not become one.
            raise RefusedError(error.message, advice=error.advice, **error.data) from error
        return encode(Entry(recorded_at_ms, envelope))

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = self._next_batch()
                if batch:
                    await self._append(batch)
            if self._is_closing:
                return

    def _next_batch(self) -> dict[bytes, WaitingAct]:
        """Take what can be recorded together: leaf -> act, in order; answer what cannot be."""
        fault = self._clock_fault()
        if fault is not None:
            for act in self._waiting.take():
                act.fail(fault)
            return {}
        recorded_at_ms = self.now_ms()
        batch: dict[bytes, WaitingAct] = {}
        touched: frozenset[tuple[str, ...]] = frozenset()
        for act in self._waiting.take():
            # What brings another act with it, or looks at what came before, stands alone.
            touches = EVERYTHING if act.is_alone else footprint(act.envelope, act.payload)
            if batch and (EVERYTHING in (touches, touched) or touched & touches):
                self._waiting.put_back(act)
                break
            for leaf in self._accept(act, recorded_at_ms):
                batch[leaf] = act
                touched |= touches
            if len(batch) == ENTRIES_PER_APPEND_MAX:
                break
        return batch

    def _accept(self, act: WaitingAct, recorded_at_ms: int) -> tuple[bytes, ...]:
        """Return the leaves of an act that is to be recorded; answer one that is not."""
        if act.is_abandoned:
            return ()
        index = self.recorded_as(act.envelope, act.payload)
        if index is not None:
            act.give(index, is_repeated=True)
            return ()
        try:
            leaf = self._judge(act.envelope, act.payload, recorded_at_ms)
            if act.check is not None:
                act.check(recorded_at_ms)
            if act.then is None:
                return (leaf,)
            after = self.state.copy()
            apply(after, parse(leaf))
            following = act.then(self.state.size)
            payload = parse_payload(following)
            return leaf, self._judge(following, payload, recorded_at_ms, after)
        except EnforcerError as error:
            act.fail(error)
            return ()

    async def _append(self, batch: dict[bytes, WaitingAct]) -> None:
        """Append the batch and fold it; every act in it gets an answer."""
        first_index = self.files.size
        leaves = tuple(batch)
        appending = asyncio.get_running_loop().run_in_executor(
            self._disk, self.files.append, leaves, self._seal
        )
        await asyncio.wait([appending])
        error = appending.exception()
        if error is not None:  # whatever it is, the callers must hear of it
            log.error("append_failed", acts=len(batch), problem=str(error))
            for act in batch.values():
                act.fail(error)
            return
        entries = tuple(map(parse, leaves))
        effects = [self._fold(entry) for entry in entries]
        for tell in self._tell:
            tell(Appended(first_index, entries, leaves, appending.result()))
        for effect, act in zip(effects, batch.values(), strict=True):
            if effect.refusal is not None:  # then `footprint` forgot something
                log.error("recorded_without_effect", index=effect.index)
                act.fail(effect.refusal)
            else:
                act.give(effect.index, is_repeated=False)

    def _fold(self, entry: Entry) -> Effect:
        effect = apply(self.state, entry)
        self.history.note(self.state, entry, effect)
        return effect


def replay(
    files: LedgerFiles,
    trust: Trust,
    verify: Verify,
    progress: Progress | None = None,
    note: Callable[[State, Entry, Effect], None] | None = None,
) -> State:
    """Fold every entry of a ledger on disk; `note` hears of each when it is folded.

    Raises:
        IntegrityError: an entry cannot be understood, or a file is damaged.
    """
    state = trust.genesis(verify)
    size = files.size
    for leaf in files.entries(0, size):
        entry = parse(leaf)
        effect = apply(state, entry)
        if note is not None:
            note(state, entry, effect)
        if progress is not None:
            progress(state.size, size)
    return state
