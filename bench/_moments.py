"""When things happened, seen from outside: files, keys, log lines and answers as they appear."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_SECONDS = 0.002
STEP_SECONDS_MAX = 300.0


class Moments:
    """Notes when (Unix time, seconds) each condition first holds, in a thread of its own."""

    def __init__(self, conditions: Mapping[str, Callable[[], object]]) -> None:
        self._waiting = dict(conditions)
        self._seen: dict[str, float] = {}
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="moments")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the conditions that have not come true."""
        deadline = time.monotonic() + STEP_SECONDS_MAX
        while self._waiting and error is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._is_ending.set()
        self._thread.join()
        if self._waiting and error is None:
            raise SystemExit(f"not within {STEP_SECONDS_MAX} s: {', '.join(self._waiting)}")

    def __getitem__(self, name: str) -> float:
        return self._seen[name]

    def _watch(self) -> None:
        while self._waiting and not self._is_ending.is_set():
            for name, holds in list(self._waiting.items()):
                if holds():
                    self._seen[name] = time.time()
                    del self._waiting[name]
            time.sleep(POLL_SECONDS)


def first(holds: Callable[[], object]) -> float:
    """Wait until the condition holds and return the time."""
    deadline = time.monotonic() + STEP_SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {STEP_SECONDS_MAX} s: {holds}")
        time.sleep(POLL_SECONDS / 2)
    return time.time()


def last_said(log: Path, event: str) -> float:
    """Return the time of the last line of a program's log that tells of `event`."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    stamps = [line["timestamp"] for line in lines if line["event"] == event]
    return datetime.fromisoformat(stamps[-1]).timestamp()
