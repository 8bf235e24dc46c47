"""New data, old orders: what a policy's new pins fire at is put on hold by an entry.

After each PolicyAdopted every order that was approved and has not ended is looked at again, in
the background. What the new data would have refused is held as well: nobody can lift that, so
it ends or is stopped. A restart goes on where a policy was not through yet.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from enforcer.core.policy import PolicyAdopted
from enforcer.core.state import OrderRecord
from enforcer.errors import EnforcerError
from enforcer.ports import KeptFiles
from enforcer.services.guards import Guards
from enforcer.services.keep_up import keep_up
from enforcer.services.ledger import Appended, Ledger

DONE_FILE: Final = "rechecked"
RETRY_SECONDS: Final = 30.0

log: Final = structlog.get_logger()


class Recheck:
    """Looks again at the orders of one ledger; `run` it beside everything else."""

    def __init__(self, ledger: Ledger, guards: Guards, files: KeptFiles) -> None:
        self._ledger = ledger
        self._guards = guards
        self._files = files
        self._wake = asyncio.Event()
        ledger.on_append(self._hear)

    async def run(self) -> None:
        """Recheck under each new policy; it never returns."""
        await keep_up(self._wake, self._catch_up, RETRY_SECONDS)

    def _hear(self, appended: Appended) -> None:
        if any(entry.kind == PolicyAdopted.__name__ for entry in appended.entries):
            self._wake.set()

    async def _catch_up(self) -> bool:
        """Recheck all orders if that is due; tell whether nothing is left to do."""
        policy = self._ledger.state.policy
        if policy is None:
            return True
        name = policy.payload_sha256.encode("ascii")
        try:
            if await asyncio.to_thread(self._files.read, DONE_FILE) == name:
                return True
            failed = await self._look_at_all()
            if failed or self._ledger.state.policy is not policy:
                return False
            await asyncio.to_thread(self._files.write, DONE_FILE, name)
        except EnforcerError as error:
            log.warning("recheck_failed", problem=error.message, advice=error.advice)
            return False
        log.info("rechecked", policy_index=policy.index)
        return True

    async def _look_at_all(self) -> int:
        """Look at every order that may block; return how many could not be looked at."""
        failed = 0
        for index in [each.index for each in self._ledger.state.orders.values()]:
            try:
                await self._look_at(index)
            except EnforcerError as error:
                failed += 1
                log.warning("order_not_rechecked", index=index, problem=error.message)
        return failed

    async def _look_at(self, index: int) -> None:
        """Put an order on hold if it may block and guards object to it by the present data."""
        order = self._ledger.state.orders[index]
        if order.approved_at_ms is None or not self._is_due(order):
            return
        held = await self._guards.look(order, order.approved_at_ms, by_pins_alone=True)
        order = self._ledger.state.orders[index]  # a list takes its time
        if held is not None and self._is_due(order) and not set(held.guards) <= order.holds:
            await self._guards.hold(order, held)

    def _is_due(self, order: OrderRecord) -> bool:
        return order.may_block_after(self._ledger.now_ms())
