"""Programs as child processes: started, killed, restarted, each with a log of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from enforcer.backends.child import tied_to_parent
from tests.waiting import WAIT_SECONDS

START_SECONDS_MAX = 30.0
TAIL_LINES = 15


class Program:
    """One program; the same object can be started again after it was killed or stopped."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_file: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Take what to run; `env` comes beside our own."""
        self.name = name
        self.log_file = log_file
        self._env = {**os.environ, **(env or {})}
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def add(self, *words: str) -> None:
        """Have more words behind its command line, from the next start on."""
        self._command += words

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it ends with the calling thread at the latest."""
        assert not self.is_running, f"{self.name} runs already"
        self._started_at = time.monotonic()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                tied_to_parent(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log_file.parent,
                env=self._env,
                process_group=0,  # of this session, with which Linux shares processors out
            )

    @property
    def is_young(self) -> bool:
        """Whether it may still be starting, and end at once when it is told to."""
        return time.monotonic() - self._started_at < START_SECONDS_MAX

    def kill(self) -> None:
        """End it as a crash does, and return when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def kill_workers(self) -> None:
        """Kill the processes that it has: for work on whole lists, or the gate's that serve."""
        for child, _ in _children(self.pid) if self.is_running else ():
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(child, signal.SIGKILL)

    def stop(self) -> int:
        """End it in order and return its exit code; -9 when it had to be killed."""
        assert self._process is not None
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def text(self) -> str:
        """Return all that it wrote."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def tail(self) -> str:
        """Return the end of its log, and whether it runs, for a failure's words."""
        state = "runs" if self.is_running else "does not run"
        lines = self.text().splitlines()[-TAIL_LINES:]
        return f"--- {self.name} {state}; its log ends:\n" + "\n".join(lines)

    def peaks_mb(self) -> dict[str, float]:
        """Return the peak resident MB of it and of its live children, by what each runs."""
        return peaks_mb(self.pid, self.name)


def peaks_mb(pid: int, name: str) -> dict[str, float]:
    """Return the peak resident MB (10^6 bytes) of a process and of its live children."""
    peaks = {name: _memory_mb(pid, "VmHWM")}
    for child, what in _children(pid):
        peaks[f"{name}'s {what}"] = _memory_mb(child, "VmHWM")
    return peaks


def rss_mb(pid: int) -> float:
    """Return what is resident now, in MB of 10^6 bytes."""
    return _memory_mb(pid, "VmRSS")


def _children(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the live children that work, numbered: no resource tracker of multiprocessing."""
    number = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        children: list[str] = []
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            children = thread.read_text().split()
        for child in map(int, children):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                    number += 1
                    yield child, f"worker {number}"


def _memory_mb(pid: int, field: str) -> float:
    status = ""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1_024 / 1e6 if match else 0.0


def wait_for(predicate, what: str, programs: Sequence[Program] = (), seconds: float = WAIT_SECONDS):
    """Return what `predicate` returns once it is true; fail with the programs' last words."""
    deadline = time.monotonic() + seconds
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(
                "\n".join((f"not within {seconds} s: {what}", *(each.tail() for each in programs)))
            )
        time.sleep(0.02)
