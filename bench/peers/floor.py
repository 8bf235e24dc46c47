"""The floor: what receiving and sending costs when nothing is read; and the peers' upstream.

Both are one small C program, compiled when the bench runs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from bench.peers import CLIENT_CORE, FOLDER, UPSTREAM_PORT
from bench.peers.asking import ask
from bench.peers.names import Names
from bench.peers.server import Server, launch

BINARY = "echo.bin"


class Floor(Server):
    """Sends every datagram back with QR set."""

    name = "echo"
    program = os.environ.get("CC", "gcc")
    setting = "recvmmsg, sendmmsg, batches of 64"
    blocked_rcode: ClassVar[int] = 0
    workloads: ClassVar[tuple[str, ...]] = ("blocked", "cached")

    def prepare(self, names: Names) -> None:
        """Need nothing: an echo knows no names."""

    def command(self) -> list[str]:
        return [str(binary(self.folder.parent)), "echo", str(self.port)]

    def version(self) -> str:
        return ""


class Upstream:
    """Answers every name with its A record, on the clients' core."""

    def __init__(self, folder: Path, port: int = UPSTREAM_PORT) -> None:
        with (folder / "upstream.log").open("wb") as log:
            command = [str(binary(folder)), "answer", str(port)]
            self.process = launch(command, CLIENT_CORE, log.fileno(), folder)
        self.port = port

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        while self.process.poll() is None:
            try:
                ask("example.org", self.port, 0.2)
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.01)
            else:
                return
        raise SystemExit("the upstream ended at once: is its port taken?")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def binary(folder: Path) -> Path:
    """Return the compiled program, made in `folder` if it is not there."""
    path = folder / BINARY
    if not path.exists():
        compiler = shlex.split(os.environ.get("CC", "gcc"))
        command = [*compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(path)]
        subprocess.run([*command, str(FOLDER / "echo.c")], check=True)
    return path
