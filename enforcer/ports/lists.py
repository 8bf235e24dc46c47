"""Work on whole lists, in other processes: checking, guards, tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enforcer.core.collateral import CollateralFound, CollateralJob
from enforcer.core.guard import GuardScan
from enforcer.core.guard_facts import GuardFacts
from enforcer.core.table import OrderRow
from enforcer.core.target import ListSummary
from enforcer.ports.feed import Delta


@dataclass(frozen=True, slots=True)
class CompileJob:
    """One table to be compiled from lists on disk: a base, or an overlay of one."""

    origin: str
    ledger_size: int
    time_floor_ms: int
    table_digest: str
    secret: bytes
    register_url: str
    register_domain: str
    orders: tuple[tuple[OrderRow, Path], ...]
    """The orders whose names go into the table; in an overlay those that its base lacks."""
    protected_core: tuple[str, Path] | None
    """A list's SHA-256, and where it is."""
    protected_names: tuple[str, Path] | None
    base_sha256: str | None = None
    """An overlay's base, by its ``body_sha256``; None: this is a base."""
    rows: tuple[OrderRow, ...] = ()
    """In an overlay all rows that count, those of `orders` and those of the base."""
    salted: frozenset[str] = frozenset()
    """Lists, by SHA-256, that begin with their salt: sealed ones, opened in memory."""


@dataclass(frozen=True, slots=True)
class TableStats:
    """What was compiled."""

    name_count: int
    bytes: int
    body_sha256: str


class SealedTable(Protocol):
    """A compiled table in memory that nobody can change any more; no disk has it."""

    def fileno(self) -> int:
        """Return its descriptor.

        Raises:
            ValueError: it was given back.
        """

    def close(self) -> None:
        """Give it back; a gate that has taken it keeps it. Again is no error."""


@dataclass(frozen=True, slots=True)
class GuardJob:
    """One order's list for guards to read, with all that they compare it with."""

    facts: GuardFacts
    paths: Mapping[str, Path]
    """Where each of ``facts.lists`` is, by SHA-256."""
    salted: frozenset[str] = frozenset()
    """Those that begin with their salt, as in a CompileJob."""


@dataclass(frozen=True, slots=True)
class CollateralWork:
    """One order's list to be compared with what is pinned and with other orders'."""

    job: CollateralJob
    paths: Mapping[str, Path]
    """Where each of ``job.lists`` is, by SHA-256."""
    salted: frozenset[str] = frozenset()
    """Those that begin with their salt, as in a CompileJob."""


class OpenedList(Protocol):
    """A sealed list that was opened: salt and text, in memory that nobody can change any more."""

    @property
    def path(self) -> Path:
        """Where this process and its workers can map it; no disk has it."""

    def close(self) -> None:
        """Give it back; whoever has it mapped keeps it. Again is no error."""


class ListWork(Protocol):
    """Work on whole lists; in another process, one job at a time, in order, but for overlays.

    Raises UnavailableError when the process died; the next call starts another.
    """

    async def check_list(self, path: Path) -> ListSummary:
        """Check a canonical target list.

        Raises:
            InputError: the first line that is wrong.
        """

    async def open_list(
        self, sealed: Path, secret: str, sha256: str
    ) -> tuple[OpenedList, ListSummary]:
        """Open a sealed list in memory, with its identity's secret, and check it.

        `sha256` is that of salt and text together. No error says anything of what is in it.

        Raises:
            IntegrityError: it does not open with this secret, or to something else.
            InputError: it is not canonical.
        """

    async def compile(self, job: CompileJob) -> tuple[SealedTable, TableStats]:
        """Compile a base table.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: an order, or all together, have no place in a table.
        """

    async def scan_guards(self, job: GuardJob) -> GuardScan:
        """Let guards read an order's list.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: a list is not canonical.
        """

    async def diff_lists(self, base: Path, path: Path, to: Path) -> bool:
        """Write to `to` what the list at `path` differs in from that at `base`.

        Both are checked lists, named by their SHA-256. False, and nothing is written: the list
        is short, or differs in too much.

        Raises:
            IntegrityError: a list does not have its hash.
        """

    async def patch_list(self, base: Path, delta: AsyncIterator[bytes], target: Path) -> None:
        """Make the list that `target` names of the one at `base` and a delta.

        Nobody vouches for the delta. What `delta` raises is raised.

        Raises:
            InputError: it is no delta of this base.
            IntegrityError: the base, or what was made, has not its hash (``expected``); nothing
                is kept.
        """

    async def near_lists(
        self, of: Sequence[str], paths: Mapping[str, Path], salted: frozenset[str]
    ) -> dict[str, frozenset[str]]:
        """Return for each list of `of` those in `paths` that may share a target with it.

        `paths` says where each is, by SHA-256; those of `salted` begin with their salt. None that
        shares one is left out; a list shares all of its own.
        """

    async def scan_collateral(self, work: CollateralWork) -> CollateralFound:
        """Compare an order's list with all that is known of addresses.

        Raises:
            IntegrityError: a list does not have its hash, which is ``expected`` in the data.
            InputError: a list is not canonical.
        """

    async def compile_overlay(self, job: CompileJob) -> tuple[SealedTable, TableStats]:
        """Compile an overlay, at once, whatever else is being worked on; as `compile` otherwise."""


class DeltaFiles(Protocol):
    """A control plane's deltas on disk; any may get lost, and is made again."""

    def path(self, delta: Delta) -> Path:
        """Return where a delta is, or would be."""

    def has(self, delta: Delta) -> bool:
        """Tell whether a delta is here."""

    def chunks(self, delta: Delta) -> Iterator[bytes]:
        """Yield a delta's octets; they are not verified.

        Raises:
            InputError: it is named by no two SHA-256.
            NotFoundError: it is not here.
        """

    def keep_only(self, deltas: Collection[Delta]) -> None:
        """Remove all others."""
