"""A process that calls functions for this one: one at a time, in the order they were asked for.

A fresh interpreter that has only what its calls import: multiprocessing's would have this whole
program in memory once more, and one more process that tracks what nobody here shares. A worker
that dies fails every call that it has and gets; whoever wants another makes another.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, Final, TypeVar, TypeVarTuple, cast

_PROGRAM: Final = """
import sys
sys.path[:] = sys.argv[2:]
from enforcer.backends.worker_calls import serve
serve(int(sys.argv[1]))
"""

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class WorkerDiedError(Exception):
    """The process ended, or could not be started."""


class WorkerProcess:
    """One process, started by the first call; ended by `close`, or `retire`."""

    def __init__(self) -> None:
        # The kernel ends the process with the thread that started it: this one, which stays.
        self._thread = ThreadPoolExecutor(1, "worker")
        self._process: subprocess.Popen[bytes] | None = None
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        """Where calls go to, and answers come from."""
        self._is_dead = False
        self._is_retired = False

    @property
    def pid(self) -> int | None:
        """Its process id; None before it was started."""
        return self._process.pid if self._process is not None else None

    def submit(self, task: Callable[[*_Args], _Result], *args: *_Args) -> Future[_Result]:
        """Have a function of a module called there, with what can be pickled.

        The future raises what the function raises, and WorkerDiedError.
        """
        return self._thread.submit(self._call, task, args)

    def close(self) -> None:
        """Wait for the call at hand, drop those that wait, and end the process."""
        self._is_retired = True
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def retire(self) -> None:
        """End the process when it has answered what it was asked; waits for nothing."""
        if not self._is_retired:
            self._is_retired = True
            self._thread.submit(self._end)
            self._thread.shutdown(wait=False)

    def _call(self, task: Callable[..., _Result], args: tuple[Any, ...]) -> _Result:
        call = pickle.dumps((task, args))
        if self._is_dead:
            raise WorkerDiedError
        try:
            calls, answers = self._files or self._start()
            calls.write(call)
            calls.flush()
            result, error = pickle.load(answers)  # noqa: S301 - from our own process
        except Exception as lost:
            # Whatever it was: an answer that was not taken would be taken for the next call's.
            self._is_dead = True
            raise WorkerDiedError from lost
        if error is not None:
            raise error
        return cast("_Result", result)

    def _start(self) -> tuple[BinaryIO, BinaryIO]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            paths = map(os.path.abspath, sys.path)
            # Isolated: what it imports is found where we find it, and nowhere else.
            command = [sys.executable, "-I", "-c", _PROGRAM, str(os.getpid()), *paths]
            self._process = subprocess.Popen(command, stdin=theirs.fileno())
            self._files = ours.makefile("wb"), ours.makefile("rb")
        return self._files

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for file in self._files or ():
            with suppress(OSError):  # a call that was written by half
                file.close()
