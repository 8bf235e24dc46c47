"""``enforcer control --standby``: warm beside whoever serves, in its place once that has ended.

Owns the waiting: the kernel's lock decides, and nothing else, so a process that is stopped or hangs
keeps the ledger, and this one says so. Follows the signed checkpoint as it grows and folds what it
covers. Refuses to wait beside a process that is set up otherwise. What goes wrong in reading is
said and tried again: the ledger is opened anew, by its rules, when it is taken over.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from enforcer.app.live_tls import LiveTls
from enforcer.app.standby_settings import settings_of
from enforcer.backends import durable
from enforcer.backends.compile_worker import ListWorker
from enforcer.backends.control_marks import SILENT_MS_MAX, STANDBY, Mark, MarkFile, serving
from enforcer.backends.fold_file import FOLD_FILE, FoldFile
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.lock import DirectoryLock
from enforcer.backends.service_manager import notify, notify_ready, notify_stopping
from enforcer.backends.tiles import LOCK_FILE, TileLedger
from enforcer.config import ControlConfig
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.errors import ConflictError, EnforcerError, InputError
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.warm_fold import Progress, WarmFold

LOOK_SECONDS: Final = 0.02
"""How often the lock is tried, and the checkpoint looked at."""
SAY_SECONDS: Final = 1.0

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """A ledger that is this process's to write, and what it has of it already."""

    lock: DirectoryLock
    fold: WarmFold
    mark: MarkFile


async def stand_by(
    config: ControlConfig, trust: Trust, work: ListWorker, progress: Progress | None
) -> Taken | None:
    """Wait until the ledger is free, and take it; None: told to end before.

    Raises:
        InputError: who serves is set up otherwise, or a file or a key is not what it must be.
        NotFoundError, UnavailableError: a file cannot be read, or the directory not be used.
    """
    settings = settings_of(config, trust)
    LiveTls(config.tls, serves=True)  # what is no good is to be known now, and not at the takeover
    durable.make_directory(config.ledger_dir)
    with _told_to_end() as told:
        standby = Standby(config, trust, settings)
        try:
            taken = await standby.wait(told, work, progress)
        except BaseException:
            standby.mark.close()
            raise
        if taken is None:
            standby.mark.close()
            notify_stopping()
            _log.info("standby_ends")
        return taken


def fold_of(config: ControlConfig, trust: Trust) -> WarmFold:
    """Return a fold that begins with what was kept of it by whoever served before.

    Raises:
        EnforcerError: the key file is not what it must be.
    """
    key = PrivateKey.load(config.signing_key_file)
    store = FoldFile(config.ledger_dir / FOLD_FILE, trust, key, verify)
    return WarmFold(trust, verify, FoldKeeper(store))


class Standby:
    """One process that waits for a ledger."""

    def __init__(self, config: ControlConfig, trust: Trust, settings: dict[str, str]) -> None:
        self.mark = MarkFile(config.ledger_dir)
        self._directory = config.ledger_dir
        self._trust = trust
        self._settings = settings
        self._fold = fold_of(config, trust)
        self._seen: tuple[int, ...] = ()
        self._problem = ""
        self._said = ""
        self._holder: object = None

    async def wait(
        self, told: asyncio.Event, work: ListWorker, progress: Progress | None
    ) -> Taken | None:
        """Wait, as :func:`stand_by` says."""
        loop = asyncio.get_running_loop()
        is_warm = False
        say_at = 0.0
        while not told.is_set():
            lock = self._try_lock()
            if lock is not None:
                _log.info("standby_takes_over" if is_warm else "ledger_free", size=self._fold.size)
                return Taken(lock, self._fold, self.mark)
            if loop.time() >= say_at:
                say_at = loop.time() + SAY_SECONDS
                self._look_at_who_serves(is_warm=is_warm)
            await self._follow(progress)
            if not is_warm and not self._problem:
                is_warm = True
                await work.start()
                _log.info("standby_warm", entries=self._fold.size)
                notify_ready(self._status())
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await told.wait()
        return None

    def _try_lock(self) -> DirectoryLock | None:
        try:
            return DirectoryLock(self._directory / LOCK_FILE)
        except ConflictError as error:
            self._holder = error.data.get("pid")
            return None

    async def _follow(self, progress: Progress | None) -> None:
        """Fold what the checkpoint covers now, if it is another than before."""
        try:
            found = (self._directory / "checkpoint").stat()
        except FileNotFoundError:
            return
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen == self._seen:
            return
        try:
            await asyncio.to_thread(self._advance, progress)
            self._seen, self._problem = seen, ""
        except EnforcerError as error:
            if error.message != self._problem:
                self._problem = error.message
                _log.warning("standby_behind", problem=error.message, advice=error.advice)

    def _advance(self, progress: Progress | None) -> None:
        key = VerifierKey.parse(self._trust.log_vkey)
        with TileLedger.open(
            self._directory, origin=self._trust.origin, vkey=key, verify=verify, writer=False
        ) as files:
            self._fold.advance(files, progress)

    def _look_at_who_serves(self, *, is_warm: bool) -> None:
        """Compare what it is set up with, and say how things stand when that has changed.

        Raises:
            InputError: it is set up otherwise than this process.
        """
        other = serving(self._directory)
        differs = other.settings if other is not None else self._settings
        names = [name for name, value in self._settings.items() if differs.get(name) != value]
        if names:
            raise InputError(
                f"this standby and the control plane that serves (process {self._holder}) differ "
                f"in: {', '.join(names)}",
                advice="Start both with one control.toml and one trust file. To change them, end "
                "the standby, restart who serves, and start the standby again.",
                differs=", ".join(names),
            )
        silent_ms = other.silent_ms if other is not None else 0
        problem = self._problem
        if silent_ms > SILENT_MS_MAX:
            problem = (
                f"process {self._holder} has the ledger and has said nothing for "
                f"{SILENT_MS_MAX // 1_000} seconds: it is stopped, or hangs"
            )
        self.mark.say(Mark(os.getpid(), STANDBY, self._fold.size, self._settings, problem))
        if problem != self._said and silent_ms > SILENT_MS_MAX:
            advice = f"Let it go on, or end it and this standby serves: kill -9 {self._holder}"
            _log.error("serving_process_silent", problem=problem, advice=advice)
        self._said = problem
        if is_warm:
            notify(f"STATUS={self._status()}")

    def _status(self) -> str:
        behind = f"; {self._said}" if self._said else ""
        return f"standby, warm at {self._fold.size} entries; process {self._holder} serves{behind}"


@contextmanager
def _told_to_end() -> Iterator[asyncio.Event]:
    """Give what SIGTERM and SIGINT set; SIGHUP is for who serves: certificates are read then."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = (signal.SIGTERM, signal.SIGINT)
    for number in ends:
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        yield told
    finally:
        for number in ends:
            loop.remove_signal_handler(number)
