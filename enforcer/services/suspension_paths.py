"""The ways by which a safety officer's act reaches a node, and the way on to the control plane.

Whoever brings an act is told what became of it. Always true: what is heeded is passed on until
the ledger has it or can no longer take it; and the control plane's refusal changes nothing here,
for a node goes by its own judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from enforcer.errors import EnforcerError, UnavailableError
from enforcer.ports import ControlLink
from enforcer.services.node_time import NodeTime
from enforcer.services.pace import DEFAULT_PACE, Pace
from enforcer.services.replica import Replica
from enforcer.services.suspensions import KeptAct, SuspensionKeeper, SuspensionOutcome

REVIEW_SECONDS: Final = 5.0
"""How often acts are judged again that wait for the ledger: their time may be over."""

_log: Final = structlog.get_logger(__name__)


class SuspensionPaths:
    """All paths of one node; `on_change` is called when something counts or counts no more."""

    def __init__(
        self,
        *,
        keeper: SuspensionKeeper,
        replica: Replica,
        time: NodeTime,
        control: ControlLink,
        operator: Callable[[], str | None],
        on_change: Callable[[], None],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        self._keeper = keeper
        self._replica = replica
        self._time = time
        self._control = control
        self._operator = operator
        self._on_change = on_change
        self._pace = pace
        self._wanted = asyncio.Event()
        self._refusals: dict[str, str] = {}
        """Act -> why the control plane refuses it; said once."""

    async def offer(self, envelope: bytes, documents: Sequence[bytes]) -> SuspensionOutcome:
        """Take a signed act; it counts, and is kept on disk, before this returns.

        Raises:
            InputError, RefusedError, ConflictError, NotFoundError: why it is not heeded.
            UnavailableError: too many acts wait for the ledger.
        """
        before = self._keeper.said
        outcome = self._keeper.offer(
            self._replica.state, self._operator(), envelope, documents, self._time.moment()
        )
        if self._keeper.said != before:
            self._on_change()
        self._wanted.set()
        await self._save()
        return outcome

    def review(self) -> None:
        """Judge all acts again, after the ledger or time went on."""
        before = self._keeper.said
        self._keeper.review(self._replica.state, self._operator(), self._time.moment())
        if self._keeper.said != before:
            self._on_change()
            self._wanted.set()

    async def run(self) -> None:
        """Pass on to the control plane what the ledger does not have; it never returns."""
        while True:
            self._wanted.clear()
            await self._save()
            for act in self._keeper.to_relay:
                await self._relay(act)
            seconds = None
            if self._keeper.kept:
                seconds = min(self._pace.relay_retry_seconds, REVIEW_SECONDS)
            try:
                async with asyncio.timeout(seconds):
                    await self._wanted.wait()
            except TimeoutError:
                self.review()

    async def _relay(self, act: KeptAct) -> None:
        try:
            reason = await asyncio.to_thread(self._keeper.reason, act)
            await self._control.push_suspension(act.envelope_bytes, [reason] if reason else [])
        except UnavailableError:
            return
        except EnforcerError as error:
            if self._refusals.get(act.sha256) != error.message:
                self._refusals = {act.sha256: error.message}
                _log.warning("the control plane refused an act", problem=error.message)
            return
        self._keeper.relayed(act)

    async def _save(self) -> None:
        """Keep what changed on disk, as far as the disk allows: heeding does not wait for it."""
        try:
            await asyncio.to_thread(self._keeper.save)
        except UnavailableError as error:
            _log.error("cannot keep a suspension", problem=error.message, advice=error.advice)
