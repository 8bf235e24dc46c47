"""Who serves a ledger and who stands by: one small file for each process, below the ledger.

A mark says what its process does, and its heartbeat in the kernel's time since boot, which no clock
change moves. It is only for people and other processes of this host to read: the right to write
is the ledger's lock, and nothing else. Always true: a mark that nobody locks is of a dead
process, and goes away when another is made.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from enforcer.backends import durable
from enforcer.errors import UnavailableError

FOLDER: Final = "control"
MARK_BYTES: Final = 8_192
PROBLEM_CHARACTERS_MAX: Final = 1_000
SERVING: Final = "SERVING"
STANDBY: Final = "STANDBY"
SILENT_MS_MAX: Final = 5_000
"""So long may who serves say nothing before that is told."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a control plane's process says of itself."""

    pid: int
    does: str
    """`SERVING` or `STANDBY`."""
    size: int
    """Entries that it has folded."""
    settings: Mapping[str, str]
    """Hashes of what control planes of one ledger must have in common, by name."""
    problem: str = ""
    beat_ms: int = 0
    """CLOCK_BOOTTIME when it said so."""

    @property
    def silent_ms(self) -> int:
        """For how long it has said nothing."""
        return max(_boot_ms() - self.beat_ms, 0)


class MarkFile:
    """The mark of this process; a context manager that takes it away."""

    def __init__(self, ledger_dir: Path) -> None:
        """Make it once something is said; those of dead processes go."""
        folder = ledger_dir / FOLDER
        for path, _ in _found(folder):
            if (descriptor := _of_the_dead(path)) is not None:
                durable.remove_quietly(path)
                os.close(descriptor)
        self._path = folder / f"{secrets.token_hex(8)}.json"
        self._descriptor = -1

    def say(self, mark: Mark) -> None:
        """Say it now; failing is no harm, as then this process is taken for a silent one.

        A ledger is opened and served on a full disk, too.
        """
        if self._descriptor < 0:
            with suppress(OSError, UnavailableError):
                self._make()
        changes = {"problem": mark.problem[:PROBLEM_CHARACTERS_MAX], "beat_ms": _boot_ms()}
        said = json.dumps(asdict(mark) | changes).encode()
        # In its place: a full disk takes that too. A torn one is read again.
        with suppress(OSError):
            os.pwrite(self._descriptor, said.ljust(MARK_BYTES), 0)

    def close(self) -> None:
        """Take it away; again is harmless."""
        if self._descriptor >= 0:
            durable.remove_quietly(self._path)
            os.close(self._descriptor)
            self._descriptor = -1

    def _make(self) -> None:
        durable.make_directory(self._path.parent)
        # Locked under a name that nobody looks for, so nobody can take it for a dead one's.
        hidden = durable.temporary_of(self._path)
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, durable.PUBLIC_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            hidden.rename(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def marks(ledger_dir: Path) -> list[Mark]:
    """Return the marks of the processes that live, who serves first."""
    found = [mark for _, mark in _found(ledger_dir / FOLDER) if mark is not None]
    return sorted(found, key=lambda mark: (mark.does != SERVING, mark.pid))


def serving(ledger_dir: Path) -> Mark | None:
    """Return the mark of the process that serves the ledger, if there is one."""
    return next((mark for mark in marks(ledger_dir) if mark.does == SERVING), None)


def _found(folder: Path) -> Iterator[tuple[Path, Mark | None]]:
    """Yield each mark's file, with what it says if its process lives."""
    for path in sorted(folder.glob("[!.]*.json")):
        descriptor = _of_the_dead(path)
        if descriptor is not None:
            os.close(descriptor)
            yield path, None
            continue
        with suppress(OSError, ValueError, TypeError):
            data = path.read_bytes()
            yield path, Mark(**json.loads(data))


def _of_the_dead(path: Path) -> int | None:
    """Return a descriptor that locks the file, if nobody else does; None: its process lives."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
