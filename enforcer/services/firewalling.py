"""Keeping a node's firewall in step with the ledger: brought, read back, repaired, counted.

A loop of its own, which waits neither for the gate nor for the feed: orders end by the node's
time with everything else away. What the operator must reach is protected before the first rule.
The lease ends with the next order, so that a node that is gone leaves no block that outlives its
order. Always true: what fails leaves the last good rules, is said, and is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Final

import structlog

from enforcer.core.firewall import FirewallRow, FirewallState
from enforcer.core.pieces import rows_within
from enforcer.core.table import NO_LOCAL_LAYER, IpMeasure, LocalLayer
from enforcer.errors import ConflictError, EnforcerError, UnavailableError
from enforcer.ports import Firewall, FirewallContent, OwnNetworks, PieceWork
from enforcer.services.attest import FirewallWord
from enforcer.services.firewall_link import FirewallLink
from enforcer.services.firewall_own import OwnProtections
from enforcer.services.firewall_pace import LEASE_GRACE_SECONDS, FirewallPace, next_change_ms
from enforcer.services.firewall_pieces import PieceMaker, Recipe, in_force
from enforcer.services.lists import ListKeeper
from enforcer.services.node_time import NodeTime
from enforcer.services.node_view import FirewallView
from enforcer.services.plan import Plan

PROVEN_AT_ONCE_MAX: Final = 20_000
"""Up to so many pieces are read back at once; more of them once nothing has changed for a while."""
PUT_OFF_MAX: Final = 10
"""So many times as long as a change takes to settle, reading back is put off by others."""

_log: Final = structlog.get_logger(__name__)


class Firewalling:
    """Keeps one firewall in step; use it from one event loop."""

    def __init__(
        self,
        *,
        firewall: Firewall,
        work: PieceWork,
        lists: ListKeeper,
        own: OwnNetworks,
        node_time: NodeTime,
        pace: FirewallPace | None = None,
        is_real: bool = True,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the parts; unless `is_real`, packets are not touched, and no order is enforced."""
        self.is_real = is_real
        self._link = FirewallLink(firewall, work)
        self._pieces = PieceMaker(work, lists)
        self._time = node_time
        self._pace = pace or FirewallPace()
        self._seconds = seconds
        self._wake = asyncio.Event()
        self._pieces.on_done = self._wake.set
        self._own = OwnProtections(own, self._wake.set)
        self._proving: asyncio.Task[None] | None = None
        self._unproven_at: float | None = None
        self._planned: Plan | None = None
        self._recipe: Recipe | None = None
        self._right_at = seconds()
        """When it was last seen to hold what it should."""
        self._is_busy = True
        self._check_at = self._count_at = self._retry_at = -inf
        self._lease_ends_at = -inf
        self._curtailed_in: tuple[FirewallContent, tuple[int, ...]] = FirewallContent(), ()
        self._digest_of: tuple[FirewallContent | None, str | None] = None, None
        """What was read back last, and its digest."""
        self._without: frozenset[int] = frozenset()
        self._is_off = False
        self._has_gate = False
        self._said = ""
        self.problem = "nothing was brought yet"
        """Why it does not hold what it should; empty when it does."""
        self.plan: Callable[[], Plan | None] = lambda: None
        """Return what should hold now; the node sets it."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when there is something new to tell."""
        self.on_claimed: Callable[[], None] = lambda: None
        """Called when it is known what it holds, before anything is done to it."""

    @property
    def held_rows(self) -> frozenset[int]:
        """The orders that it holds, as far as is known, by entry index."""
        held = self._link.held
        return frozenset(row.index for row in held.rows) if held is not None else frozenset()

    @property
    def enforced(self) -> frozenset[int] | None:
        """The orders that the kernel took last, by entry index; None: it does not answer."""
        return self.held_rows if self._link.held is not None else None

    @property
    def local(self) -> LocalLayer:
        """What the operator's own protections are, as an attestation names them."""
        return self._own.layer if self.is_real else NO_LOCAL_LAYER

    def wake(self) -> None:
        """Have it look again at once: something has changed."""
        self._wake.set()

    def heed_gate(self, without: frozenset[int], *, is_off: bool, is_here: bool) -> None:
        """Hear which orders the gate has to leave out, and whether it blocks nothing at all.

        What the node attests as not enforced is not enforced here either. A gate that has just
        come may ask other resolvers than before, which are protected at once.
        """
        has_come, self._has_gate = is_here and not self._has_gate, is_here
        if has_come:
            self._own.look_soon()
        if has_come or (without, is_off) != (self._without, self._is_off):
            self._without, self._is_off = without, is_off
            self._wake.set()

    async def start(self) -> None:
        """Learn what an earlier process left, if that can be: plans go by it."""
        try:
            await self._claim()
        except EnforcerError as error:
            self._failed(error)

    async def run(self) -> None:
        """Keep it in step; it never returns."""
        cutting = asyncio.create_task(self._link.cutter.run())
        try:
            while True:
                self._wake.clear()
                self._is_busy = True
                try:
                    await self._round()
                except EnforcerError as error:
                    self._failed(error)
                self._is_busy = False
                self._say()
                self.on_change()
                try:
                    async with asyncio.timeout(self._pause_seconds()):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._own.close()
            for task in (self._proving, cutting):
                if task is not None:
                    task.cancel()
            await self._pieces.close()

    def is_settled(self, plan: Plan) -> bool:
        """Tell whether nothing is on its way that would change what is said of `plan`."""
        if not self.is_real or self._link.held is None:
            return True
        is_busy = self._is_busy or self._proving is not None or self._pieces.is_busy
        is_done = not (is_busy or self._wake.is_set())
        return is_done and self._recipe is not None and self._expected(plan) == self._given_rows()

    def word(self, plan: Plan) -> FirewallWord:
        """Return what to attest of it beside `plan`."""
        if not self.is_real:
            return FirewallWord()
        held = self._link.held
        if held is None:
            return FirewallWord(FirewallState.UNAVAILABLE, self._link.repairs)
        is_known = self._link.is_proven and self._digest_of[0] is held
        is_right = (
            not self.problem
            and is_known
            and held.rows == self._expected(plan)
            and self._recipe is not None
            and self._is_exact()
            and not (held.rows and plan.is_frozen)
            and plan.local == self.local
        )
        curtailed = self._curtailed(held)
        if not is_right:
            return FirewallWord(FirewallState.DIFFERS, self._link.repairs, None, curtailed)
        self._right_at = self._seconds()
        digest = self._digest_of[1]
        return FirewallWord(FirewallState.HOLDS, self._link.repairs, digest, curtailed)

    def view(self, plan: Plan | None) -> FirewallView:
        """Return what it holds and has stopped, for whoever shows it."""
        held = self._link.held or FirewallContent()
        word = self.word(plan) if plan is not None else FirewallWord(FirewallState.UNAVAILABLE)
        return FirewallView(
            state=word.state,
            problem=self.problem,
            unproven_seconds=self._seconds() - self._right_at,
            is_real=self.is_real,
            orders=len(held.rows),
            pieces=len(held.pieces),
            protected=tuple(map(str, self._own.networks or ())),
            curtailed=self._curtailed(held),
            repairs=self._link.repairs,
            lacks=self._link.lacks,
            counts=dict(self._link.counts),
        )

    async def _claim(self) -> None:
        await self._link.claim(LEASE_GRACE_SECONDS * 2)
        self.on_claimed()

    async def _round(self) -> None:
        now = self._seconds()
        if self._link.held is None:
            await self._claim()
            self._lease_ends_at = -inf
        is_due = now >= self._check_at
        await self._own.look(is_due=is_due)
        plan = self._planned = self.plan()
        if plan is None:
            self.problem = ""
            self._check_at = self._count_at = now + self._pace.retry_seconds
            return
        t_ms = self._time.now_ms()
        recipe = in_force(plan, t_ms, self._without)
        self._recipe = Recipe.of((), recipe.protections) if self._is_off else recipe
        if now >= self._retry_at and self._pieces.problem:
            self._pieces.retry()
            self._retry_at = now + self._pace.retry_seconds * 10
        self.problem = ""
        await self._bring(plan, t_ms)
        if self._are_few() and (is_due or not self._link.is_proven):
            if not await self._link.prove():
                self.on_change()
                await self._bring(plan, t_ms)
                await self._link.prove()
            self._check_at = self._seconds() + self._pace.check_seconds
        if self._are_few():
            await self._digest()
        elif self._proving is None and (now >= self._check_at or self._lacks_digest()):
            self._proving = asyncio.create_task(self._prove_beside())
            self._check_at = self._seconds() + self._pace.check_seconds
        if now >= self._count_at:
            await self._link.count()
            self._count_at = now + self._pace.count_seconds
        self.problem = self._pieces.problem if not self._is_exact() else ""

    async def _bring(self, plan: Plan, t_ms: int) -> None:
        """Have it hold what is wanted, as far as that can be had soon, for as long as it may."""
        held, recipe, protected = self._link.held, self._recipe, self._own.networks
        if held is None or recipe is None or protected is None:
            return
        content = await self._pieces.content(recipe, held)
        content = replace(content, protected=protected)
        lease_seconds = self._pace.lease_of(plan, t_ms)
        ends_at = self._seconds() + lease_seconds
        try:
            has_changed = await self._link.bring(content, lease_seconds)
        except EnforcerError:
            # Whatever it is that it does not take: what must end does not wait for that.
            await self._take_out(recipe, lease_seconds)
            raise
        if has_changed:
            self._lease_ends_at = ends_at
            if len(content.pieces) > PROVEN_AT_ONCE_MAX:
                self._settle()
            return
        late_seconds = ends_at - self._lease_ends_at
        if late_seconds > self._pace.lease_seconds / 4 or late_seconds < -1:
            await self._link.renew(lease_seconds)
            self._lease_ends_at = ends_at

    def _settle(self) -> None:
        """Have much be read back once nothing has changed for a while, but not put off for ever."""
        now = self._seconds()
        if self._unproven_at is None:
            self._unproven_at = now
        put_off_at_most = self._unproven_at + self._pace.settle_seconds * PUT_OFF_MAX
        self._check_at = min(now + self._pace.settle_seconds, max(put_off_at_most, now))

    async def _take_out(self, recipe: Recipe, lease_seconds: int) -> None:
        """Have it hold no more than what is wanted of what it held."""
        held = self._link.held
        if held is not None:
            less = await self._pieces.less(held, recipe)
            if less is not held:
                await self._link.bring(less, lease_seconds)

    async def _prove_beside(self) -> None:
        """Read much back; what must end in the meantime does not wait for that."""
        try:
            is_right = await self._link.prove()
            self._unproven_at = None
            await self._digest()
        except ConflictError:
            is_right = None  # it was changed meanwhile
        except UnavailableError as error:
            is_right = None
            self._failed(error)
        finally:
            self._proving = None
        if is_right is None:
            self._check_at = self._seconds() + self._pace.settle_seconds
        self._wake.set()

    def _lacks_digest(self) -> bool:
        is_known = self._digest_of[0] is self._link.held
        return self._link.is_proven and self._is_exact() and not is_known

    async def _digest(self) -> None:
        """Have at hand what to attest of what was read back, if that is what is wanted."""
        held = self._link.held
        if held is not None and self._lacks_digest():
            self._digest_of = held, await self._pieces.digest(held)

    def _are_few(self) -> bool:
        held = self._link.held
        return held is not None and len(held.pieces) <= PROVEN_AT_ONCE_MAX

    def _is_exact(self) -> bool:
        recipe = self._recipe
        return recipe is None or not recipe.rows or self._pieces.is_exact(recipe)

    def _pause_seconds(self) -> float:
        """Return how long nothing needs to be looked at, if nothing changes."""
        if self.problem or self._link.held is None:
            return self._pace.retry_seconds
        now = self._seconds()
        until = [self._check_at, self._count_at]
        t_ms = self._time.now_ms()
        if (next_ms := next_change_ms(self._planned, t_ms)) is not None:
            until.append(now + max(next_ms - t_ms, 1) / 1_000)
        return max(min(until) - now, 0.001)

    def _expected(self, plan: Plan) -> tuple[FirewallRow, ...]:
        """Return the rows that it must hold where `plan` is what is attested."""
        return Recipe.of(
            tuple(row for row in plan.attested_rows if row.ip_measure is not IpMeasure.NONE), None
        ).firewall_rows

    def _given_rows(self) -> tuple[FirewallRow, ...]:
        return self._recipe.firewall_rows if self._recipe is not None else ()

    def _curtailed(self, held: FirewallContent) -> tuple[int, ...]:
        if self._curtailed_in[0] is not held:
            self._curtailed_in = held, tuple(sorted(rows_within(held.pieces, held.protected)))
        return self._curtailed_in[1]

    def _failed(self, error: EnforcerError) -> None:
        self.problem = error.message
        if isinstance(error, UnavailableError):
            self._link.lost()

    def _say(self) -> None:
        """Log a problem when it is new, and when it is over."""
        if self.problem == self._said:
            return
        self._said = self.problem
        if self.problem:
            _log.error("the firewall differs from the ledger", problem=self.problem)
        else:
            _log.info("the firewall holds what the ledger says", orders=len(self.held_rows))
