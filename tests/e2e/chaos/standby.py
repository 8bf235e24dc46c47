"""An installation with two control planes on one ledger: whoever has the lock serves."""

from __future__ import annotations

from typing import Any

from tests.e2e.installation import Installation
from tests.e2e.programs import Program


class WithStandby(Installation):
    """The installation; "control" and "standby" take each other's place."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        self.programs["standby"] = self._program("control", "standby")

    def _program(self, name: str, called: str = "") -> Program:
        program = super()._program(name, called)
        if name == "control":
            program.add("--standby")
        return program
