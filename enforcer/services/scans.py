"""What guards find in the lists of one node's orders: scanned once each, by the worker process.

By the words of a list and the data that the policy pins; what past orders say is for `limits`,
which are asked here as well. An order that nobody has looked at yet does not begin, and one that
is at the gate already stays until it has been. Stops wait for nothing here.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import structlog

from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.life import OrderStatus
from enforcer.core.policy import Pins
from enforcer.core.state import OrderRecord, State
from enforcer.errors import EnforcerError
from enforcer.ports import GuardJob, ListWork
from enforcer.services.guarding import objections
from enforcer.services.limits import Limits
from enforcer.services.lists import ListKeeper
from enforcer.services.plan import is_concerned

SCANS_KEPT_MAX: Final = 65_536
"""Beyond it, what no order needs any more is forgotten; what one needs is always kept."""

_log: Final = structlog.get_logger(__name__)


class Scans:
    """The scans of one node; use it from one event loop."""

    def __init__(self, work: ListWork, lists: ListKeeper, *, blocks_names: bool = True) -> None:
        """Look at all orders; without a gate (`blocks_names`) at those alone that need none."""
        self._work = work
        self._lists = lists
        self._scans: dict[tuple[str, Pins], GuardScan] = {}
        self._due: deque[OrderRecord] = deque()
        self._due_pins: Pins | None = None
        self._blocks_names = blocks_names
        self.limits = Limits(work, lists, blocks_names=blocks_names)

    def objects(self, state: State, order: OrderRecord, pins: Pins) -> bool | None:
        """Tell whether a guard stands against an order; None: nobody has looked yet."""
        scan = self._scans.get((order.payload.target_list_sha256, pins))
        if scan is None:
            return None
        return bool(objections(order, scan, pins)) or self.limits.object(state, order)

    async def look(self, state: State, t_ms: int) -> bool:
        """Scan the next order that needs it and whose lists are here; tell whether there was one.

        Limits come behind: by them, too, an order is judged before it begins.

        All orders are walked when no more are due and when data changes, not for each scan.

        Raises:
            UnavailableError, IntegrityError, InputError: it could not be scanned.
        """
        if state.policy is None:
            return False
        pins = state.policy.payload.pins
        if not self._due or self._due_pins != pins:
            self._walk(state, pins, t_ms)
        while self._due:
            order = self._due[0]
            facts = GuardFacts(order.payload.target_list_sha256, pins)
            is_known = (facts.target_list_sha256, pins) in self._scans
            if is_known or not all(map(self._lists.has, facts.lists)):
                self._due.popleft()
                continue
            paths = {each: self._lists.path(each) for each in facts.lists}
            job = GuardJob(facts, paths, self._lists.salted(facts.lists))
            try:
                scan = await self._work.scan_guards(job)
            except EnforcerError as error:
                self._due.rotate(-1)  # the others need not wait for this one
                _log.warning("scanned no list", index=order.index, problem=error.message)
                raise
            self._due.popleft()
            self._scans[facts.target_list_sha256, pins] = scan
            if scan.counts:
                names = ", ".join(guard.name for guard in scan.guards)
                _log.warning("guards fire at an order", index=order.index, guards=names)
            return True
        return await self.limits.look(state, t_ms)

    def _walk(self, state: State, pins: Pins, t_ms: int) -> None:
        """Queue all orders that need a scan; forget scans that none of them needs."""
        live = [
            order
            for order in state.orders.values()
            if order.status in (OrderStatus.PROPOSED, OrderStatus.APPROVED)
            and order.until_ms > t_ms
            and is_concerned(order, blocks_names=self._blocks_names)
        ]
        if len(self._scans) > SCANS_KEPT_MAX:
            needed = {(order.payload.target_list_sha256, pins) for order in live}
            self._scans = {key: scan for key, scan in self._scans.items() if key in needed}
        self._due = deque(
            order for order in live if (order.payload.target_list_sha256, pins) not in self._scans
        )
        self._due_pins = pins
