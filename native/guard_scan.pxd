# cython: language_level=3
"""A whole list read once: what fires is counted, and written into a report.

All memory is taken before; a line of the report that does not fit any more is counted. Reads
the list, the index and what past orders say of each line. Never blocks or calls Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from guard_find cimport (
    ADMINISTRATIVE_TIME, EMERGENCY_REPEATED, GUARDS, HIDDEN_BEFORE, STOPPED_BEFORE, find, finds_t,
    guard_line, index_t,
)
from shared_lines cimport line_end, list_t

cdef enum:
    GUARD_NAME_BYTES_MAX = 32
    NUMBER_BYTES_MAX = 20


ctypedef struct past_t:
    # What past orders say of each line; NULL where none says anything.
    uint32_t *emergency  # evidence + 1
    uint32_t *stopped
    uint32_t *hidden
    int64_t *in_force_ms
    uint32_t *latest  # the precedent that was added to in_force_ms last, + 1
    int64_t in_force_ms_max
    uint32_t evidence  # of ADMINISTRATIVE_TIME


ctypedef struct guard_scan_t:
    list_t text
    size_t at
    uint64_t line  # from 0
    finds_t finds  # at the line at hand; room for every piece of evidence and a few more
    uint64_t counts[GUARDS]
    uint16_t *seen  # by evidence, a bit for each guard
    const uint8_t **evidence
    const uint16_t *evidence_bytes
    const char *guard_names[GUARDS]
    uint8_t guard_name_bytes[GUARDS]
    uint8_t *report
    size_t report_bytes
    size_t report_bytes_max
    uint64_t left_out  # hits that did not fit; after the first of them none is written


cdef inline void guard_past(guard_scan_t *scan, const past_t *past) noexcept nogil:
    """Find what past orders make of the line at hand."""
    if past.emergency != NULL and past.emergency[scan.line]:
        find(&scan.finds, EMERGENCY_REPEATED, past.emergency[scan.line] - 1)
    if past.in_force_ms != NULL and past.in_force_ms[scan.line] > past.in_force_ms_max:
        find(&scan.finds, ADMINISTRATIVE_TIME, past.evidence)
    if past.stopped != NULL and past.stopped[scan.line]:
        find(&scan.finds, STOPPED_BEFORE, past.stopped[scan.line] - 1)
    if past.hidden != NULL and past.hidden[scan.line]:
        find(&scan.finds, HIDDEN_BEFORE, past.hidden[scan.line] - 1)


cdef inline size_t write_number(uint8_t *to, uint64_t number) noexcept nogil:
    """Write a decimal number; return its octets, at most NUMBER_BYTES_MAX."""
    cdef uint8_t digits[NUMBER_BYTES_MAX]
    cdef size_t count = 0, at
    while True:
        digits[count] = <uint8_t> (c"0" + number % 10)
        number //= 10
        count += 1
        if number == 0:
            break
    for at in range(count):
        to[at] = digits[count - 1 - at]
    return count


cdef inline uint8_t *put(uint8_t *to, const void *octets, size_t count) noexcept nogil:
    memcpy(to, octets, count)
    return to + count


cdef inline void report_hit(
    guard_scan_t *scan, const uint8_t *line, size_t size, uint32_t guard, uint32_t evidence
) noexcept nogil:
    """Write one line of the report, or count it as left out."""
    cdef uint8_t *to = scan.report + scan.report_bytes
    cdef size_t room = scan.report_bytes_max - scan.report_bytes
    if scan.left_out or room < (
        NUMBER_BYTES_MAX + GUARD_NAME_BYTES_MAX + size + scan.evidence_bytes[evidence] + 8
    ):
        scan.left_out += 1
        return
    to += write_number(to, scan.line + 1)
    to = put(to, b" ", 1)
    to = put(to, scan.guard_names[guard], scan.guard_name_bytes[guard])
    to = put(to, b" ", 1)
    to = put(to, line, size)
    to = put(to, b" | ", 3)
    to = put(to, scan.evidence[evidence], scan.evidence_bytes[evidence])
    to = put(to, b"\n", 1)
    scan.report_bytes = to - scan.report


cdef inline bint scan_all(
    guard_scan_t *scan, const index_t *index, const past_t *past
) noexcept nogil:
    """Read every line; False at one that cannot be read, whose number is then `scan.line`."""
    cdef const uint8_t *line
    cdef size_t end
    cdef uint32_t at, last
    while scan.at < scan.text.size_bytes:
        line = scan.text.text + scan.at
        end = line_end(&scan.text, scan.at)
        scan.finds.count = 0
        if not guard_line(&scan.finds, index, line, end - scan.at):
            return False
        guard_past(scan, past)
        last = 0
        for at in range(scan.finds.count):
            if scan.finds.found[at].guard != last:
                last = scan.finds.found[at].guard
                scan.counts[last] += 1
            scan.seen[scan.finds.found[at].evidence] |= <uint16_t> (1 << last)
            report_hit(scan, line, end - scan.at, last, scan.finds.found[at].evidence)
        scan.at = end + 1
        scan.line += 1
    return True
