# cython: language_level=3
"""Reading a whole target list in one pass: each line canonical, in order, and few enough.

Reads only the text; never blocks, allocates or calls Python. It stops at the first line
that it cannot vouch for, and lets the caller decide about that one.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp

from line cimport LINE_BYTES_MAX, LINE_EXACT, LINE_SUBTREE, LINE_UNSURE, line_kind


ctypedef struct scan_t:
    const uint8_t *text
    size_t size_bytes
    size_t at
    size_t previous_at
    size_t previous_bytes
    uint64_t line_count
    uint64_t line_count_max
    uint64_t name_count


cdef inline size_t scan_reach_bytes(const scan_t *scan) noexcept nogil:
    """Return how many octets from `scan.at` on can belong to its line, LF included."""
    cdef size_t left = scan.size_bytes - scan.at
    return left if left < <size_t> LINE_BYTES_MAX + 1 else <size_t> LINE_BYTES_MAX + 1


cdef inline void scan_accept(scan_t *scan, size_t size, bint is_name) noexcept nogil:
    """Count the line of `size` octets at `scan.at`, and go on behind its LF."""
    scan.previous_at = scan.at
    scan.previous_bytes = size
    scan.at += size + 1
    scan.line_count += 1
    scan.name_count += is_name


cdef inline bint scan_on(scan_t *scan) noexcept nogil:
    """Read lines up to the end (True), or up to one in doubt, at `scan.at` (False)."""
    cdef const uint8_t *line
    cdef const uint8_t *end
    cdef size_t size, common
    cdef int kind, order
    while scan.at < scan.size_bytes:
        line = scan.text + scan.at
        end = <const uint8_t *> memchr(line, c"\n", scan_reach_bytes(scan))
        if end == NULL or scan.line_count >= scan.line_count_max:
            return False
        size = end - line
        kind = line_kind(line, size)
        if kind == LINE_UNSURE:
            return False
        common = size if size < scan.previous_bytes else scan.previous_bytes
        order = memcmp(scan.text + scan.previous_at, line, common)
        if order > 0 or (order == 0 and scan.previous_bytes >= size):
            return False
        scan_accept(scan, size, kind == LINE_EXACT or kind == LINE_SUBTREE)
    return True
