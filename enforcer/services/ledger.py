"""The one writer of the ledger: judge, append, fold, prove.

Acts that come while one append is running are recorded together in the next, stops first; each
is judged by what stands after those before it, so that none is recorded without effect. An act
is answered when it is durable, and never before; what is refused changes nothing. The same signed
act again gives, for ever, the entry that it became. Nothing here knows about feeds or networks:
whoever must hear of new entries is told by a call that does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias

import structlog

from enforcer.core.checkpoint import Checkpoint
from enforcer.core.entry import AnyPayload, Entry, encode, parse, parse_payload
from enforcer.core.envelope import Envelope, Verify
from enforcer.core.fold import Effect, apply, fold_judged
from enforcer.core.hold import OrderHeld
from enforcer.core.judge import judge
from enforcer.core.key import KeyRevoked
from enforcer.core.order import OrderRejected, OrderStopped
from enforcer.core.policy import PolicyAdopted
from enforcer.core.receipt import Receipt
from enforcer.core.remedy import AppealDecided, OrderSuspended
from enforcer.core.state import State
from enforcer.core.trust import Trust
from enforcer.errors import (
    EnforcerError,
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import Clock, LedgerFiles
from enforcer.services.ledger_time import LedgerTime
from enforcer.services.order_history import OrderHistory
from enforcer.services.waiting import Check, WaitingAct, WaitingActs
from enforcer.services.warm_fold import Progress, WarmFold

ENTRIES_PER_APPEND_MAX: Final = 64
"""At most 4 MiB, so that a stop waits for one small append at the longest."""
RELIEVING: Final = (
    *(OrderStopped, OrderSuspended, OrderRejected, OrderHeld),
    *(AppealDecided, KeyRevoked),
)
"""Kinds that can end a block or keep it off, and bring none: a doubted ledger takes them."""

log: Final = structlog.get_logger()

Seal: TypeAlias = Callable[[Checkpoint], bytes]
"""Return the signed note of a checkpoint."""


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


@dataclass(slots=True)
class _Group:
    """Acts that one append records."""

    leaves: list[bytes] = field(default_factory=list)
    acts: list[tuple[WaitingAct, int]] = field(default_factory=list)
    """Each act with the entry that it becomes."""
    again: list[tuple[WaitingAct, int]] = field(default_factory=list)
    """Acts that are among them already, sent a second time."""

    def fail(self, error: BaseException) -> None:
        """Answer all with the error."""
        for act, _ in (*self.acts, *self.again):
            act.fail(error)


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
        # What will be when all that was taken is recorded; new acts are judged by it. It stands
        # apart, because an append may fail, and nobody else may see what was not answered.
        self._ahead = state.copy()
        self._seal = seal
        self._time = LedgerTime(clock)
        self.replaced: UnavailableError | None = None
        """Why nothing is recorded here any more: another has the ledger; see `replace_by`."""
        self.doubted: UnavailableError | None = None
        """Why acts that may bring a block are not recorded at present; see `doubt`."""
        self._size_doubted = 0
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
        warm: WarmFold | None = None,
    ) -> Ledger:
        """Fold all entries that the files have, and return the ledger.

        `warm` has folded the first of them before. With a clock that is behind them it is open
        all the same, and records nothing: what is there can be read, and stops reach the nodes.

        Raises:
            IntegrityError: an entry cannot be understood, a file is damaged, or what `warm` folded
                is not how the files begin.
        """
        warm = warm or WarmFold(trust, verify)
        await asyncio.to_thread(warm.advance, files, progress)
        ledger = cls(files, warm.state, warm.history, seal, clock)
        ledger._fault()
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

    def waypoint(self, size: int) -> bytes:
        """Return a checkpoint of the first `size` entries, signed now; it blocks.

        Raises:
            InputError: there are fewer.
            IntegrityError: a tile is damaged.
        """
        return self._seal(Checkpoint(self.state.origin, size, self.files.root_at(size)))

    def on_append(self, tell: Callable[[Appended], None]) -> None:
        """Have `tell` called after each append, before its acts are answered; it must not wait."""
        self._tell.append(tell)

    def replace_by(self, error: UnavailableError) -> None:
        """Record nothing from now on, and answer every new act with the error."""
        self.replaced = error

    def doubt(self, error: UnavailableError | None) -> None:
        """Record only what is `RELIEVING`, and answer other new acts with the error; None: all."""
        self.doubted = error
        self._size_doubted = self.files.size

    @property
    def leaves_feed_alone(self) -> bool:
        """Whether the feed may be another's: replaced, or doubted and nothing recorded since."""
        is_idle = self.doubted is not None and self.files.size == self._size_doubted
        return self.replaced is not None or is_idle

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
            _judge(self.state, envelope, payload, self.now_ms())
        return payload

    def recorded_as(self, envelope: Envelope, payload: AnyPayload) -> int | None:
        """Return the entry that this very act became: same payload, same signers."""
        return _recorded_as(self.state, envelope, payload)

    async def record(
        self,
        envelope: Envelope,
        then: Callable[[int], Envelope] | None = None,
        check: Check | None = None,
    ) -> Recorded:
        """Record an act; again gives the same entry with a fresh receipt.

        `then` makes, of the entry's index, an act that becomes the entry after it: in one append,
        both or none. `check` is called by the writer with what will hold before the act and with
        the act's time, when nothing can come between any more: what it raises is the answer.
        Neither is called for an act that is recorded already.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: the rule that it breaks.
            UnavailableError: the disk did not take it, the clock is wrong, too much waits, this is
                ending, or another is said to have the ledger.
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

    def _fault(self) -> UnavailableError | None:
        """Return why nothing can be recorded: this was replaced, or the clock; log the latter."""
        if self.replaced is not None:
            return self.replaced
        fault = self._time.fault(self.state.recorded_at_ms)
        if fault is not None:
            log.error("clock_wrong", problem=fault.message, advice=fault.advice)
        return fault

    async def _prove(self, index: int, *, is_repeated: bool) -> Recorded:
        def read() -> Recorded:
            (leaf,) = self.files.entries(index, index + 1)
            return Recorded(index, leaf, self.files.receipt(index), is_repeated)

        return await asyncio.to_thread(read)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._next_group()
                if group.leaves:
                    await self._append(group)
            if self._is_closing:
                return

    def _next_group(self) -> _Group:
        """Take what is to be recorded together, in order; answer what cannot be."""
        group = _Group()
        fault = self._fault()
        if fault is not None:
            for act in self._waiting.take():
                act.fail(fault)
            return group
        recorded_at_ms = self.now_ms()
        for act in self._waiting.take():
            self._accept(act, recorded_at_ms, group)
            if len(group.leaves) > ENTRIES_PER_APPEND_MAX - 2:  # an act may bring another
                break
        return group

    def _accept(self, act: WaitingAct, recorded_at_ms: int, group: _Group) -> None:
        """Add an act that can be recorded after the group's others; answer one that cannot."""
        if act.is_abandoned:
            return
        index = _recorded_as(self._ahead, act.envelope, act.payload)
        if index is not None and index >= self.state.size:
            group.again.append((act, index))
            return
        if index is not None:
            act.give(index, is_repeated=True)
            return
        if self.doubted is not None and not isinstance(act.payload, RELIEVING):
            act.fail(self.doubted)
            return
        try:
            leaves = self._take(act, recorded_at_ms, group)
        except EnforcerError as error:
            act.fail(error)
            return
        group.acts.append((act, self.state.size + len(group.leaves)))
        group.leaves += leaves

    def _take(self, act: WaitingAct, recorded_at_ms: int, group: _Group) -> tuple[bytes, ...]:
        """Judge an act and go ahead by it; return the leaves that it becomes.

        Raises:
            EnforcerError: it cannot be recorded, and nothing has changed.
        """
        ahead = self._ahead
        payload = _judge(ahead, act.envelope, act.payload, recorded_at_ms)
        if act.check is not None:
            act.check(ahead, recorded_at_ms)
        entry = Entry(recorded_at_ms, act.envelope)
        leaf = encode(entry)
        index = ahead.size
        fold_judged(ahead, payload, entry)
        if act.then is None:
            return (leaf,)
        try:
            following = Entry(recorded_at_ms, act.then(index))
            payload = parse_payload(following.envelope)
            payload = _judge(ahead, following.envelope, payload, recorded_at_ms)
            leaves = leaf, encode(following)
            fold_judged(ahead, payload, following)
        except Exception:  # rare: then the state is made again, instead of copied for each act
            self._ahead = self.state.copy()
            for each in group.leaves:
                apply(self._ahead, parse(each))
            raise
        return leaves

    async def _append(self, group: _Group) -> None:
        """Append a group and fold it; every act in it gets an answer."""
        first_index = self.files.size
        leaves = tuple(group.leaves)
        appending = asyncio.get_running_loop().run_in_executor(
            self._disk, self.files.append, leaves, self._seal
        )
        await asyncio.wait([appending])
        error = appending.exception()
        if error is not None:  # whatever it is, the callers must hear of it
            log.error("append_failed", acts=len(group.acts), problem=str(error))
            self._ahead = self.state.copy()
            group.fail(error)
            return
        entries = tuple(map(parse, leaves))
        effects = {effect.index: effect for effect in map(self._fold, entries)}
        for tell in self._tell:
            tell(Appended(first_index, entries, leaves, appending.result()))
        for effect in effects.values():
            if effect.refusal is not None:  # then the judge and the fold do not agree
                log.error("recorded_without_effect", index=effect.index)
                self._ahead = self.state.copy()
        for acts, is_repeated in ((group.acts, False), (group.again, True)):
            for act, index in acts:
                refusal = effects[index].refusal
                if refusal is not None:
                    act.fail(refusal)
                else:
                    act.give(index, is_repeated=is_repeated)

    def _fold(self, entry: Entry) -> Effect:
        effect = apply(self.state, entry)
        self.history.note(self.state, entry, effect)
        return effect


def _recorded_as(state: State, envelope: Envelope, payload: AnyPayload) -> int | None:
    """Return the entry that the state has of this very act."""
    index = state.index_of_payload.get(envelope.payload_sha256)
    if index is None:
        return None
    # Not `==`: a later stop may have used the request id again, which nothing forbids a stop.
    requests = state.index_of_request
    keys = [requests.get(part.key_id, {}) for part in envelope.signatures]
    uses = [found.get(payload.request_id, -1) for found in keys]
    return index if all(use >= index for use in uses) else None


def _judge(
    state: State, envelope: Envelope, payload: AnyPayload, recorded_at_ms: int
) -> AnyPayload:
    """Return the payload as it counts if it is lawful as the next entry after `state`."""
    if state.size == 0 and not isinstance(payload, PolicyAdopted):
        raise RefusedError(
            "the ledger is empty, and its first entry adopts a policy",
            advice="Have the roots sign a policy, and record that first.",
            field="payloadType",
        )
    try:
        return judge(state, envelope, recorded_at_ms)
    except IntegrityError as error:
        # Followers would stop at such an entry: so it must not become one.
        raise RefusedError(error.message, advice=error.advice, **error.data) from error


def replay(
    files: LedgerFiles, trust: Trust, verify: Verify, progress: Progress | None = None
) -> State:
    """Fold every entry of a ledger on disk.

    Raises:
        IntegrityError: an entry cannot be understood, or a file is damaged.
    """
    warm = WarmFold(trust, verify)
    warm.advance(files, progress)
    return warm.state
