"""Children that are copies of this process, less its descriptors: no file of the program is read.

So a process that has become somebody else can have them though that user cannot reach the
interpreter, and a child is always of its parent's release, even while files are being replaced.
Only for a process without threads: a lock that another thread holds would never be free there.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NoReturn

from enforcer.backends.priority import lower_priority

DESCRIPTORS_MAX = 1 << 20


def forked(run: Callable[[], int], *, keeping: Collection[int], nice: int = 0) -> int:
    """Return the process id of a child that runs `run` and ends with what that returns.

    It has standard input, output and error, and the descriptors `keeping`; nothing else. Its
    priority is `nice` (0 to 19), or what this process has where that is lower.

    Raises:
        OSError: there can be no more processes.
    """
    if threading.active_count() != 1:
        raise RuntimeError("a process with threads cannot be copied")
    flush_printed()
    pid = os.fork()
    if pid == 0:
        lower_priority(nice)
        _run_and_end(run, keeping)
    return pid


def _run_and_end(run: Callable[[], int], keeping: Collection[int]) -> NoReturn:
    code = 1
    try:
        # What our parent's objects own is closed below: none of them may close it once more.
        gc.freeze()
        signal.set_wakeup_fd(-1)
        last = 2
        for fd in sorted(keeping):
            os.closerange(last + 1, fd)
            last = fd
        os.closerange(last + 1, DESCRIPTORS_MAX)
        code = run()
    except BaseException:  # noqa: BLE001 - nothing may get back into the parent's frames
        with suppress(OSError):
            traceback.print_exc()
    finally:
        flush_printed()
        os._exit(code)


def flush_printed() -> None:
    """Write what this process has printed; a disk that is full is no reason to end."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or never there
            stream.flush()
