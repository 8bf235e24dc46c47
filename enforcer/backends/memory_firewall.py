"""The firewall in memory: the same contract as in the kernel, and it judges packets.

Owns what the kernel would hold, in the open, so that a test can change it behind the owner's
back, and asks "would this pass?" instead of "was this called?". The same cases run on this and
on a real kernel (tests/backends/test_firewall.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from enum import IntEnum

from enforcer.core.firewall import (
    LEASE_SECONDS_MAX,
    PIECE_OCTETS,
    FirewallState,
    Pieces,
    check_pieces,
    check_rows,
    unpack_pieces,
)
from enforcer.core.network import Address
from enforcer.core.table import IpMeasure
from enforcer.errors import ConflictError, InputError, UnavailableError
from enforcer.ports import Clock, FirewallChange, FirewallContent, FirewallCount, FirewallHolding


class Hook(IntEnum):
    """Where a packet is judged, and so by which of its addresses."""

    UNSPECIFIED = 0
    FORWARD = 1
    INPUT = 2
    OUTPUT = 3


class FirewallMemory:
    """What stays when the process that made it has ended."""

    def __init__(self) -> None:
        self.is_away = False
        self.owner: object = None
        self.content: FirewallContent | None = None
        self.flaw = ""
        """What another tool has broken around the pieces."""
        self.generation = 1
        self.lease_ends_ms = 0
        self.counts: dict[int, FirewallCount] = {}
        self.cuts: list[Pieces] = []

    def flush(self) -> None:
        """Lose everything, as `nft flush ruleset` does."""
        self.content, self.flaw, self.counts = None, "", {}
        self.generation += 1

    def edit(self, pieces: Pieces) -> None:
        """Put other pieces in, as a tool does that knows nothing of orders."""
        held = self.content or FirewallContent()
        self.content = FirewallContent(held.rows, pieces, held.protected)
        self.generation += 1


class MemoryFirewall:
    """:class:`enforcer.ports.Firewall` on a :class:`FirewallMemory`."""

    def __init__(
        self, memory: FirewallMemory, clock: Clock, *, packets_are_touched: bool = True
    ) -> None:
        self.memory = memory
        self._clock = clock
        self._is_real = packets_are_touched

    async def claim(self, lease_seconds: int) -> FirewallHolding:
        """Make it ours and read it.

        Raises:
            ConflictError: another has it.
        """
        self._check()
        if self.memory.owner not in (None, self):
            raise ConflictError("another process has the firewall", advice="End that process.")
        self.memory.owner = self
        if self.memory.content is None:
            self.memory.content = FirewallContent()
            self.memory.generation += 1
        await self.renew(lease_seconds)
        return await self.read()

    async def apply(self, change: FirewallChange, lease_seconds: int) -> None:
        """Make one change, whole or not at all."""
        held = self._claimed()
        if held is None or self.memory.flaw:
            raise ConflictError("the firewall is not as it was left", advice="Read it.")
        check_rows((*change.rows,), change.protected)
        check_pieces(change.added, change.rows)
        check_pieces(change.removed, held.rows)
        pieces = Pieces(
            *(
                _changed(
                    held.pieces.packed(version),
                    change.removed.packed(version),
                    change.added.packed(version),
                    PIECE_OCTETS[version],
                )
                for version in PIECE_OCTETS
            )
        )
        try:
            check_pieces(pieces, change.rows)
        except InputError as error:
            raise ConflictError(error.message, advice="Read it.", **error.data) from error
        await self.renew(lease_seconds)
        self._set(FirewallContent(change.rows, pieces, change.protected))

    async def replace(self, content: FirewallContent, lease_seconds: int) -> None:
        """Put `content` in the place of all that it holds."""
        self._claimed()
        check_rows(content.rows, content.protected)
        check_pieces(content.pieces, content.rows)
        await self.renew(lease_seconds)
        self.memory.flaw, self.memory.counts = "", {}
        self._set(content)

    async def renew(self, lease_seconds: int) -> None:
        """Let what it holds count for so long from now."""
        self._claimed()
        if not 1 <= lease_seconds <= LEASE_SECONDS_MAX:
            raise InputError(
                f"a lease of {lease_seconds} s",
                advice=f"Give 1 to {LEASE_SECONDS_MAX} seconds.",
                field="lease_seconds",
            )
        self.memory.lease_ends_ms = self._clock.monotonic_ms() + lease_seconds * 1_000

    async def cut(self, pieces: Pieces) -> int:
        """Remember whose connections were to end; there are none here."""
        self._claimed()
        self.memory.cuts.append(pieces)
        return 0

    async def read(self) -> FirewallHolding:
        """Read all that it holds."""
        content = self._claimed()
        flaw = self.memory.flaw or ("" if content is not None else "the table is gone")
        state = FirewallState.DIFFERS if flaw else FirewallState.HOLDS
        if not self._is_real:
            state = FirewallState.NONE
        return FirewallHolding(state, flaw, content or FirewallContent(), self.memory.generation)

    async def generation(self) -> int:
        """Return the number that a holding would have now."""
        self._claimed()
        return self.memory.generation

    async def counts(self) -> Mapping[int, FirewallCount]:
        """Return what each row has stopped."""
        content = self._claimed() or FirewallContent()
        nothing = FirewallCount(0, 0)
        return {row.index: self.memory.counts.get(row.index, nothing) for row in content.rows}

    async def close(self) -> None:
        """Let go of it; what it holds stays."""
        if self.memory.owner is self:
            self.memory.owner = None

    def judge(
        self, source: Address, destination: Address, hook: Hook = Hook.FORWARD, octets: int = 100
    ) -> IpMeasure:
        """Send one packet and return what happens to it; NONE: it passes."""
        content = self.memory.content
        if content is None or self._clock.monotonic_ms() >= self.memory.lease_ends_ms:
            return IpMeasure.NONE
        row = _row_of(content, destination) if hook is not Hook.INPUT else 0
        is_to = row > 0
        if not row and hook is not Hook.OUTPUT:
            row = _row_of(content, source)
        if not row or not self._is_real:
            return IpMeasure.NONE
        count = self.memory.counts.get(row, FirewallCount(0, 0))
        self.memory.counts[row] = FirewallCount(count.packets + 1, count.octets + octets)
        measure = next(each.measure for each in content.rows if each.index == row)
        return measure if is_to else IpMeasure.DROP

    def _set(self, content: FirewallContent) -> None:
        rows = {row.index for row in content.rows}
        self.memory.counts = {
            index: count for index, count in self.memory.counts.items() if index in rows
        }
        self.memory.content = content
        self.memory.generation += 1

    def _claimed(self) -> FirewallContent | None:
        self._check()
        if self.memory.owner is not self:
            raise ConflictError("the firewall is not claimed", advice="Claim it first.")
        return self.memory.content

    def _check(self) -> None:
        if self.memory.is_away:
            raise UnavailableError("the firewall is away", advice="Call `is_away = False`.")


def _row_of(content: FirewallContent, address: Address) -> int:
    if any(address in network for network in content.protected):
        return 0
    packed = content.pieces.packed(address.version)
    pieces = list(unpack_pieces(packed, address.version))
    at = bisect_right(pieces, int(address), key=lambda piece: piece[0]) - 1
    return pieces[at][2] if at >= 0 and int(address) <= pieces[at][1] else 0


def _changed(held: bytes, removed: bytes, added: bytes, size: int) -> bytes:
    records = {held[at : at + size] for at in range(0, len(held), size)}
    for at in range(0, len(removed), size):
        if removed[at : at + size] not in records:
            raise ConflictError("it does not hold what is taken out", advice="Read it.")
        records.remove(removed[at : at + size])
    for at in range(0, len(added), size):
        if added[at : at + size] in records:
            raise ConflictError("it holds already what is brought", advice="Read it.")
        records.add(added[at : at + size])
    return b"".join(sorted(records))
