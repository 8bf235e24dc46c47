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
from hashlib import sha256
from pathlib import Path

from bench import ROOT
from bench.peers import HOST, UPSTREAM_PORT
from bench.peers.asking import wait_until_blocked
from bench.peers.names import Names, target_list
from bench.peers.server import Server
from enforcer._native.compiler import compile_table
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.sealed_table import SealedFile, writable
from enforcer.core.table import Binding, DnsMeasure, IpMeasure, OrderRow
from enforcer.ports import SealedTable

ORIGIN = "ledger.example.org/bench"
DAY_MS = 86_400_000
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
        self.hand_over(compiled([target_list(names.blocked)]), names.some_blocked)

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
            client = GateClient(self.folder / "gate.sock")
            while not (self.folder / "gate.sock").exists():
                self.processes()
                time.sleep(0.01)
            asyncio.run(client.status())
            self.empty_mb = self.memory_mb()
            asyncio.run(client.load(table))
            wait_until_blocked(self, blocked, started)
        finally:
            self.stop()

    def command(self) -> list[str]:
        program = Path(sys.executable).with_name("enforcer")
        return ["env", f"PYTHONPATH={ROOT}", str(program), "gate", "--config", "gate.toml"]

    def version(self) -> str:
        command = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return done.stdout.strip()


def compiled(lists: Sequence[bytes]) -> SealedTable:
    """Compile a table of one order for each canonical list, in force for a day."""
    now_ms = time.time_ns() // 1_000_000
    rows = [
        OrderRow(
            index=number,
            order_id=f"XX-2026-{number:06}",
            version=1,
            target_list_sha256=sha256(text).hexdigest(),
            target_count=text.count(b"\n"),
            dns_measure=DnsMeasure.NEGATIVE,
            ip_measure=IpMeasure.NONE,
            binding=Binding.BINDING,
            from_ms=0,
            until_ms=now_ms + DAY_MS,
        )
        for number, text in enumerate(lists, start=1)
    ]
    with writable() as fd:
        compile_table(
            fd,
            origin=ORIGIN,
            ledger_size=len(lists),
            time_floor_ms=now_ms,
            table_digest="00" * 32,
            secret=os.urandom(16),
            register_url="https://register.example.org/orders/",
            register_domain="register.example.org",
            orders=list(zip(rows, lists, strict=True)),
        )
        return SealedFile(fd)
