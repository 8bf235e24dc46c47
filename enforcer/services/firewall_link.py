"""What the firewall was given and what it really holds: the node's memory of its firewall.

Owns how it is changed: by what differs alone, and as a whole only where others broke it. Refuses
to call anything held that was not read back since. Always true: `held` is what it holds as far
as is known, and None while it does not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final

import structlog

from enforcer.core.firewall import FirewallState
from enforcer.errors import ConflictError, UnavailableError
from enforcer.ports import (
    Firewall,
    FirewallChange,
    FirewallContent,
    FirewallCount,
    FirewallHolding,
    PieceWork,
)
from enforcer.services.firewall_cutting import ConnectionCutter

CHANGES_MAX: Final = 3
"""So often a change is tried that meets others' changes; then all is put in again."""

_log: Final = structlog.get_logger(__name__)


class FirewallLink:
    """One node's way to its firewall; one call at a time."""

    def __init__(self, firewall: Firewall, work: PieceWork) -> None:
        self._firewall = firewall
        self._work = work
        self._generation = 0
        self._changes = 0
        self._is_changing = False
        self.held: FirewallContent | None = None
        self.is_proven = False
        """Whether it was read back since it was changed last, and holds just that."""
        self.flaw = ""
        """What others have broken around the pieces; empty where nothing is."""
        self.repairs = 0
        """How often it turned out to hold something else than it was given."""
        self.lacks: tuple[str, ...] = ()
        """What the kernel cannot do of what was asked of it."""
        self.counts: Mapping[int, FirewallCount] = {}
        """What each order has stopped, by its entry index, when it was counted last."""
        self.cutter = ConnectionCutter(firewall, work, lambda: self.held)

    async def claim(self, lease_seconds: int) -> None:
        """Make it ours and learn what it holds, as an earlier process left it.

        Raises:
            ConflictError: another process has it.
            UnavailableError: it cannot be reached or read.
        """
        self._take(await self._firewall.claim(lease_seconds))

    def lost(self) -> None:
        """Forget what it holds: it did not answer, and must be claimed again."""
        self.held, self.is_proven, self.flaw = None, False, ""

    async def bring(self, content: FirewallContent, lease_seconds: int) -> bool:
        """Have it hold `content`, and what is newly blocked be cut; tell whether that was a change.

        Raises:
            UnavailableError: it did not take it.
            InputError: it never will.
        """
        for _ in range(CHANGES_MAX):
            if self.held is None:
                raise UnavailableError("the firewall is not claimed", advice="Claim it.")
            if self.flaw:
                break
            if is_same(self.held, content):
                return False
            removed, added = await self._work.diff(self.held.pieces, content.pieces)
            change = FirewallChange(content.rows, removed, added, content.protected)
            try:
                await self._give(content, self._firewall.apply(change, lease_seconds))
            except ConflictError:
                self._drifted(await self._firewall.read())
                continue
            self.cutter.add(added)
            return True
        await self._give(content, self._firewall.replace(content, lease_seconds))
        self.cutter.add(content.pieces)
        return True

    async def renew(self, lease_seconds: int) -> None:
        """Let what it holds count for so long from now."""
        await self._firewall.renew(lease_seconds)

    async def prove(self) -> bool | None:
        """Read it back, unless nothing was changed since; tell whether it holds what it was given.

        It may be called beside the others: None means that one of them changed it meanwhile.

        Raises:
            UnavailableError, ConflictError: it cannot be read.
        """
        changes = self._changes
        if self.is_proven and self._generation == await self._firewall.generation():
            return True
        holding = await self._firewall.read()
        if self._is_changing or changes != self._changes:
            return None
        is_right = self.held is not None and is_same(holding.content, self.held)
        if is_right and holding.state is not FirewallState.DIFFERS:
            self._take(holding)
            self.is_proven = True
            return True
        self._drifted(holding)
        return False

    async def count(self) -> None:
        """Ask what each order has stopped."""
        self.counts = await self._firewall.counts()

    async def _give(self, content: FirewallContent, call: Awaitable[None]) -> None:
        self._changes += 1
        self._is_changing = True
        try:
            await call
        finally:
            self._is_changing = False
        self.held, self.flaw, self.is_proven = content, "", False

    def _take(self, holding: FirewallHolding) -> None:
        self.held = holding.content
        self.lacks = holding.lacks
        self._generation = holding.generation
        self.flaw = holding.reason if holding.state is FirewallState.DIFFERS else ""
        self.is_proven = False

    def _drifted(self, holding: FirewallHolding) -> None:
        """Take in that others have changed it."""
        former = self.held
        self._take(holding)
        self.repairs += 1
        _log.error(
            "others have altered the firewall",
            problem=self.flaw or "it holds other rules than it was given",
            pieces_given=len(former.pieces) if former is not None else None,
            pieces_found=len(holding.content.pieces),
            repairs=self.repairs,
        )


def is_same(one: FirewallContent, other: FirewallContent) -> bool:
    """Tell whether two contents block the same."""
    return (
        one.rows == other.rows
        and one.pieces == other.pieces
        and set(one.protected) == set(other.protected)
    )
