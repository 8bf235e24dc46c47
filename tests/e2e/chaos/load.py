"""Load on an installation: people who propose, approve, extend and stop small orders.

Each act is repeated until it is answered. Between rounds nobody acts, so that everything comes to
rest, and what resolves can be compared with what was ordered.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from enforcer.core.order import OrderRef
from enforcer.errors import RefusedError
from enforcer.services.ledger import Recorded
from tests.e2e.chaos.invariants import Invariants
from tests.e2e.installation import (
    INSIST_SECONDS_MAX,
    REASONS,
    Installation,
    insist,
    now_ms,
    ref_of,
)
from tests.people import seal

ACTORS = 2
NUMBERS = itertools.count()
"""Names of its own for each order: what was stopped within a month would be held."""
LOOKED_AT = 40
"""So many of the newest names are asked for after a round."""
PAUSE_SECONDS = 0.04
"""Between two acts of one actor: a bounded rate."""
LASTING_MS = 300_000
UNDECIDED_MS = 2_000
"""So near to an order's end, what a query finds depends on when exactly it is asked."""


@dataclass
class Order:
    """An order as those who made it know it."""

    actor: str
    """Who carries it on: nobody else acts on it, so what was answered last is what holds."""
    names: list[str]
    ref: OrderRef
    until_ms: int
    is_approved: bool = False
    is_stopped: bool = False

    def is_in_force(self, t_ms: int, undecided_ms: int) -> bool | None:
        """Tell whether its names are to be blocked; None where that changes so near to `t_ms`."""
        end_ms = self.until_ms if self.is_approved and not self.is_stopped else 0
        return None if abs(end_ms - t_ms) <= undecided_ms else end_ms > t_ms


class Actors:
    """Threads that act; `rest` lets them finish what they are at, and `go` on."""

    def __init__(self, installation: Installation, invariants: Invariants, seed: int) -> None:
        self.installation = installation
        self.undecided_ms = UNDECIDED_MS
        self._invariants = invariants
        self.orders: list[Order] = []
        self.failures: list[BaseException] = []
        self._may_act = threading.Event()
        self._is_ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed + at),), name=f"actor-{at}")
            for at in range(ACTORS)
        ]
        self._change = threading.Condition()
        self._resting: set[str] = set()
        """Who does nothing, by the threads' names; guarded by `_change`."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._may_act.set()
        for thread in self._threads:
            thread.join()

    def go(self) -> None:
        self._may_act.set()

    def rest(self) -> None:
        """Return when every act that was begun has been answered."""
        self._may_act.clear()
        with self._change:
            all_rest = self._change.wait_for(
                lambda: len(self._resting) == len(self._threads), INSIST_SECONDS_MAX + 15
            )
        assert all_rest, "an act has no answer"
        if self.failures:
            raise self.failures[0]

    def newest(self) -> list[tuple[Order, str]]:
        """Return the newest names, each with its order."""
        return [(order, name) for order in self.orders[-LOOKED_AT:] for name in order.names]

    def agrees(self, order: Order, is_blocked: bool) -> bool:
        """Tell whether an order's name may be answered so now; any way where that is to change."""
        return order.is_in_force(now_ms(), self.undecided_ms) in (None, is_blocked)

    def lasting(self, is_blocked: bool) -> list[str]:
        """Return the newest names whose answer nobody changes unless somebody acts."""
        last_ms = now_ms() + LASTING_MS
        return [
            name
            for order in self.orders[-LOOKED_AT:]
            if (order.is_stopped if not is_blocked else order.is_in_force(last_ms, 0))
            for name in order.names
        ]

    def _run(self, chance: random.Random) -> None:
        try:
            while not self._is_ending.is_set():
                if not self._may_act.is_set():
                    self._rests(True)
                    self._may_act.wait()
                    self._rests(False)
                    continue
                self._act(chance)
                time.sleep(PAUSE_SECONDS)
        except BaseException as error:  # noqa: BLE001 - told by `rest`, to the test
            self.failures.append(error)
            self._rests(True)

    def _rests(self, is_resting: bool) -> None:
        """Say whether this thread does nothing until somebody lets it act."""
        with self._change:
            change = self._resting.add if is_resting else self._resting.discard
            change(threading.current_thread().name)
            self._change.notify_all()

    def _act(self, chance: random.Random) -> None:
        """Carry one order on, or begin one."""
        name = threading.current_thread().name
        mine = [each for each in self.orders if each.actor == name and not each.is_stopped][-20:]
        what = chance.random()
        if what < 0.35 or not mine:
            self._propose(chance)
            return
        order = chance.choice(mine)
        if not order.is_approved:
            self._approve(order)
        elif what < 0.55:
            self._extend(order, chance)
        else:
            self._stop(order)

    def _propose(self, chance: random.Random) -> None:
        count = chance.randint(1, 3)
        names = sorted(f"c{next(NUMBERS)}.chaos.example.org" for _ in range(count))
        targets = b"".join(f"exact {name}\n".encode() for name in names)
        until_ms = now_ms() + chance.choice((3_000, 10_000, 600_000, 86_400_000))
        insist(lambda: self.installation.upload(targets))
        proposal = self.installation.proposal(
            targets, expires_at_ms=until_ms, review_due_at_ms=until_ms
        )
        person = self.installation.land.proposer
        recorded = self._insist(
            lambda: self.installation.submit(person, "propose", proposal, [REASONS])
        )
        if recorded is not None:
            self.orders.append(
                Order(threading.current_thread().name, names, ref_of(recorded), until_ms)
            )

    def _approve(self, order: Order) -> None:
        land = self.installation.land
        land.now_ms = now_ms()
        approval = seal(land.approval(order.ref), land.approver.key)
        if self._insist(lambda: self.installation.submit(land.approver, "approve", approval)):
            order.is_approved = True

    def _extend(self, order: Order, chance: random.Random) -> None:
        land = self.installation.land
        land.now_ms = now_ms()
        until_ms = max(now_ms(), order.until_ms) + chance.choice((5_000, 60_000))
        extension = seal(land.extension(order.ref, until_ms), land.proposer.key, land.approver.key)
        if self._insist(lambda: self.installation.submit(land.approver, "extend", extension)):
            order.until_ms = until_ms

    def _stop(self, order: Order) -> None:
        person = self.installation.land.oversight
        self._invariants.forget(order.names)
        stop = self.installation.stopping(order.ref, person)
        if self._insist(lambda: self.installation.submit(person, "stop", stop)):
            order.is_stopped = True

    def _insist(self, call: Callable[[], Recorded]) -> Recorded | None:
        """Repeat the same act until it is answered; None when the rules have come to forbid it."""
        try:
            return insist(call)
        except RefusedError:  # such as: the order has ended meanwhile
            return None
