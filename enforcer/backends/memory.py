"""A node's surroundings in memory: clock, gate, control plane, and list work without a process.

Real behaviour, for tests and small tools: the gate reads real tables and answers names by
them, and refuses what the real one refuses. What a test may turn (time, who is away) is public.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from enforcer._native.probe import Table
from enforcer.backends import (
    collateral_scan,
    guard_groups,
    guard_scan,
    list_delta,
    list_sealed,
    list_tasks,
)
from enforcer.backends.sealed_table import SealedFile
from enforcer.core.collateral import CollateralFound
from enforcer.core.guard import GuardScan
from enforcer.core.name import Name
from enforcer.core.target import ListSummary
from enforcer.core.verdict import Action
from enforcer.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.ports import (
    CollateralWork,
    CompileJob,
    Delta,
    GateMode,
    GateReport,
    GuardJob,
    ModeOverride,
    SealedTable,
    TableStats,
)

_A: Final = 1  # RFC 1035 §3.2.2


@dataclass
class ManualClock:
    """A clock that a test sets and steps; real time goes on in `passed_ms` alone."""

    ms: int
    passed_ms: int = 0

    def now_ms(self) -> int:
        """Return the time that was set."""
        return self.ms

    def monotonic_ms(self) -> int:
        """Return how much time has passed."""
        return self.passed_ms

    def advance(self, ms: int) -> None:
        """Let time pass, and the clock go with it."""
        self.ms += ms
        self.passed_ms += ms


class InlineListWork:
    """:class:`enforcer.ports.ListWork` in a thread of this process."""

    def __init__(self) -> None:
        self.is_away = False
        self.may_compile = asyncio.Event()
        self.may_compile.set()
        self.bases: list[CompileJob] = []
        self.overlays: list[CompileJob] = []
        self.scans: list[GuardJob] = []
        self.compared: list[tuple[str, str]] = []
        """Pairs of lists that were compared, by SHA-256."""
        """How many lists each grouping was of."""

    async def check_list(self, path: Path) -> ListSummary:
        """Check a canonical target list.

        Raises:
            InputError: the first line that is wrong.
        """
        self._check_away()
        return await asyncio.to_thread(list_tasks.check_list, path)

    async def open_list(
        self, sealed: Path, secret: str, sha256: str
    ) -> tuple[SealedFile, ListSummary]:
        """Open a sealed list in memory.

        Raises:
            IntegrityError: it does not open with this secret, or to something else.
            InputError: it is not canonical.
        """
        self._check_away()
        return await asyncio.to_thread(list_sealed.open_here, sealed, secret, sha256)

    async def compile(self, job: CompileJob) -> tuple[SealedFile, TableStats]:
        """Compile a base table.

        Raises:
            IntegrityError: a list does not have the hash that its order names.
        """
        self._check_away()
        self.bases.append(job)
        await self.may_compile.wait()
        return await asyncio.to_thread(list_tasks.compile_here, job)

    async def diff_lists(self, base: Path, path: Path, to: Path) -> bool:
        """Write what a list differs in from another.

        Raises:
            IntegrityError: a list does not have the hash that names it.
        """
        self._check_away()
        return await asyncio.to_thread(list_delta.diff, base, path, to)

    async def patch_list(self, base: Path, delta: AsyncIterator[bytes], target: Path) -> None:
        """Make a list of another and a delta.

        Raises:
            InputError: it is no delta of this base.
            IntegrityError: the base, or what was made, has not the hash that names it.
        """
        self._check_away()
        async with list_delta.spooled(delta, target.parent) as changes:
            await asyncio.to_thread(list_delta.patch, base, changes, target)

    async def scan_collateral(self, work: CollateralWork) -> CollateralFound:
        """Compare an order's list with all that is known of addresses.

        Raises:
            IntegrityError: a list does not have the hash that names it.
        """
        self._check_away()
        return await asyncio.to_thread(collateral_scan.scan_collateral, work)

    async def scan_guards(self, job: GuardJob) -> GuardScan:
        """Let guards read an order's list.

        Raises:
            IntegrityError: a list does not have the hash that names it.
        """
        self._check_away()
        self.scans.append(job)
        return await asyncio.to_thread(guard_scan.scan_guards, job)

    async def near_lists(
        self, of: Sequence[str], paths: Mapping[str, Path], salted: frozenset[str]
    ) -> dict[str, frozenset[str]]:
        """Say which lists may share a target."""
        self._check_away()
        self.compared += [(each, other) for each in of for other in paths]
        return await asyncio.to_thread(guard_groups.near_lists, of, paths, salted)

    async def compile_overlay(self, job: CompileJob) -> tuple[SealedFile, TableStats]:
        """Compile an overlay: it waits for nothing.

        Raises:
            IntegrityError: a list does not have the hash that its order names.
        """
        self.overlays.append(job)
        return await asyncio.to_thread(list_tasks.compile_here, job)

    def _check_away(self) -> None:
        if self.is_away:
            raise UnavailableError("the worker died", advice="Call again.")


class MemoryGate:
    """:class:`enforcer.ports.Gate`: holds a table, and judges names by it and its own clock."""

    def __init__(self, clock: ManualClock) -> None:
        self.is_away = False
        self.mode = GateMode.ENFORCE
        self.override: ModeOverride | None = None
        self.loads = 0
        """How often tables were taken, and how often a base was among them."""
        self.bases = 0
        self.verifications = 0
        self.golden: frozenset[str] = frozenset()
        """Names that no table may block."""
        self._clock = clock
        self._table: Table | None = None
        self._floor_ms = 0

    async def load(self, base: SealedTable, overlay: SealedTable | None = None) -> GateReport:
        """Take a base, and its overlay.

        Raises:
            IntegrityError: a table is damaged.
            ConflictError: they are older than what is held.
        """
        self._check_away()
        table = Table(_octets(base))
        self._take(table if overlay is None else table.with_overlay(_octets(overlay)))
        self.bases += 1
        return await self.status()

    async def overlay(self, overlay: SealedTable) -> GateReport:
        """Lay an overlay over the base that is held.

        Raises:
            IntegrityError: it is damaged, or another base's, or there is no base.
            ConflictError: it is older than what is held.
        """
        self._check_away()
        if self._table is None:
            raise IntegrityError("there is no base", advice="Hand over a base first.")
        self._take(self._table.with_overlay(_octets(overlay)))
        return await self.status()

    def _take(self, table: Table) -> None:
        header = table.overlay_header or table.header
        if self._table is not None and _age(table) < _age(self._table):
            raise ConflictError(
                "the table is older",
                advice="Hand over a newer one.",
                present_time_floor_ms=_age(self._table)[1],
            )
        for name in sorted(self.golden):
            t_ms = max(self._clock.now_ms(), header.time_floor_ms)
            verdict = table.decide(Name.from_text(name).wire, _A, t_ms)
            if verdict.action is not Action.PASS and verdict.order is not None:
                raise RefusedError(
                    f"the table is refused: its order {verdict.order.order_id} blocks {name}",
                    advice="Take the name out of the golden names.",
                    order_index=verdict.order.index,
                )
        self._table = table
        self.loads += 1
        self._floor_ms = max(self._floor_ms, header.time_floor_ms)

    async def status(self, *, verify: bool = False) -> GateReport:
        """Tell what is held, and count how often that had to be verified."""
        self._check_away()
        self.verifications += verify
        if self._table is None:
            return GateReport("", "", 0, 0, (), {}, {}, mode=self.mode)
        base, overlay = self._table.header, self._table.overlay_header
        header = overlay or base
        return GateReport(
            table_digest=header.table_digest,
            body_sha256=base.body_sha256,
            ledger_size=header.ledger_size,
            name_count=header.name_count,
            rows=tuple(self._table.orders()),
            counters={},
            order_counters={},
            overlay_sha256=overlay.body_sha256 if overlay is not None else "",
            mode=self.mode,
            override=self.override,
        )

    def blocks(self, name: str) -> bool:
        """Tell whether an A query for the name is blocked now."""
        if self._table is None:
            return False
        t_ms = max(self._clock.now_ms(), self._floor_ms)
        verdict = self._table.decide(Name.from_text(name).wire, _A, t_ms)
        return verdict.action is Action.BLOCK

    def restart(self) -> None:
        """Lose the table, as a gate does that starts with an empty disk."""
        self._table = None

    def _check_away(self) -> None:
        if self.is_away:
            raise UnavailableError("the gate does not answer", advice="Start it.")


@dataclass
class MemoryControl:
    """:class:`enforcer.ports.ControlLink`: keeps what it is given."""

    is_away: bool = False
    refuses_stops: bool = False
    attestations: list[bytes] = field(default_factory=list)
    stops: list[bytes] = field(default_factory=list)
    suspensions: list[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=list)
    cosigned: list[bytes] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)
    deltas: dict[Delta, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The lists and deltas that it was asked for, by SHA-256."""
    wraps: dict[tuple[str, str], bytes] = field(default_factory=dict)

    async def attest(self, envelope: bytes) -> None:
        """Keep an attestation."""
        self._check_away()
        self.attestations.append(envelope)

    async def push_stop(self, envelope: bytes) -> None:
        """Keep a stop.

        Raises:
            RefusedError: it was told to refuse.
        """
        self._check_away()
        if self.refuses_stops:
            raise RefusedError("the stop is refused", advice="Sign another.")
        self.stops.append(envelope)

    async def push_suspension(self, envelope: bytes, documents: Sequence[bytes]) -> None:
        """Keep a safety officer's act.

        Raises:
            RefusedError: it was told to refuse.
        """
        self._check_away()
        if self.refuses_stops:
            raise RefusedError("the act is refused", advice="Sign another.")
        self.suspensions.append((envelope, tuple(documents)))

    async def add_cosignature(self, note: bytes) -> None:
        """Keep a checkpoint with a cosignature."""
        self._check_away()
        self.cosigned.append(note)

    async def list_chunks(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a target list's bytes.

        Raises:
            NotFoundError: it has no such list.
        """
        self._check_away()
        self.asked.append(sha256)
        if sha256 not in self.lists:
            raise NotFoundError(f"there is no list {sha256}", advice="Upload it.")
        yield self.lists[sha256]

    async def delta_chunks(self, sha256: str, base_sha256: str) -> AsyncIterator[bytes]:
        """Yield what a list differs in from another.

        Raises:
            NotFoundError: it has no such delta.
        """
        self._check_away()
        self.asked.append(sha256)
        if (sha256, base_sha256) not in self.deltas:
            raise NotFoundError(f"there is no delta to {sha256}", advice="Take the list.")
        yield self.deltas[sha256, base_sha256]

    async def wrap(self, sealed_sha256: str, key_id: str) -> bytes:
        """Return the wrap of a sealed list for one receiver.

        Raises:
            NotFoundError: it has no such wrap.
        """
        self._check_away()
        if (sealed_sha256, key_id) not in self.wraps:
            raise NotFoundError(f"there is no wrap of {sealed_sha256}", advice="Put it.")
        return self.wraps[sealed_sha256, key_id]

    def _check_away(self) -> None:
        if self.is_away:
            raise UnavailableError("the control plane is away", advice="Start it.")


def _octets(table: SealedTable) -> bytes:
    return os.pread(table.fileno(), os.fstat(table.fileno()).st_size, 0)


def _age(table: Table) -> tuple[int, int]:
    header = table.overlay_header or table.header
    return header.ledger_size, header.time_floor_ms
