"""A server as one process group of its own on the serving core: started, measured, ended.

What all peers share. A peer's module says how it is configured; here is how its processor time
and memory are read from /proc, over every process of its session, and that nothing is left over.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.peers import HOST, SERVER_CORE, SERVER_PORT, UPSTREAM_PORT
from bench.peers.names import Names

READY_SECONDS_MAX = 120.0
END_SECONDS_MAX = 10.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Server(ABC):
    """One configuration of one program; `prepare` once, then `start` and `stop` each round."""

    name: ClassVar[str]
    package: ClassVar[str] = ""
    """The Debian package, where there is one."""
    program: ClassVar[str]
    setting: ClassVar[str] = ""
    """What of the configuration matters to speed, in a few words."""
    blocked_rcode: ClassVar[int] = 3
    workloads: ClassVar[tuple[str, ...]] = ("blocked", "cached", "uncached", "mix")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = SERVER_PORT
        self.process: subprocess.Popen[bytes] | None = None
        self.empty_mb: float | None = None  # without a name, where that is known

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether the program is on this machine."""
        return shutil.which(cls.program, path=search_path()) is not None

    @abstractmethod
    def prepare(self, names: Names) -> None:
        """Write what the server reads; not part of any time."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""

    def version(self) -> str:
        """Return the version of the Debian package."""
        command = ["dpkg-query", "-W", "-f", "${Version}", self.package]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def start(self) -> None:
        """Start it; it answers some time later."""
        log = (self.folder / "log").open("wb")
        with log:
            self.process = launch(self.command(), SERVER_CORE, log.fileno(), self.folder)

    def is_loaded(self) -> bool:
        """Tell whether it says that it is loaded, where its answers alone do not tell."""
        return True

    def stop(self) -> None:
        """End all its processes."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def processes(self) -> list[int]:
        """Return the ids of its processes.

        Raises:
            SystemExit: it has ended.
        """
        if self.process is None or self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended:\n{self.said()}")
        return session(self.process.pid)

    def cpu_seconds(self) -> float:
        """Return the user and system time of its processes since they started."""
        return sum(cpu_ticks(pid) for pid in self.processes()) / TICKS_PER_SECOND

    def memory_mb(self) -> float:
        """Return the proportional set size of its processes in MB of 10^6 bytes."""
        return sum(proportional_bytes(pid) for pid in self.processes()) / 1e6

    def said(self) -> str:
        """Return the end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-2_000:]

    def write(self, name: str, text: str) -> Path:
        """Write a file into its folder."""
        path = self.folder / name
        path.write_text(text)
        return path


def search_path() -> str:
    """Return the PATH with the folders of servers in it."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def pinned(core: int) -> list[str]:
    """Return what runs a command on one core; before others there with PEERS_FIRST=1.

    That (sched(7), the autogroup's nice value) needs root and a session of the command's own. It
    is for a machine that does other things as well.
    """
    first = ["sh", "-c", 'echo -20 >/proc/self/autogroup; exec "$@"', "sh"]
    return [*(first if os.environ.get("PEERS_FIRST") == "1" else []), "taskset", "-c", str(core)]


def launch(command: Sequence[str], core: int, log: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start `command` on one core, in a session of its own."""
    return subprocess.Popen(
        [*pinned(core), *command],
        cwd=folder,
        env={**os.environ, "PATH": search_path()},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a session: ask, wait, and kill what is left."""
    pid = process.pid
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in session(pid):
        os.kill(left, signal.SIGKILL)
    until = time.monotonic() + END_SECONDS_MAX
    while session(pid) and time.monotonic() < until:
        time.sleep(0.01)


def session(leader: int) -> list[int]:
    """Return the ids of the processes of a session that are not ended."""
    found = []
    for path in Path("/proc").iterdir():
        fields = stat_fields(int(path.name)) if path.name.isdecimal() else []
        if fields and int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.name))
    return found


def stat_fields(pid: int) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the third on; none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_ticks(pid: int) -> int:
    """Return the user and system time of a process with all its threads and ended children."""
    fields = stat_fields(pid)
    return sum(map(int, fields[11:15])) if fields else 0


def proportional_bytes(pid: int) -> int:
    """Return what memory a process holds; a page that several have counts for each in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the kernel does not tell the proportional set size")


UPSTREAM = f"{HOST}:{UPSTREAM_PORT}"
