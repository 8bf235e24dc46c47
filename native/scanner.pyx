"""Checking whole target lists in one pass, without a Python object per target.

The fast twin of core.target.check_list: it runs without the GIL, and leaves a line in doubt to
Python, which accepts it or finds the words.
"""

from dataclasses import dataclass

from enforcer._native.windows import windows
from enforcer.core import target as core_target

from libc.stdint cimport uint8_t

from scan cimport scan_accept, scan_on, scan_reach_bytes, scan_t


@dataclass(frozen=True)
class ScanResult:
    """What a checked list holds."""

    target_count: int
    name_count: int
    address_count: int


cdef int scan_doubt(scan_t *scan, const uint8_t[::1] text) except -1:
    """Let Python read the line in doubt: it accepts it, or raises what is wrong."""
    previous = bytes(text[scan.previous_at:scan.previous_at + scan.previous_bytes])
    target, read = core_target.read_line(
        bytes(text[scan.at:scan.at + scan_reach_bytes(scan)]), 0, scan.line_count + 1, previous
    )
    scan_accept(scan, len(read), target.kind <= core_target.TargetKind.SUBTREE)
    return 0


def scan(const uint8_t[::1] text not None, *, allow_empty=False):
    """Check a whole target list as core.target.check_list does, in one pass.

    `text` is any contiguous buffer of octets, such as a mapped file.

    Raises:
        InputError: the first line that is wrong, as check_list says it.
    """
    cdef scan_t state
    cdef bint is_done
    state.text = &text[0] if text.shape[0] else NULL
    state.at = state.previous_at = state.previous_bytes = 0
    state.line_count = state.name_count = 0
    state.line_count_max = core_target.TARGETS_MAX
    if text.shape[0] == 0 and not allow_empty:
        core_target.check_list(b"")
    for state.size_bytes in windows(text.base):
        is_done = False
        while not is_done:
            with nogil:
                is_done = scan_on(&state)
            if not is_done:
                scan_doubt(&state, text)
    return ScanResult(state.line_count, state.name_count, state.line_count - state.name_count)
