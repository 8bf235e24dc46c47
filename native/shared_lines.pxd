# cython: language_level=3
"""Which lines of a checked list have a value that another list has, too, of whatever kind.

A list's four kinds stand one behind the other, each sorted by value, so a merge of each kind
of names with each, of addresses, and of prefixes, finds them all. What is not looked for in
the other list is jumped over. Reads the two texts. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

cdef enum:
    PARTS = 4
    PART_EXACT = 0
    PART_IP = 1
    PART_NET = 2
    PART_SUBTREE = 3
    STEP_BYTES_MIN = 32


ctypedef struct list_t:
    const uint8_t *text
    size_t size_bytes


ctypedef struct part_t:
    # The lines of one kind.
    size_t at
    size_t end
    size_t word_bytes  # of the kind's word and the space behind it
    uint64_t first_line  # from 0


ctypedef struct numbering_t:
    # Where a list's numbering stands; it begins with zeros.
    size_t at
    uint64_t line
    int part


ctypedef struct merge_t:
    # A merge of two parts; where it stands.
    size_t at
    size_t other_at
    uint64_t line


cdef inline size_t line_end(const list_t *of, size_t at) noexcept nogil:
    """Return where the line at `at` ends: its LF, or the text's end."""
    cdef const uint8_t *lf = <const uint8_t *> memchr(of.text + at, c"\n", of.size_bytes - at)
    return of.size_bytes if lf == NULL else <size_t> (lf - of.text)


cdef inline int part_of(const list_t *of, size_t at) noexcept nogil:
    """Tell the kind of the line at `at` by its first letter; a checked list has no other."""
    cdef uint8_t letter = of.text[at]
    if letter == c"e":
        return PART_EXACT
    if letter == c"i":
        return PART_IP
    return PART_NET if letter == c"n" else PART_SUBTREE


cdef inline size_t first_of(const list_t *of, int part) noexcept nogil:
    """Return where the first line of `part` or one behind it begins."""
    cdef size_t low = 0, high = of.size_bytes, middle
    while low < high:
        middle = low + (high - low) // 2
        while middle > low and of.text[middle - 1] != c"\n":
            middle -= 1
        if part_of(of, middle) < part:
            low = line_end(of, middle) + 1
        else:
            high = middle
    return low if low < of.size_bytes else of.size_bytes


cdef inline void find_parts(const list_t *of, part_t *parts) noexcept nogil:
    """Fill four parts but for their `first_line`."""
    cdef int part
    for part in range(PARTS):
        parts[part].at = first_of(of, part)
        parts[part].first_line = 0
    for part in range(PARTS):
        parts[part].end = parts[part + 1].at if part + 1 < PARTS else of.size_bytes
    parts[PART_EXACT].word_bytes = 6
    parts[PART_IP].word_bytes = 3
    parts[PART_NET].word_bytes = 4
    parts[PART_SUBTREE].word_bytes = 8


cdef inline int compare_values(
    const list_t *one, size_t at, size_t word, const list_t *other, size_t other_at,
    size_t other_word,
) noexcept nogil:
    """Compare two lines' values bytewise."""
    cdef size_t end = line_end(one, at), other_end = line_end(other, other_at)
    cdef size_t size, other_size, common
    cdef int order
    at = at + word if at + word < end else end
    other_at = other_at + other_word if other_at + other_word < other_end else other_end
    size = end - at
    other_size = other_end - other_at
    common = size if size < other_size else other_size
    order = memcmp(one.text + at, other.text + other_at, common)
    if order:
        return order
    return (size > other_size) - (size < other_size)


cdef inline size_t seek(
    const list_t *of, const part_t *part, size_t low, const list_t *other, size_t other_at,
    size_t other_word,
) noexcept nogil:
    """Return the first line of `part` from `low` on whose value is not before the other's."""
    cdef size_t high, middle, step = STEP_BYTES_MIN
    if low >= part.end:
        return low
    if compare_values(of, low, part.word_bytes, other, other_at, other_word) >= 0:
        return low
    low = line_end(of, low) + 1
    high = low
    while high < part.end:  # ever longer jumps, until one goes too far
        if compare_values(of, high, part.word_bytes, other, other_at, other_word) >= 0:
            break
        low = line_end(of, high) + 1
        high = low + step
        if high >= part.end:
            high = part.end
            break
        high = line_end(of, high) + 1
        step *= 2
    if high > part.end:
        high = part.end
    while low < high:
        middle = low + (high - low) // 2
        while middle > low and of.text[middle - 1] != c"\n":
            middle -= 1
        if compare_values(of, middle, part.word_bytes, other, other_at, other_word) < 0:
            low = line_end(of, middle) + 1
        else:
            high = middle
    return low


cdef inline bint next_shared(
    const list_t *one, const part_t *part, const list_t *other, const part_t *other_part,
    merge_t *merge, uint64_t *line,
) noexcept nogil:
    """Find the next line of `part` whose value is in the other part; False at the end.

    It goes through every line of `part`, since it counts them, and jumps in the other.
    """
    cdef int order
    while merge.at < part.end:
        merge.other_at = seek(
            other, other_part, merge.other_at, one, merge.at, part.word_bytes
        )
        if merge.other_at >= other_part.end:
            return False
        order = compare_values(
            one, merge.at, part.word_bytes, other, merge.other_at, other_part.word_bytes
        )
        line[0] = merge.line
        merge.at = line_end(one, merge.at) + 1
        merge.line += 1
        if order == 0:
            return True
    return False


cdef inline void number_on(
    const list_t *text, part_t *parts, numbering_t *numbering
) noexcept nogil:
    """Fill in the `first_line` of parts that begin before the end of `text`; count its lines."""
    while numbering.at < text.size_bytes:
        while numbering.part < PARTS and parts[numbering.part].at <= numbering.at:
            parts[numbering.part].first_line = numbering.line
            numbering.part += 1
        numbering.at = line_end(text, numbering.at) + 1
        numbering.line += 1


cdef inline uint64_t number_lines(const list_t *text, part_t *parts) noexcept nogil:
    """Fill in each part's `first_line`; return how many lines the list has."""
    cdef numbering_t numbering = numbering_t(at=0, line=0, part=0)
    number_on(text, parts, &numbering)
    return numbering.line


cdef inline int first_like(int part) noexcept nogil:
    """Return the first of the parts that can have the values of `part`; the last is beside it."""
    return PART_EXACT if part == PART_SUBTREE else part


cdef inline void set_mark(
    uint32_t *marks, int64_t *in_force_ms, uint64_t line, uint32_t mark, int64_t added_ms
) noexcept nogil:
    """Mark a line; the first mark stays. With `in_force_ms`, add to it, once for each mark."""
    if in_force_ms == NULL:
        if marks[line] == 0:
            marks[line] = mark
    elif marks[line] != mark:
        marks[line] = mark
        in_force_ms[line] += added_ms


cdef inline void mark_past(
    const list_t *text, const part_t *parts, const list_t *other, uint32_t *marks,
    int64_t *in_force_ms, uint32_t mark, int64_t added_ms,
) noexcept nogil:
    """Mark each line whose target the other list has too; the first mark stays.

    With `in_force_ms`, add to it instead, once for a line: `marks` then has the last mark.
    """
    cdef part_t other_parts[PARTS]
    cdef merge_t merge
    cdef uint64_t line
    cdef int part, like
    find_parts(other, other_parts)
    for part in range(PARTS):
        for like in range(PARTS):
            if first_like(part) != first_like(like):
                continue
            merge.at = parts[part].at
            merge.line = parts[part].first_line
            merge.other_at = other_parts[like].at
            while next_shared(text, parts + part, other, other_parts + like, &merge, &line):
                set_mark(marks, in_force_ms, line, mark, added_ms)
