"""The gate: the real program, one worker, beginning with its last good table.

The only module of this bench that knows how a gate is started and given a table.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import ROOT
from bench.peers import HOST, UPSTREAM_PORT
from bench.peers.asking import wait_until_blocked
from bench.peers.made_tables import ORIGIN, Tables
from bench.peers.names import Names, target_list
from bench.peers.server import Server
from enforcer.backends.gate_socket import GateClient
from enforcer.ports import SealedTable

CONFIG = """\
origin = "{origin}"
listen = ["{host}:{port}"]
upstreams = ["{host}:{upstream_port}"]
state_dir = "{folder}/state"
control_socket = "{folder}/gate.sock"
workers = 1
{user}
"""


class Gate(Server):
    name = "gate"
    program = sys.executable
    setting = "enforcer gate, last good table"

    def prepare(self, names: Names) -> None:
        """Compile the table and have a gate take it, so that it is the last good one."""
        self.hand_over(Tables().base([target_list(names.blocked)]), names.some_blocked)

    def hand_over(self, table: SealedTable, blocked: Sequence[str]) -> None:
        """Make `table` what the next start begins with; it blocks `blocked`."""
        text = CONFIG.format(
            origin=ORIGIN,
            host=HOST,
            port=self.port,
            upstream_port=UPSTREAM_PORT,
            folder=self.folder,
            user='user = "nobody"' if os.getuid() == 0 else "",
        )
        self.write("gate.toml", text)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        started = time.monotonic()
        self.start()
        try:
            while not (self.folder / "gate.sock").exists():
                self.processes()
                time.sleep(0.01)
            asyncio.run(self.client.status())
            self.empty_mb = self.memory_mb()
            asyncio.run(self.client.load(table))
            wait_until_blocked(self, blocked, started)
        finally:
            self.stop()

    @property
    def client(self) -> GateClient:
        """The way to the running gate, as its node has it."""
        return GateClient(self.folder / "gate.sock")

    def command(self) -> list[str]:
        program = Path(sys.executable).with_name("enforcer")
        return ["env", f"PYTHONPATH={ROOT}", str(program), "gate", "--config", "gate.toml"]

    def version(self) -> str:
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return done.stdout.strip()
