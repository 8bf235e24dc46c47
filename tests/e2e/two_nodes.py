"""An installation with two nodes, each with a gate of its own: "node-2" and "gate-2" come to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from enforcer.config import CanaryPart
from tests.e2e.far import Far
from tests.e2e.installation import Installation


class TwoNodes(Installation):
    """The installation; what is asked of "the node" elsewhere is asked of the first."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        self._far = Far(self, "2", canary=self._second_canary())
        self.second_port = self._far.dns_port
        self.add_gate(self.second("gate"))

    def _second_canary(self) -> CanaryPart:
        """Return whom the second node waits for."""
        return CanaryPart()

    def second(self, name: str) -> Path:
        """Return the folder of the second node, or of its gate."""
        folder: Path = getattr(self._far.files, name)
        return folder

    @property
    def dns_ports(self) -> tuple[int, ...]:
        return (self.dns_port, self.second_port)

    def second_status(self) -> dict[str, Any]:
        """Return what the second node says of itself; empty before it says anything."""
        return self._far.status()

    def statuses(self) -> list[dict[str, Any]]:
        return [self.node_status(), self.second_status()]

    def second_blocks(self, qname: str) -> bool:
        return self._far.blocks(qname)

    def is_in_step(self, since_ms: int = 0) -> bool:
        """Tell whether both nodes are."""
        status = self.second_status()
        return (
            super().is_in_step(since_ms)
            and bool(status)
            and status["t_ms"] >= since_ms
            and status["gate"]["state"] == "HOLDS_TABLE"
            and status["planned_size"] == self.ledger_size()
            and status["feed"]["state"] == "OK"
        )
