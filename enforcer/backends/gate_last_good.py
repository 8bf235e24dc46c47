"""The tables that a restarted gate begins with, on its disk.

Owns the files, and a child process that writes them: queries and requests never wait for a disk,
and what is newer replaces what waits to be written, once a second at most, since a copy of this
process costs more than an overlay. A disk that keeps nothing is said, counted, and tried again;
the tables are in force all the same.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import structlog

from enforcer.backends.durable import (
    PRIVATE_MODE,
    remove_quietly,
    reporting,
    sync_directory,
    temporary_of,
)
from enforcer.backends.forked import forked
from enforcer.backends.gate_messages import TABLE_BYTES_MAX, seal
from enforcer.backends.gate_table import HeldTable, Tables, laid_over, tables_of
from enforcer.backends.watch import Watch
from enforcer.errors import NotFoundError, UnavailableError

BASE_NAME: Final = "last-good.table"
OVERLAY_NAME: Final = "last-good.overlay"
COPY_BYTES: Final = 1 << 24
RETRY_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 1.0
"""From the start of one child to the next: what a crash takes back, at most."""
WRITER_NICE: Final = 19
"""Behind the loops, which may have to share a processor with it."""

log: Final = structlog.get_logger()


class LastGood:
    """The files in the state directory; one process at a time writes them."""

    def __init__(self, state_dir: Path) -> None:
        self._base = state_dir / BASE_NAME
        self._overlay = state_dir / OVERLAY_NAME

    def keep(self, tables: Tables, *, with_base: bool) -> None:
        """Put the very octets that are in use on the disk, durably; the base only if that is due.

        A crash between the two files leaves an overlay of another base, which does not count.

        Raises:
            UnavailableError: the disk is full or failed; each file there is as it was.
        """
        if with_base:
            _write(self._base, tables.base)
        if tables.overlay is not None:
            _write(self._overlay, tables.overlay)
        else:
            with reporting(self._overlay, "remove"):
                self._overlay.unlink(missing_ok=True)

    def open(self, origin: str) -> Tables:
        """Copy the base into sealed memory and check it as if it had just come.

        Raises:
            NotFoundError: there is none yet.
            IntegrityError: it is damaged or of another ledger.
            UnavailableError: it cannot be read.
        """
        fd = _sealed(self._base)
        try:
            return tables_of([fd], origin)
        finally:
            os.close(fd)

    def open_overlay(self, base: HeldTable, origin: str) -> Tables:
        """Return the base with the overlay that was kept, checked as if it had just come.

        Raises:
            NotFoundError: there is none.
            IntegrityError: it is damaged, or of another ledger or base.
            UnavailableError: it cannot be read.
        """
        fd = _sealed(self._overlay)
        try:
            return laid_over(base, fd, origin)
        finally:
            os.close(fd)


class Keeper:
    """Keeps what is newest, in one child after another; one thread uses it."""

    def __init__(self, last_good: LastGood, watch: Watch) -> None:
        self._last_good = last_good
        self._watch = watch
        self._wanted: Tables | None = None
        self._due_seconds = 0.0  # time.monotonic
        self._begun_seconds = -PAUSE_SECONDS  # time.monotonic: when the last child was started
        self._writing: tuple[int, int, Tables] | None = None  # pid, pidfd, what
        self._kept_base = ""  # the checksum of the base that is surely on the disk
        self.failures = 0
        """How often the disk kept nothing."""

    @property
    def is_writing(self) -> bool:
        """Whether a child is at work."""
        return self._writing is not None

    def keep(self, tables: Tables) -> None:
        """Have `tables` on the disk soon; does not wait."""
        self._wanted = tables
        self._due_seconds = self._begun_seconds + PAUSE_SECONDS

    def tend(self) -> float:
        """Start a child when that is due; return after how many seconds it will be."""
        if self._wanted is None or self.is_writing:
            return RETRY_SECONDS
        left_seconds = self._due_seconds - time.monotonic()
        if left_seconds > 0:
            return left_seconds
        self._begun_seconds = time.monotonic()
        tables, self._wanted = self._wanted, None
        with_base = tables.base.table.header.body_sha256 != self._kept_base
        pid = forked(
            lambda: self._write(tables, with_base=with_base),
            keeping=tables.fds,
            nice=WRITER_NICE,
        )
        process = os.pidfd_open(pid)
        self._writing = (pid, process, tables)
        self._watch.add(process, self._ended)
        return RETRY_SECONDS

    def finish(self, seconds_max: float) -> None:
        """Try what is not on the disk yet once more, and wait for it so long at most."""
        until_seconds = time.monotonic() + seconds_max
        self._due_seconds = 0.0
        while (self._wanted or self._writing) and (left := until_seconds - time.monotonic()) > 0:
            if not self.is_writing and self._due_seconds:
                return  # it has been tried
            self.tend()
            self._watch.turn(left)

    def _write(self, tables: Tables, *, with_base: bool) -> int:
        try:
            self._last_good.keep(tables, with_base=with_base)
        except UnavailableError as error:
            # In force all the same: only a restart would begin with an older one.
            log.warning("table_not_kept", problem=error.message, advice=error.advice)
            return 1
        return 0

    def _ended(self) -> None:
        if self._writing is None:
            return
        pid, process, tables = self._writing
        self._watch.forget(process)
        os.close(process)
        self._writing = None
        if os.waitpid(pid, 0)[1] == 0:
            self._kept_base = tables.base.table.header.body_sha256
            return
        self.failures += 1
        self._kept_base = ""
        if self._wanted is None:
            self._wanted = tables
            self._due_seconds = time.monotonic() + RETRY_SECONDS


def _write(path: Path, held: HeldTable) -> None:
    temporary = temporary_of(path)
    try:
        with reporting(path, "write"):
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with open(os.open(temporary, flags, PRIVATE_MODE), "wb", buffering=0) as file:
                written = 0
                while sent := os.sendfile(file.fileno(), held.fd, written, COPY_BYTES):
                    written += sent
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        remove_quietly(temporary)
        raise
    sync_directory(path.parent)


def _sealed(path: Path) -> int:
    """Return the descriptor of a sealed copy of a file."""
    with reporting(path, "look at"):  # the user that this became may not get there
        is_there = path.exists()
    if not is_there:
        raise NotFoundError(
            f"{path} does not exist",
            advice="Start the node: it hands over a table.",
            path=str(path),
        )
    fd = os.memfd_create("enforcer-last-good", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with reporting(path, "read"), path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size <= TABLE_BYTES_MAX:
                while os.sendfile(fd, file.fileno(), None, COPY_BYTES):
                    pass
        seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd
