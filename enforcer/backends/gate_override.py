"""The operator's word that the gate does something else than its file says, and for how long.

Owns two files in the state directory: the word that is in force, so that a restart keeps it, and
a journal of all of them with who and why. Always true: a word ends by itself after a day at most,
by a time that goes back for no clock; one that cannot be read does not count.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from enforcer.backends.durable import (
    PRIVATE_MODE,
    read_file,
    reporting,
    sync_directory,
    write_file,
)
from enforcer.backends.gate_messages import OVERRIDE_SECONDS_MAX
from enforcer.errors import EnforcerError, IntegrityError, NotFoundError, UnavailableError
from enforcer.ports import GateMode, ModeOverride

OVERRIDE_NAME: Final = "override.json"
JOURNAL_NAME: Final = "journal.jsonl"
LOOK_SECONDS_MAX: Final = 60.0
"""A clock may be set meanwhile."""
OVERRIDE_BYTES_MAX: Final = 65_536

log: Final = structlog.get_logger()


class Overrides:
    """The files; one process writes them."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / OVERRIDE_NAME
        self._journal = state_dir / JOURNAL_NAME

    def read(self) -> ModeOverride | None:
        """Return what was kept last, whether or not its time is over.

        Raises:
            IntegrityError: it is not what is written here.
            UnavailableError: it cannot be read.
        """
        try:
            data = read_file(self._path, size_bytes_max=OVERRIDE_BYTES_MAX)
        except NotFoundError:
            return None
        try:
            found = msgspec.json.decode(data, type=ModeOverride)
        except msgspec.MsgspecError as error:
            raise self._damaged(str(error)) from error
        lasts_ms = found.until_ms - found.since_ms
        if found.mode not in (GateMode.SHADOW, GateMode.BYPASS) or not (
            0 < lasts_ms <= OVERRIDE_SECONDS_MAX * 1_000
        ):
            raise self._damaged("no word of an operator")
        return found

    def keep(self, override: ModeOverride | None, event: str, at_ms: int, **facts: str) -> None:
        """Put the word that is in force, or that none is, on the disk, and why into the journal.

        What the disk does not take is said; it is in force all the same, until a restart.
        """
        line = {"at_ms": at_ms, "event": event, **facts}
        log.warning(event, at_ms=at_ms, **facts)
        try:
            if override is not None:
                write_file(self._path, msgspec.json.encode(override), mode=PRIVATE_MODE)
            else:
                with reporting(self._path, "remove"):
                    self._path.unlink(missing_ok=True)
                sync_directory(self._path.parent)
            self._append(json.dumps(line, ensure_ascii=True).encode() + b"\n")
        except UnavailableError as error:
            log.error(  # noqa: TRY400 - a line, not a trace
                "override_not_kept", problem=error.message, advice=error.advice
            )

    def _append(self, line: bytes) -> None:
        with reporting(self._journal, "write"):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(self._journal, flags, PRIVATE_MODE)
            try:
                os.write(fd, line)
                os.fsync(fd)
            finally:
                os.close(fd)

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self._path} holds {what}",
            advice="The gate does what its configuration says; bypass it again if that is wanted.",
            path=str(self._path),
        )


class Mode:
    """What the gate does now, and why."""

    def __init__(self, configured: GateMode, overrides: Overrides) -> None:
        self._configured = configured
        self._overrides = overrides
        self.override: ModeOverride | None = None

    @property
    def now(self) -> GateMode:
        """What workers are to do."""
        return self.override.mode if self.override is not None else self._configured

    def begin(self, t_ms: int) -> None:
        """Take the word that was kept, if it is good and its time is not over."""
        try:
            found = self._overrides.read()
        except EnforcerError as error:
            log.error("override_refused", problem=error.message, advice=error.advice)  # noqa: TRY400
            return
        if found is None:
            return
        self.override = found
        if not self.end_if_over(t_ms):
            log.warning("override_goes_on", mode=found.mode.name, reason=found.reason, by=found.by)

    def set(self, mode: GateMode, *, by: str, reason: str, t_ms: int, seconds: int) -> None:
        """Do something else from now on; ENFORCE takes the former word back."""
        facts = {"by": by, "reason": reason}
        if mode is GateMode.ENFORCE:
            self.override = None
            self._overrides.keep(None, "resume", t_ms, **facts)
            return
        self.override = ModeOverride(mode, reason, by, t_ms, t_ms + seconds * 1_000)
        self._overrides.keep(self.override, mode.name.lower(), t_ms, **facts)

    def seconds_left(self, t_ms: int) -> float:
        """Return after how many seconds the word is to be looked at again."""
        if self.override is None:
            return LOOK_SECONDS_MAX
        return min((self.override.until_ms - t_ms) / 1_000, LOOK_SECONDS_MAX)

    def end_if_over(self, t_ms: int) -> bool:
        """End the word when its time is over; tell whether it was."""
        override = self.override
        if override is None or t_ms < override.until_ms:
            return False
        self.override = None
        self._overrides.keep(None, f"{override.mode.name.lower()}_ended", t_ms, by=override.by)
        return True
