"""An installation with two nodes, each with a gate of its own: "node-2" and "gate-2" come to it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from enforcer.app.acts import signed, write_act
from enforcer.app.keys import make_request, registration
from enforcer.app.pki import certify
from enforcer.backends import durable
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.keys import PrivateKey
from enforcer.core.key import Role
from enforcer.core.policy import DAY_MS
from tests.e2e.dns import ask
from tests.e2e.installation import ORIGIN, Installation, free_ports, now_ms
from tests.e2e.programs import Program

ENFORCER = Path(sys.executable).with_name("enforcer")


class TwoNodes(Installation):
    """The installation; what is asked of "the node" elsewhere is asked of the first."""

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        (self.second_port,) = free_ports(1)
        self._equip_gate()
        self._equip_node()
        for name in ("gate", "node"):
            config = self.second(name) / f"{name}.toml"
            command = [str(ENFORCER), name, "--config", str(config)]
            log = self.directory / f"{name}-2.log"
            self.programs[f"{name}-2"] = Program(f"{name}-2", command, log)

    def second(self, name: str) -> Path:
        """Return the folder of the second node, or of its gate."""
        return self.files.directory / f"{name}-2"

    def _equip_gate(self) -> None:
        place = self.second("gate")
        place.mkdir()
        text = (self.files.gate / "gate.toml").read_text()
        text = text.replace(f":{self.dns_port}", f":{self.second_port}")
        (place / "gate.toml").write_text(text)

    def _equip_node(self) -> None:
        place = self.second("node")
        place.mkdir()
        key = PrivateKey.generate()
        key.save(place / "signing.key")
        shutil.copy(self.files.node / "redis.password", place)
        asked = make_request(place / "signing.key", ORIGIN, Role.NODE, "node-2", operator="isp")
        files = AuthorityFiles(self.files.authority)
        durable.write_file(place / "tls.crt", certify(asked, files, files.load(None)))
        text = (self.files.node / "node.toml").read_text()
        text = re.sub("^(listen) = .*$", "", text, flags=re.MULTILINE)
        text = re.sub("^node_id = .*$", 'node_id = "node-2"', text, flags=re.MULTILINE)
        (place / "node.toml").write_text(text.replace("../gate/", "../gate-2/"))
        top = self.files.directory
        roots = [PrivateKey.load(top / "roots" / f"root-{number}.key") for number in (1, 2)]
        act = signed(registration(asked, now_ms(), now_ms() + 30 * DAY_MS), *roots)
        write_act(top / "acts" / "50-node-2-KeyRegistered.json", act)

    @property
    def dns_ports(self) -> tuple[int, ...]:
        return (self.dns_port, self.second_port)

    def second_status(self) -> dict[str, Any]:
        """Return what the second node says of itself; empty before it says anything."""
        path = self.second("node") / "state" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def statuses(self) -> list[dict[str, Any]]:
        return [self.node_status(), self.second_status()]

    def second_blocks(self, qname: str) -> bool:
        self._asked.add(qname)
        return ask(self.second_port, qname).is_blocked

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
