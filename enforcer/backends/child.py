"""Child processes that do not outlive their parent.

Owns: how a command line is tied to the life of this process. A parent that is killed cannot
tidy up, so the kernel does it: PR_SET_PDEATHSIG (prctl(2)). Nothing of it runs between fork and
exec in our own image, where threads may hold locks: a fresh interpreter sets it, looks whether
the parent is still there, and becomes the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

_LAUNCHER: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
sys.exit(sys.argv[2] + " was not started: who asked for it has ended")
"""


def tied_to_parent(command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` and is sent SIGTERM when its parent ends.

    ``command[0]`` is an absolute path; the process keeps its id, environment and open files.
    The parent in the kernel's eyes is the thread that starts it: start from one that lives on.
    A command that changes its user loses the tie, unless it asks for it again as the gate does
    (prctl(2)).
    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
