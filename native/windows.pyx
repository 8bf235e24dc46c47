"""Going through a list in parts, so that little of a mapped one is in memory at a time.

What was read of a mapping counts as this process's own until it is let go, though the kernel
keeps it for everybody; a list of a million names is 24 MB.
"""

from contextlib import suppress
from mmap import MADV_DONTNEED, mmap

from enforcer.core.target import LINE_BYTES_MAX

WINDOW_BYTES = 1 << 20


def windows(text not None):
    """Yield where each part of a list ends: behind a LF, or at the end of all, which comes last.

    What was read is let go when the next is asked for.
    """
    view = memoryview(text)
    size = len(view)
    end = 0
    while end < size or size == 0:
        begin = end
        end = size
        if size - begin > WINDOW_BYTES:
            reach = begin + WINDOW_BYTES
            lf = bytes(view[reach:reach + LINE_BYTES_MAX + 1]).find(b"\n")
            if lf >= 0:  # else it is no list, and whoever reads it finds that out
                end = reach + lf + 1
        yield end
        let_go(view)
        if size == 0:
            break


def let_go(text not None):
    """Let go what was read of a list, if it is a file, or a part of one, mapped to be read.

    Whoever looks there again has it mapped again.
    """
    view = memoryview(text)
    if view.readonly and isinstance(view.obj, mmap):
        with suppress(OSError):  # locked in memory: then it is to stay
            view.obj.madvise(MADV_DONTNEED)
