"""What the gate was given and what it says it holds: the node's memory of its gate.

Refuses to believe that the gate holds what it was given before that was read back. Always true:
`report` is the gate's last word, and None while it does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from enforcer.core.table import OrderRow
from enforcer.errors import EnforcerError, UnavailableError
from enforcer.ports import Gate, GateReport, SealedTable
from enforcer.services.base_table import Base, Made, RowKey

VERIFY_SECONDS: Final = 60.0
"""How often the gate hashes the tables that it holds: some 20 ms for a million names."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the gate was given last."""

    base: Base
    made: Made
    """The overlay, or the base where it is alone."""
    laid: frozenset[RowKey]
    """The orders whose names the overlay holds."""

    @property
    def overlay_sha256(self) -> str:
        """The overlay's hash; empty where the base is alone."""
        return self.made.sha256 if self.made.sha256 != self.base.sha256 else ""

    @property
    def age(self) -> tuple[int, int]:
        """Ledger size and time floor: a gate takes nothing that is less."""
        return self.made.ledger_size, self.made.time_floor_ms


class GateLink:
    """One node's way to its gate; one call at a time."""

    def __init__(self, gate: Gate, seconds: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._seconds = seconds
        self._verify_seconds = -inf  # when the gate's tables are to be hashed again
        self.report: GateReport | None = None
        """What the gate said last, until it stops answering."""
        self.given: Given | None = None
        self.problem = ""
        """Why the last call did not do what it was for."""
        self.floor_ms = 0
        """Of a table that the gate would not go back behind."""
        self.calls = 0
        """How often the gate was spoken to."""

    @property
    def rows(self) -> tuple[OrderRow, ...]:
        """What counts at the gate, as far as is known."""
        return self.report.rows if self.report is not None else ()

    @property
    def holds(self) -> bool:
        """Whether the gate holds what it was given, by its own word."""
        report, given = self.report, self.given
        return (
            report is not None
            and given is not None
            and report.body_sha256 == given.base.sha256
            and report.overlay_sha256 == given.overlay_sha256
            and report.table_digest == given.made.digest
            and report.rows == given.made.rows
        )

    def has(self, base: Base) -> bool:
        """Tell whether the gate holds this base, whatever lies over it."""
        return self.report is not None and self.report.body_sha256 == base.sha256

    async def ask(self) -> None:
        """Ask the gate what it holds, and once a minute whether memory has kept it."""
        now_seconds = self._seconds()
        verify = now_seconds >= self._verify_seconds
        if await self._talk(self._gate.status(verify=verify)) is None and verify:
            self._verify_seconds = now_seconds + VERIFY_SECONDS

    async def give(self, given: Given, overlay: SealedTable | None) -> EnforcerError | None:
        """Hand over a base that the gate lacks, an overlay, or both; return why it has not."""
        base = given.base
        if not self.has(base) and base.table is not None:
            error = await self._talk(self._gate.load(base.table, overlay))
        elif overlay is not None:
            error = await self._talk(self._gate.overlay(overlay))
        else:
            error = None
        if error is None:
            self.given = given
            if not self.holds:
                self.problem = "the gate holds another table than it was given"
        return error

    async def _talk(self, call: Awaitable[GateReport]) -> EnforcerError | None:
        """Take what the gate reports, or return why it does not."""
        self.problem = ""
        self.calls += 1
        try:
            self.report = await call
        except UnavailableError as error:
            self.report = None
            self.problem = error.message
            return error
        except EnforcerError as error:
            self.problem = f"the gate refused the table: {error.message}"
            floor_ms = error.data.get("present_time_floor_ms")
            if isinstance(floor_ms, int):
                self.floor_ms = floor_ms
            return error
        return None
