"""One thread for what may hang for ever, such as a look at a dead medium; nobody waits for its end.

Owns the thread, started with the first job, and the jobs that wait for it. Refuses more of them
than can be of use. Always true: jobs run one after another, one that is given up before it begins
never does, and a program ends whatever the thread is at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, TypeVar

JOBS_MAX: Final = 64

T = TypeVar("T")


class FullError(Exception):
    """As many jobs wait as may: the thread hangs."""


class LoneThread:
    """Runs jobs for one thing; `submit` is for one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Have a job run, and return what will have its result.

        Raises:
            FullError: `JOBS_MAX` wait.
        """
        if self._jobs.qsize() >= JOBS_MAX:
            raise FullError(self._name)
        future: Future[T] = Future()
        self._jobs.put(lambda: _run(job, future))
        if self._thread is None:
            # A daemon: an executor's threads are joined at the end, and this one may never be done.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        return future

    def _work(self) -> None:
        while True:
            self._jobs.get()()


def _run(job: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    with _Passing(future):
        future.set_result(job())


@dataclass(frozen=True, slots=True)
class _Passing:
    """Hands on what a job raises, whatever it is, to whoever waits for it."""

    future: Future[Any]

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is not None:
            self.future.set_exception(error)
        return True
