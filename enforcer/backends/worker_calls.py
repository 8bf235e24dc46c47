"""What a worker process runs: one call after the other, as :mod:`worker_process` sends them.

Calls come in at standard input, a socket, and answers go out there. A call names its function, so
a worker imports what its calls need, and nothing of the program that started it. It ends when
nobody can send any more, and with its parent, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from enforcer.backends.heap import keep_heap_small
from enforcer.errors import EnforcerError

_PR_SET_PDEATHSIG: Final = 1


def serve(parent_pid: int) -> None:
    """Answer calls until there are no more; `parent_pid` is who started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is our parent's to heed
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        return
    keep_heap_small()
    with open(0, "rb", closefd=False) as calls, open(0, "wb", closefd=False) as answers:
        answer_all(calls, answers)


def answer_all(calls: BinaryIO, answers: BinaryIO) -> None:
    """Answer pickled (function, arguments) with pickled (result, error)."""
    while True:
        try:
            task, args = pickle.load(calls)  # noqa: S301 - from our parent alone
        except EOFError:
            return
        answers.write(_answer(task, args))
        answers.flush()
        del task, args  # while it waits a worker holds nothing of its last call


def _answer(task: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps((task(*args), None))
    except Exception as error:  # noqa: BLE001 - it is raised where the call came from
        if not isinstance(error, EnforcerError):
            error.add_note("".join(traceback.format_exception(error)))
        try:
            return pickle.dumps((None, error))
        except Exception:  # noqa: BLE001 - one that cannot be sent is sent in words
            return pickle.dumps((None, RuntimeError(repr(error))))
