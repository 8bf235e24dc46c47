# cython: language_level=3
"""Deltas of target lists: two sorted texts merged into one, and one made again of the other.

A delta is lines, each `-` or `+` before a line of a list, ascending by that line, none twice.
Both walks give whole pieces into memory of the caller's, as much as has room, and go on where they
stood. They read the two texts alone; never block, allocate or call Python.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from line cimport LINE_BYTES_MAX
from shared_lines cimport list_t

cdef enum:
    DELTA_LINE_BYTES_MAX = LINE_BYTES_MAX + 2  # the sign, the line, its LF
    SAME_BYTES = 4_096
    STEP_LINES_BYTES_MIN = 64

cdef enum:
    # What a walk has to say; 0 is none of it.
    WALK_FULL = 1  # there is more, and no room
    WALK_DONE = 2
    WALK_LINE = 3  # a line of one of the texts is too long, or has no end
    WALK_SIGN = 4  # a line of the delta has no sign
    WALK_ORDER = 5  # it is not behind the line before it
    WALK_ABSENT = 6  # it takes out what the base does not have
    WALK_PRESENT = 7  # it adds what the base has


ctypedef struct diff_t:
    list_t base
    list_t following
    size_t at  # in `base`, at a line's beginning
    size_t following_at


ctypedef struct patch_t:
    list_t base
    list_t delta
    size_t at  # in `base`
    size_t copy_to  # up to where the base is to be copied before anything else
    size_t go_to  # where the base goes on after that
    size_t delta_at
    const uint8_t *added  # a line to be written after the copy, or NULL
    const uint8_t *former  # the delta's line before
    size_t added_bytes
    size_t former_bytes
    uint64_t line  # of the delta, from 1: the one read last


cdef inline size_t line_bytes(const list_t *of, size_t at) noexcept nogil:
    """Return how long the line at `at` is, its LF included; 0 when it is too long or has none."""
    cdef size_t left = of.size_bytes - at
    cdef const uint8_t *lf = <const uint8_t *> memchr(
        of.text + at, c"\n", left if left < DELTA_LINE_BYTES_MAX else DELTA_LINE_BYTES_MAX
    )
    return 0 if lf == NULL else <size_t> (lf - of.text) - at + 1


cdef inline int compare_lines(
    const uint8_t *one, size_t size, const uint8_t *other, size_t other_size
) noexcept nogil:
    """Compare two lines bytewise, with their LF: it is below every octet of a line."""
    cdef int order = memcmp(one, other, size if size < other_size else other_size)
    if order:
        return order
    return (size > other_size) - (size < other_size)


cdef inline void skip_same(diff_t *diff) noexcept nogil:
    """Go over what both texts have alike from here on, whole lines of it."""
    cdef size_t size
    while (
        diff.base.size_bytes - diff.at >= SAME_BYTES
        and diff.following.size_bytes - diff.following_at >= SAME_BYTES
        and memcmp(
            diff.base.text + diff.at, diff.following.text + diff.following_at, SAME_BYTES
        ) == 0
    ):
        size = SAME_BYTES
        while size > 0 and diff.base.text[diff.at + size - 1] != c"\n":
            size -= 1
        if size == 0:
            return
        diff.at += size
        diff.following_at += size


cdef inline int diff_on(
    diff_t *diff, uint8_t *out, size_t room, size_t *written
) noexcept nogil:
    """Write more of the delta from `base` to `following`."""
    cdef size_t size, next_size
    cdef const uint8_t *line
    cdef int order
    written[0] = 0
    while diff.at < diff.base.size_bytes or diff.following_at < diff.following.size_bytes:
        skip_same(diff)
        size = next_size = 0
        if diff.at < diff.base.size_bytes:
            size = line_bytes(&diff.base, diff.at)
            if size == 0:
                return WALK_LINE
        if diff.following_at < diff.following.size_bytes:
            next_size = line_bytes(&diff.following, diff.following_at)
            if next_size == 0:
                return WALK_LINE
        if size == 0 and next_size == 0:
            break
        if size == 0:
            order = 1
        elif next_size == 0:
            order = -1
        else:
            order = compare_lines(
                diff.base.text + diff.at, size, diff.following.text + diff.following_at, next_size
            )
        if order == 0:
            diff.at += size
            diff.following_at += size
            continue
        if order > 0:
            size, line = next_size, diff.following.text + diff.following_at
        else:
            line = diff.base.text + diff.at
        if room - written[0] < size + 1:
            return WALK_FULL
        out[written[0]] = c"+" if order > 0 else c"-"
        memcpy(out + written[0] + 1, line, size)
        written[0] += size + 1
        if order > 0:
            diff.following_at += size
        else:
            diff.at += size
    return WALK_DONE


cdef inline size_t line_at(const list_t *of, size_t at, size_t low) noexcept nogil:
    """Return where the line begins that `at` is in; `low` is the beginning of one before."""
    while at > low and of.text[at - 1] != c"\n":
        at -= 1
    return at


cdef inline size_t seek_line(
    const list_t *of, size_t low, const uint8_t *line, size_t size
) noexcept nogil:
    """Return where the first line from `low` on begins that is not before the given one.

    Ever longer jumps, then bisection: the text is sorted, each line ended by LF.
    """
    cdef size_t high = low, middle, step = STEP_LINES_BYTES_MIN, end
    while high < of.size_bytes:
        end = line_bytes(of, high)
        if end == 0 or compare_lines(of.text + high, end, line, size) >= 0:
            break
        low = high + end
        high = of.size_bytes if of.size_bytes - low <= step else line_at(of, low + step, low)
        step *= 2
    while low < high:
        middle = line_at(of, low + (high - low) // 2, low)
        end = line_bytes(of, middle)
        if end and compare_lines(of.text + middle, end, line, size) < 0:
            low = middle + end
        else:
            high = middle
    return low


cdef inline int patch_read(patch_t *patch) noexcept nogil:
    """Read the delta's next line and say what is to be done by it; WALK_FULL: go on."""
    cdef const uint8_t *line
    cdef size_t found, size = line_bytes(&patch.delta, patch.delta_at)
    cdef uint8_t sign
    cdef bint is_there
    patch.line += 1
    if size < 2:
        return WALK_LINE
    sign = patch.delta.text[patch.delta_at]
    if sign != c"-" and sign != c"+":
        return WALK_SIGN
    line = patch.delta.text + patch.delta_at + 1
    patch.delta_at += size
    size -= 1
    if patch.former != NULL and compare_lines(patch.former, patch.former_bytes, line, size) >= 0:
        return WALK_ORDER
    patch.former, patch.former_bytes = line, size
    found = seek_line(&patch.base, patch.at, line, size)
    is_there = (
        patch.base.size_bytes - found >= size and memcmp(patch.base.text + found, line, size) == 0
    )
    patch.copy_to = patch.go_to = found
    if sign == c"-":
        if not is_there:
            return WALK_ABSENT
        patch.go_to += size
    else:
        if is_there:
            return WALK_PRESENT
        patch.added, patch.added_bytes = line, size
    return WALK_FULL


cdef inline int patch_on(
    patch_t *patch, uint8_t *out, size_t room, size_t *written
) noexcept nogil:
    """Write more of the list that the base becomes by the delta."""
    cdef size_t size
    cdef int said
    written[0] = 0
    while True:
        if patch.at < patch.copy_to:
            size = patch.copy_to - patch.at
            if size > room - written[0]:
                size = room - written[0]
            memcpy(out + written[0], patch.base.text + patch.at, size)
            written[0] += size
            patch.at += size
            if patch.at < patch.copy_to:
                return WALK_FULL
        if patch.added != NULL:
            if room - written[0] < patch.added_bytes:
                return WALK_FULL
            memcpy(out + written[0], patch.added, patch.added_bytes)
            written[0] += patch.added_bytes
            patch.added = NULL
        patch.at = patch.copy_to = patch.go_to
        if patch.delta_at < patch.delta.size_bytes:
            said = patch_read(patch)
            if said != WALK_FULL:
                return said
        elif patch.at < patch.base.size_bytes:
            patch.copy_to = patch.go_to = patch.base.size_bytes
        else:
            return WALK_DONE
