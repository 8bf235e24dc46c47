"""Another node of an installation, as ``enforcer node new`` founds it, with its gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from enforcer.app.acts import signed, write_act
from enforcer.app.installation import Installation as Files
from enforcer.app.keys import read_request, registration
from enforcer.app.new_node import NewNode, add_node
from enforcer.app.pki import certify
from enforcer.backends import durable
from enforcer.backends.authority_files import AuthorityFiles
from enforcer.backends.keys import PrivateKey
from enforcer.config import Address, CanaryPart
from enforcer.core.policy import DAY_MS
from tests.e2e.dns import ask
from tests.e2e.installation import Installation, now_ms
from tests.e2e.programs import Program
from tests.ports import free_ports


class Far:
    """A node beside an installation's own, made before that starts; its programs are among its."""

    def __init__(
        self,
        home: Installation,
        number: str,
        *,
        canary: CanaryPart | None = None,
        copy: Path | None = None,
    ) -> None:
        """Found node-`number` of `home`, with gate-`number`."""
        self._home = home
        node_id = f"node-{number}"
        top = home.directory / node_id
        self.files = Files(top)
        (self.dns_port,) = free_ports(1)
        new = NewNode(
            node_id=node_id,
            operator="isp",
            dns_listen=Address(f"127.0.0.1:{self.dns_port}"),
            dns_upstream=Address(f"127.0.0.1:{home.upstream.port}"),
            canary=canary or CanaryPart(),
            copy=copy,
        )
        asked = read_request(add_node(top, home.files, new))
        if copy is None:
            authority = AuthorityFiles(home.files.authority)
            issued = certify(asked, authority, authority.load(None))
            durable.write_file(self.files.node / "tls.crt", issued)
        self._register(asked, node_id)
        for name in ("gate", "node"):
            folder = getattr(self.files, name)
            called = f"{name}-{number}"
            command = [home.enforcer, name, "--config", str(folder / f"{name}.toml")]
            home.programs[called] = Program(called, command, home.directory / f"{called}.log")

    def _register(self, asked: Any, node_id: str) -> None:
        top = self._home.files.directory
        roots = [PrivateKey.load(top / "roots" / f"root-{number}.key") for number in (1, 2)]
        act = signed(registration(asked, now_ms(), now_ms() + 30 * DAY_MS), *roots)
        write_act(top / "acts" / f"50-{node_id}-KeyRegistered.json", act)

    def status(self) -> dict[str, Any]:
        """Return what the node says of itself; empty before it says anything."""
        path = self.files.node / "state" / "status.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def blocks(self, qname: str) -> bool:
        self._home.note_asked(qname)
        return ask(self.dns_port, qname).is_blocked
