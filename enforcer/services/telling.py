"""The round that tells: what a node enforces is attested, and its status shown; soon, not first.

Owns when: all nodes wake by one change, and have one control plane. So each waits for its turn,
and longer with a word that says nothing else but how far it has read; what comes meanwhile is told
with it. The status waits for no turn. Nothing that enforces waits for any of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from enforcer.errors import EnforcerError
from enforcer.ports import KeptFiles
from enforcer.services.attest import Attester, FirewallWord, wait_seconds
from enforcer.services.firewalling import Firewalling
from enforcer.services.gate_rounds import GateRounds
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.replica import Replica

STATUS_FILE: Final = "status.json"

_log: Final = structlog.get_logger(__name__)


class Teller:
    """The words of one node; `status` makes the text of its status."""

    def __init__(
        self,
        *,
        attester: Attester,
        rounds: GateRounds,
        replica: Replica,
        time: NodeTime,
        firewall: Firewalling | None,
        files: KeptFiles,
        status: Callable[[], bytes],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._attester = attester
        self._rounds = rounds
        self._replica = replica
        self._time = time
        self._firewall = firewall
        self._files = files
        self._status = status
        self._pace = pace
        self._news = asyncio.Event()

    def hear(self) -> None:
        """Take note that there is something to tell, or to show."""
        self._news.set()

    async def run(self) -> None:
        """Attest what the gate has of the newest plan, and show the status; it never returns."""
        while True:
            is_shown = await self._await_turn()
            await self._attest()
            if not is_shown:
                await self._show()

    async def _await_turn(self) -> bool:
        """Wait for news, and for this node's turn to attest; tell whether all of it is shown."""
        await self._news.wait()
        seconds, soon = asyncio.get_running_loop().time, self._pace.show_after_seconds
        nodes = len(self._replica.state.keys)  # but for a few persons
        now = seconds()
        turn_at = now + wait_seconds(nodes, self._pace.tell_within_seconds_max)
        may_wait_until = turn_at + self._pace.tell_progress_seconds
        is_shown = False
        await asyncio.sleep(min(turn_at - now, soon))
        while (left := (turn_at if self._presses() else may_wait_until) - seconds()) > 0:
            if self._news.is_set():
                self._news.clear()
                await self._show()
                is_shown = True
                await asyncio.sleep(min(left, soon))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._news.wait()
        is_shown = is_shown and not self._news.is_set()
        self._news.clear()
        return is_shown

    def _presses(self) -> bool:
        """Tell whether there is more to say than how far this node has read."""
        told = self._rounds.told
        if told.plan is None:
            return True
        firewall = self._firewall.word(told.plan) if self._firewall else FirewallWord()
        effects = self._rounds.effects.newest(
            self._time.now_ms(), told.plan.t_ms, told.plan.ledger_size
        )
        return self._attester.presses(told.plan, told.state, firewall, effects)

    async def _attest(self) -> None:
        told = self._rounds.told
        plan, is_settled = told.plan, told.is_settled
        if plan is None:
            return
        firewall = FirewallWord()
        if self._firewall is not None:
            firewall = self._firewall.word(plan)
            is_settled = is_settled and self._firewall.is_settled(plan)
            self._rounds.look()
        # Before a word is out: a clock stepped back must not take back what it says.
        if self._time.is_due(plan.next_change_ms):
            await asyncio.to_thread(self._time.keep)
        effects = self._rounds.effects.newest(self._time.now_ms(), plan.t_ms, plan.ledger_size)
        if not self._attester.is_due(plan, told.state, firewall, effects, is_settled=is_settled):
            return
        # The replica may be ahead of what is attested.
        known = tuple(at for at in self._replica.ineffective if at < plan.ledger_size)
        self._attester.attest(plan, told.state, firewall, known, effects)

    async def _show(self) -> None:
        try:
            await asyncio.to_thread(self._files.show, STATUS_FILE, self._status())
        except EnforcerError as error:
            _log.error("cannot show the status", problem=error.message, advice=error.advice)
