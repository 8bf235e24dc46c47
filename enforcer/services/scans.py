"""What guards find in the lists of one node's orders: scanned once each, by the worker process.

By the words of a list and the data that the policy pins; what past orders say is for the control
plane and the audit. An order that nobody has looked at yet does not begin, and one that is at the
gate already stays until it has been. Stops wait for nothing here.
"""

from __future__ import annotations

from typing import Final

import structlog

from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.life import OrderStatus
from enforcer.core.policy import Pins
from enforcer.core.state import OrderRecord, State
from enforcer.errors import EnforcerError
from enforcer.ports import Contents, GuardJob, ListWork
from enforcer.services.guarding import objections
from enforcer.services.lists import ListKeeper

SCANS_MAX: Final = 65_536

_log: Final = structlog.get_logger(__name__)


class Scans:
    """The scans of one node; use it from one event loop."""

    def __init__(self, work: ListWork, contents: Contents, lists: ListKeeper) -> None:
        self._work = work
        self._contents = contents
        self._lists = lists
        self._scans: dict[tuple[str, Pins], GuardScan] = {}

    def objects(self, order: OrderRecord, pins: Pins) -> bool | None:
        """Tell whether a guard stands against an order; None: nobody has looked yet."""
        scan = self._scans.get((order.payload.target_list_sha256, pins))
        return None if scan is None else bool(objections(order, scan))

    async def look(self, state: State, t_ms: int) -> bool:
        """Scan the next order that needs it and whose lists are here; tell whether there was one.

        Raises:
            UnavailableError, IntegrityError, InputError: it could not be scanned.
        """
        if state.policy is None:
            return False
        pins = state.policy.payload.pins
        for order in state.orders.values():
            facts = GuardFacts(order.payload.target_list_sha256, pins)
            key = (facts.target_list_sha256, pins)
            is_due = order.status in (OrderStatus.PROPOSED, OrderStatus.APPROVED)
            if not is_due or order.until_ms <= t_ms or key in self._scans:
                continue
            if not all(map(self._lists.has, facts.lists)):
                continue
            paths = {each: self._contents.path(each) for each in facts.lists}
            try:
                scan = await self._work.scan_guards(GuardJob(facts, paths))
            except EnforcerError as error:
                _log.warning("scanned no list", index=order.index, problem=error.message)
                raise
            while len(self._scans) >= SCANS_MAX:
                del self._scans[next(iter(self._scans))]
            self._scans[key] = scan
            if scan.counts:
                names = ", ".join(guard.name for guard in scan.guards)
                _log.warning("guards fire at an order", index=order.index, guards=names)
            return True
        return False
