"""A new table's trial: it blocks no golden name, or the tables before it come back.

Owns how long a new table is on trial, and which were refused a while ago: whoever hands such a
one over again is refused before any query is judged by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from enforcer.backends.gate_golden import Golden
from enforcer.backends.gate_settings import GateSettings, Place
from enforcer.backends.gate_table import Tables
from enforcer.backends.watch import Watch
from enforcer.errors import RefusedError

LATE_SECONDS_MAX: Final = 5.0
"""How long an answer to a golden query is waited for; the tables before are kept meanwhile."""
REMEMBER_SECONDS: Final = 600.0
REMEMBERED_MAX: Final = 16

log: Final = structlog.get_logger()


class Trial:
    """The trial of the table in use; one thread uses it."""

    def __init__(
        self,
        settings: GateSettings,
        watch: Watch,
        give_back: Callable[[Tables, RefusedError], None],
    ) -> None:
        """Call `give_back` with the tables before when an answer says late what is wrong."""
        self._golden = Golden(settings)
        self._watch = watch
        self._give_back = give_back
        self._refused: dict[tuple[str, str], tuple[float, RefusedError]] = {}
        self._on_trial: tuple[Tables, Tables, float] | None = None  # new, before, until
        self._watched = -1

    def judge(self, new: Tables, t_ms: int) -> None:
        """Ask the table itself, before any query is judged by it.

        Raises:
            RefusedError: it blocks a golden name, now or later; or it was refused a moment ago.
        """
        until_seconds, error = self._refused.get(new.key, (0.0, None))
        if error is not None and time.monotonic() < until_seconds:
            raise error
        blocked = self._golden.decided(new.table, t_ms)
        if blocked is not None:
            raise blocked.error()

    def warn(self, tables: Tables, t_ms: int) -> None:
        """Say it when tables from the disk block a golden name: there are no others."""
        blocked = self._golden.decided(tables.table, t_ms)
        if blocked is not None:
            error = blocked.error()
            log.critical("golden_name_blocked", problem=error.message, advice=error.advice)

    def ask(self, place: Place, new: Tables, before: Tables) -> None:
        """Ask the gate at `place`, which judges by `new` already, and go on listening.

        Raises:
            RefusedError: it blocks a golden name.
        """
        self.end()
        blocked = self._golden.ask(place, new.table)
        if blocked is not None:
            self._golden.forget()
            raise self._remembered(new, blocked.error())
        awaited = self._golden.awaited
        if awaited is not None:
            self._on_trial = (new, before, time.monotonic() + LATE_SECONDS_MAX)
            self._watched = awaited.fileno()
            self._watch.add(self._watched, self._heard)
        else:
            self._golden.forget()

    def tend(self) -> float:
        """End a trial whose time is over; return the seconds that it has left."""
        if self._on_trial is None:
            return REMEMBER_SECONDS
        left_seconds = self._on_trial[2] - time.monotonic()
        if left_seconds <= 0:
            self.end()
            return REMEMBER_SECONDS
        return left_seconds

    def end(self) -> None:
        """Listen no longer; the table in use stays."""
        if self._on_trial is not None:
            self._watch.forget(self._watched)
            self._on_trial = None
        self._golden.forget()

    def _heard(self) -> None:
        if self._on_trial is None:
            return
        new, before, _ = self._on_trial
        blocked = self._golden.read()
        if blocked is not None:
            self.end()
            self._give_back(before, self._remembered(new, blocked.error()))
        elif self._golden.awaited is None:
            self.end()

    def _remembered(self, new: Tables, error: RefusedError) -> RefusedError:
        if len(self._refused) == REMEMBERED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[new.key] = (time.monotonic() + REMEMBER_SECONDS, error)
        return error
