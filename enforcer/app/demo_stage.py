"""The demo's stage: Redis, control plane, node and gate as real processes, all on loopback.

Everything is below one directory. Always true: leaving ends every process that was started here,
in the order in which they need each other, and no other; their logs stay beside them.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Final, Self

from enforcer.app.demo_dns import Upstream
from enforcer.app.demo_land import install_demo
from enforcer.app.installation import Installation
from enforcer.app.installation_files import Plan
from enforcer.backends.child import tied_to_parent
from enforcer.backends.gate_socket import GateClient
from enforcer.backends.redis_server import RedisServer
from enforcer.config import Address
from enforcer.errors import UnavailableError

ORIGIN: Final = "demo.example.org/ledger"
START_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 5.0
COMMAND_TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02

PORTS: Final = range(20_000, 32_000)
"""Below net.ipv4.ip_local_port_range as Linux has it: no client's own port can be in the way."""
PORT_DRAWS_MAX: Final = 100


class Stage:
    """Where the demo plays; a context manager that always cleans up."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.dns_port = free_port()
        self.redis_port = free_port()
        self.upstream = Upstream()
        self.redis = RedisServer(directory / "redis", port=self.redis_port)
        self._control_port = free_port()
        self.node_address = Address(f"127.0.0.1:{free_port()}")
        self._ending = ExitStack()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.installation = Installation(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def install(self) -> None:
        """Write the installation, with everybody's keys.

        Raises:
            ConflictError: the directory is not empty.
        """
        plan = Plan(
            origin=ORIGIN,
            root_keys=(),
            control_address=Address(f"127.0.0.1:{self._control_port}"),
            redis_url=self.redis.url,
            node_listen=self.node_address,
            dns_listen=(Address(f"127.0.0.1:{self.dns_port}"),),
            dns_upstream=Address(f"127.0.0.1:{self.upstream.port}"),
            reconcile_interval_seconds=1.0,
        )
        self.installation = install_demo(self.directory, plan)

    def start(self) -> None:
        """Start upstream, Redis, control plane and gate, and wait until they answer.

        Raises:
            UnavailableError: one does not come up; its log says why.
        """
        made = self.installation
        self._ending.enter_context(self.upstream)
        self.redis.start()
        self._ending.callback(self.redis.stop)
        self._run("control", "control", "-c", str(made.control / "control.toml"))
        self._run("gate", "gate", "-c", str(made.gate / "gate.toml"))
        self._wait("control", self._control_answers)
        self._wait("gate", self._gate_answers)

    def start_node(self, ledger_size: int) -> None:
        """Start the node, and wait until its gate holds the table of that ledger size.

        Raises:
            UnavailableError: it does not come up; its log says why.
        """
        self._run("node", "node", "-c", str(self.installation.node / "node.toml"))
        self._wait("node", lambda: self.holds(ledger_size))

    def holds(self, ledger_size: int) -> bool:
        """Tell whether the gate holds the table of a ledger of at least that size."""
        status = self.node_status()
        ledger, gate = status.get("ledger"), status.get("gate")
        if not isinstance(ledger, dict) or not isinstance(gate, dict):
            return False
        return bool(ledger["size"] >= ledger_size and gate["state"] == "HOLDS_TABLE")

    def node_status(self) -> dict[str, object]:
        """Return what the node says about itself; empty before it said anything."""
        try:
            shown = json.loads((self.installation.node / "state" / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return shown if isinstance(shown, dict) else {}

    def wait_until(self, what: str, happened: Callable[[], bool], timeout_seconds: float) -> None:
        """Return when it has happened.

        Raises:
            UnavailableError: it did not in that time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not happened():
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{what} did not happen within {timeout_seconds:.0f} s",
                    advice=f"See the logs in {self.directory}.",
                )
            time.sleep(POLL_SECONDS)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``enforcer WORDS`` to its end, as a person would."""
        return subprocess.run(
            program(words),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(self.directory)},  # what a killed one leaves goes too
            check=False,
        )

    def person(self, identity: str) -> str:
        """Return the path of a person's client.toml."""
        return str(self.installation.person(identity) / "client.toml")

    def _run(self, name: str, *words: str) -> None:
        log: IO[bytes] = self._ending.enter_context((self.directory / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            tied_to_parent(program(words)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a ^C at the terminal is for us to handle
        )
        self._processes[name] = process
        self._ending.callback(_end, process)

    def _wait(self, name: str, is_up: Callable[[], bool]) -> None:
        process = self._processes[name]
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                log = self.directory / f"{name}.log"
                lines = log.read_text(errors="replace").strip().splitlines()
                raise UnavailableError(
                    f"the {name} did not start: {' '.join(lines[-2:]) or 'its log is empty'}",
                    advice=f"See {log}.",
                )
            time.sleep(POLL_SECONDS)

    def _gate_answers(self) -> bool:
        try:
            asyncio.run(GateClient(self.installation.gate / "gate.sock").status())
        except UnavailableError:
            return False
        return True

    def _control_answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self._control_port)) == 0


def program(words: Sequence[str]) -> list[str]:
    """Return the command line of ``enforcer WORDS`` by this very interpreter."""
    return [sys.executable, "-m", "enforcer", *words]


def free_port() -> int:
    """Return a loopback port that nobody has on UDP or TCP, below those that clients draw from.

    Raises:
        UnavailableError: a hundred draws found none.
    """
    for _ in range(PORT_DRAWS_MAX):
        port = secrets.choice(PORTS)
        with ExitStack() as stack, suppress(OSError):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return port
    raise UnavailableError(
        f"no free port was found between {PORTS[0]} and {PORTS[-1]}",
        advice="End programs that listen there, or try again.",
    )


def open_to_pass(directory: Path) -> None:
    """Let other users pass through `directory`, without reading it: the gate's user must."""
    if os.getuid() == 0:
        directory.chmod(0o711)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
