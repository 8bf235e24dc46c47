"""Work on whole lists, in a process of its own: :class:`enforcer.ports.ListWork`.

A list of millions of targets neither blocks the event loop nor grows the memory of the agent
or the control plane. One job at a time, in order; overlays alone, which are small, are compiled
in this process. A worker that dies fails the jobs it had; the next call starts another one. So
does a sealed list, which anybody may have made, that is not open in time. A worker ends with its
parent, however that ends; and, where that is wanted, when it has had nothing to do for a while.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, TypeVarTuple

from enforcer.backends import (
    collateral_scan,
    guard_groups,
    guard_scan,
    list_delta,
    list_sealed,
    list_tasks,
)
from enforcer.backends.list_export import Writing
from enforcer.backends.list_format import Reading
from enforcer.backends.list_report import NormaliseReport
from enforcer.backends.list_split import SplitReport
from enforcer.backends.sealed_table import SealedFile, path_of, writable
from enforcer.backends.worker_process import WorkerDiedError, WorkerProcess
from enforcer.core.collateral import CollateralFound
from enforcer.core.guard import GuardScan
from enforcer.core.target import ListSummary
from enforcer.errors import UnavailableError
from enforcer.ports import CollateralWork, CompileJob, GuardJob, TableStats

OPEN_SECONDS_MAX: Final = 120.0
"""For a sealed list: many times what the longest that there can be takes."""

SHORT_BYTES_MAX: Final = 1 << 16
"""A list of so much is checked in a millisecond: no process is started for it."""

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class ListWorker:
    """A process that works on lists; started by the first call, ended by `close`.

    Use it from one event loop. Leaving it as a context manager closes it.
    """

    def __init__(self, *, idle_seconds: float | None = None) -> None:
        """Make one whose process ends after `idle_seconds` without a job; None: never."""
        self._process: WorkerProcess | None = None
        self._idle_seconds = idle_seconds
        self._jobs = 0
        self._resting: asyncio.TimerHandle | None = None
        # Not one of the loop's threads, which may all be waiting for a slow disk.
        self._thread = ThreadPoolExecutor(1, "overlay")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the process now, so that the first call does not wait for it.

        Raises:
            UnavailableError: it died.
        """
        await self._run(os.getpid)

    async def check_list(self, path: Path) -> ListSummary:
        """Check a canonical target list; a short one in a thread of this process.

        Raises:
            InputError: the first line that is wrong (``line``, ``column``).
            UnavailableError: the worker died, or the file cannot be read.
        """
        if await asyncio.to_thread(_is_short, path):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, list_tasks.check_list, path)
        return await self._run(list_tasks.check_list, path)

    async def open_list(
        self, sealed: Path, secret: str, sha256: str
    ) -> tuple[SealedFile, ListSummary]:
        """Open a sealed list into sealed memory of this process; see :mod:`list_sealed`.

        Raises:
            IntegrityError: it does not open with this secret, or to something else.
            InputError: it is not canonical.
            UnavailableError: the worker died, it cannot be read, is not open within
                `OPEN_SECONDS_MAX`, or memory has run out.
        """
        with writable() as fd:
            place = list_tasks.Place(path_of(fd), os.fstat(fd).st_ino)
            summary = await self._run(
                list_sealed.open_at_within, place, sealed, secret, sha256, OPEN_SECONDS_MAX
            )
            return SealedFile(fd), summary

    async def compile(self, job: CompileJob) -> tuple[SealedFile, TableStats]:
        """Compile a base table into sealed memory of this process.

        Raises:
            IntegrityError: a list does not have the SHA-256 that its order names.
            InputError: a list or a field is wrong.
            UnavailableError: the worker died, a list cannot be read, or memory has run out.
        """
        with writable() as fd:
            # The worker writes into our memory by its name there: nothing is copied back.
            place = list_tasks.Place(path_of(fd), os.fstat(fd).st_ino)
            stats = await self._run(list_tasks.compile_at, place, job)
            return SealedFile(fd), stats

    async def compile_overlay(self, job: CompileJob) -> tuple[SealedFile, TableStats]:
        """Compile an overlay, in a thread of this process: it waits for no other job.

        Raises:
            IntegrityError: a list does not have the SHA-256 that its order names.
            InputError: a list or a field is wrong.
            UnavailableError: a list cannot be read, or memory has run out.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, list_tasks.compile_here, job)

    async def scan_guards(self, job: GuardJob) -> GuardScan:
        """Let guards read an order's list; see :mod:`guard_scan`.

        Raises:
            IntegrityError: a list does not have the SHA-256 that names it.
            InputError: a list is not canonical.
            UnavailableError: the worker died, a list cannot be read, or memory has run out.
        """
        return await self._run(guard_scan.scan_guards, job)

    async def near_lists(
        self, of: Sequence[str], paths: Mapping[str, Path], salted: frozenset[str]
    ) -> dict[str, frozenset[str]]:
        """Say which lists may share a target; see :mod:`guard_groups`.

        Raises:
            UnavailableError: the worker died, a list cannot be read, or memory has run out.
        """
        return await self._run(guard_groups.near_lists, of, paths, salted)

    async def diff_lists(self, base: Path, path: Path, to: Path) -> bool:
        """Write what a list differs in from another; see :mod:`list_delta`.

        Raises:
            IntegrityError: a list does not have the SHA-256 that names it.
            UnavailableError: the worker died, or a file cannot be read or written.
        """
        return await self._run(list_delta.diff, base, path, to)

    async def patch_list(self, base: Path, delta: AsyncIterator[bytes], target: Path) -> None:
        """Make a list of another and a delta; see :mod:`list_delta`.

        Raises:
            InputError: it is no delta of this base.
            IntegrityError: the base, or what was made, has not the SHA-256 that names it.
            UnavailableError: the worker died, or a file cannot be read or written.
        """
        async with list_delta.spooled(delta, target.parent) as changes:
            await self._run(list_delta.patch, base, changes, target)

    async def scan_collateral(self, work: CollateralWork) -> CollateralFound:
        """Compare an order's list with all that is known; see :mod:`collateral_scan`.

        Raises:
            IntegrityError: a list does not have the SHA-256 that names it.
            InputError: a list is not canonical.
            UnavailableError: the worker died, a list cannot be read, or memory has run out.
        """
        return await self._run(collateral_scan.scan_collateral, work)

    async def normalise(
        self, path_in: Path, path_out: Path, reading: Reading, report_path: Path | None = None
    ) -> NormaliseReport:
        """Write the canonical form of a list as people write it; see :mod:`list_import`.

        Raises:
            InputError: no target or over two million, too many bad lines, or an unknown format.
            UnavailableError: the worker died, or a file cannot be read or written.
        """
        return await self._run(list_tasks.normalise_list, path_in, path_out, reading, report_path)

    async def export(
        self, path_in: Path, path_out: Path, writing: Writing, report_path: Path | None = None
    ) -> NormaliseReport:
        """Write a canonical list in another format; see :mod:`list_export`.

        Raises:
            InputError: the list is not canonical, or nothing of it can be said in that format.
            UnavailableError: the worker died, or a file cannot be read or written.
        """
        return await self._run(list_tasks.export_list, path_in, path_out, writing, report_path)

    async def split(self, path_in: Path, path_guards: Path, path_out: Path) -> SplitReport:
        """Write a canonical list without the lines that guards named; see :mod:`list_split`.

        Raises:
            InputError: the list is not canonical, the report not of this list, or nothing is
                left.
            UnavailableError: the worker died, or a file cannot be read or written.
        """
        return await self._run(list_tasks.split_list, path_in, path_guards, path_out)

    async def close(self) -> None:
        """Finish the job at hand, drop those that wait, and end the process."""
        self._thread.shutdown(wait=False)
        self._stay()
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.close)

    async def _run(self, task: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        if self._process is None:
            self._process = WorkerProcess()
        process = self._process
        self._stay()
        self._jobs += 1
        try:
            return await asyncio.wrap_future(process.submit(task, *args))
        except WorkerDiedError as error:
            if self._process is process:  # or another call has started a new one already
                self._process = None
            process.retire()
            raise UnavailableError(
                "the worker process for lists has died",
                advice="Call again, it starts anew; if it dies again, look for the kernel's "
                f"out-of-memory messages, and for a sealed list that takes {OPEN_SECONDS_MAX:.0f} "
                "seconds to open.",
            ) from error
        finally:
            self._jobs -= 1
            if not self._jobs and self._idle_seconds is not None and self._process is process:
                loop = asyncio.get_running_loop()
                self._resting = loop.call_later(self._idle_seconds, self._rest)

    def _stay(self) -> None:
        """Do not end the process, if that was about to be."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _rest(self) -> None:
        """End the process that has nothing to do; the next job starts another."""
        self._resting = None
        process, self._process = self._process, None
        if process is not None and not self._jobs:
            process.retire()


def _is_short(path: Path) -> bool:
    """Tell whether a list is short; one that cannot be looked at is for the worker to tell."""
    try:
        return path.stat().st_size <= SHORT_BYTES_MAX
    except OSError:
        return False
