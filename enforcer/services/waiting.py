"""Acts on their way into the ledger: they wait in order, stops before all others, bounded.

Each has one answer: the entry that it became, or the error. Whoever waits for it may go away;
then nobody needs the answer, and an act that was not begun is not recorded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from enforcer.core.entry import AnyPayload
from enforcer.core.envelope import Envelope
from enforcer.core.order import OrderStopped
from enforcer.core.state import State
from enforcer.errors import UnavailableError

ACTS_WAITING_MAX: Final = 1_024
STOPS_WAITING_MAX: Final = 16_384

Check: TypeAlias = Callable[[State, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class WaitingAct:
    """An act, and who waits to hear its entry index and whether it was there before."""

    envelope: Envelope
    payload: AnyPayload
    then: Callable[[int], Envelope] | None = None
    """Makes, of this act's entry index, another that is recorded with it or not at all."""
    check: Check | None = None
    """Called with what holds before the act, and the time that it would get; raises."""
    answer: asyncio.Future[tuple[int, bool]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def is_abandoned(self) -> bool:
        """Tell whether nobody waits any more."""
        return self.answer.done()

    def give(self, index: int, *, is_repeated: bool) -> None:
        """Answer with the entry."""
        if not self.is_abandoned:
            self.answer.set_result((index, is_repeated))

    def fail(self, error: BaseException) -> None:
        """Answer with the error."""
        if not self.is_abandoned:
            self.answer.set_exception(error)


class WaitingActs:
    """The queue before the ledger; of one event loop."""

    def __init__(self) -> None:
        self._stops: deque[WaitingAct] = deque()
        self._acts: deque[WaitingAct] = deque()

    def __bool__(self) -> bool:
        """Tell whether any act waits."""
        return bool(self._stops or self._acts)

    def put(self, act: WaitingAct) -> None:
        """Add an act at the end of its kind.

        Raises:
            UnavailableError: too many wait.
        """
        is_stop = isinstance(act.payload, OrderStopped)
        queue, most = (
            (self._stops, STOPS_WAITING_MAX) if is_stop else (self._acts, ACTS_WAITING_MAX)
        )
        if len(queue) >= most:
            raise UnavailableError(
                f"{most} acts wait to be recorded",
                advice="Send the same act again in a moment.",
            )
        queue.append(act)

    def take(self) -> Iterator[WaitingAct]:
        """Yield who is next, one after the other; each is out of the queue when it is yielded."""
        while self:
            yield (self._stops or self._acts).popleft()
