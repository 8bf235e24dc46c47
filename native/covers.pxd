# cython: language_level=3
"""Which targets of one list cover targets of another: subtrees and prefixes, found by hash.

A subtree covers every name below it, a prefix every address and prefix inside it. What equals
is found by `shared_lines`. A wide target found by its hash is compared in full. Reads the two
texts and the table, whose memory the caller takes. Never blocks, allocates or calls Python.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from guard_networks cimport contains, prefix_t, read_prefix
from shared_lines cimport (
    PART_EXACT, PART_IP, PART_NET, PART_SUBTREE, PARTS, line_end, list_t, part_t, set_mark,
)

cdef enum:
    LENGTHS = 129


ctypedef struct wide_t:
    uint64_t key  # 0: empty
    size_t at  # of the value
    uint64_t line  # from 0


ctypedef struct wides_t:
    # The subtrees and prefixes of one list.
    list_t of
    wide_t *slots  # zeroed; room for twice as many as there are, a power of two
    uint64_t slot_count
    uint8_t lengths[LENGTHS]  # 1: some IPv4 prefix has it; 2: some IPv6 prefix


cdef inline uint64_t add_octet(uint64_t found, uint8_t octet) noexcept nogil:
    """Take one octet more into a hash (FNV-1a) that begins with `NOTHING`."""
    return (found ^ octet) * 0x100000001B3U


cdef inline uint64_t nothing() noexcept nogil:
    return 0xCBF29CE484222325U


cdef inline uint64_t finished(uint64_t found) noexcept nogil:
    """Return the hash as a key: never 0, its low bits as good as the others."""
    found ^= found >> 32
    return found if found else 1


cdef inline uint64_t key_of_prefix(const prefix_t *prefix, uint8_t length) noexcept nogil:
    """Return the key of the first `length` bits, at most the prefix's own."""
    cdef uint64_t ones = 0xFFFFFFFFFFFFFFFF, found = nothing()
    cdef uint64_t high = prefix.high, low = prefix.low
    cdef int at
    if length <= 64:
        low = 0
        high = high & (ones << (64 - length)) if length else 0
    elif length < 128:
        low &= ones << (128 - length)
    for at in range(8):
        found = add_octet(found, <uint8_t> (high >> (8 * at)))
    for at in range(8):
        found = add_octet(found, <uint8_t> (low >> (8 * at)))
    return finished(add_octet(add_octet(found, length), prefix.family))


cdef inline uint64_t key_of_name(const uint8_t *name, size_t size) noexcept nogil:
    """Return the key of a name, read from its end: so that those above it come on the way."""
    cdef uint64_t found = nothing()
    while size:
        size -= 1
        found = add_octet(found, name[size])
    return finished(found)


cdef inline uint64_t count_lines(const list_t *of, const part_t *part) noexcept nogil:
    cdef uint64_t count = 0
    cdef size_t at = part.at
    while at < part.end:
        count += 1
        at = line_end(of, at) + 1
    return count


cdef inline void put_wide(wides_t *wides, uint64_t key, size_t at, uint64_t line) noexcept nogil:
    cdef uint64_t slot = key & (wides.slot_count - 1)
    while wides.slots[slot].key:
        slot = (slot + 1) & (wides.slot_count - 1)
    wides.slots[slot] = wide_t(key=key, at=at, line=line)


cdef inline void fill_wides(wides_t *wides, const part_t *parts) noexcept nogil:
    """Put the prefixes and subtrees of a list, whose parts these are, into empty slots."""
    cdef const list_t *of = &wides.of
    cdef const part_t *part
    cdef prefix_t prefix
    cdef size_t at, end
    cdef uint64_t line
    memset(wides.lengths, 0, sizeof(wides.lengths))
    part = parts + PART_NET
    at, line = part.at, part.first_line
    while at < part.end:
        end = line_end(of, at)
        at += part.word_bytes
        if at < end and read_prefix(of.text + at, end - at, &prefix):
            wides.lengths[prefix.length] |= 1 if prefix.family == 4 else 2
            put_wide(wides, key_of_prefix(&prefix, prefix.length), at, line)
        at = end + 1
        line += 1
    part = parts + PART_SUBTREE
    at, line = part.at, part.first_line
    while at < part.end:
        end = line_end(of, at)
        at += part.word_bytes
        if at < end:
            put_wide(wides, key_of_name(of.text + at, end - at), at, line)
        at = end + 1
        line += 1


cdef inline const wide_t *find_name(
    const wides_t *wides, uint64_t key, const uint8_t *name, size_t size
) noexcept nogil:
    """Return the subtree of this very name, or NULL."""
    cdef uint64_t slot = key & (wides.slot_count - 1)
    cdef const wide_t *wide
    while wides.slots[slot].key:
        wide = wides.slots + slot
        if (
            wide.key == key
            and line_end(&wides.of, wide.at) - wide.at == size
            and memcmp(wides.of.text + wide.at, name, size) == 0
        ):
            return wide
        slot = (slot + 1) & (wides.slot_count - 1)
    return NULL


cdef inline const wide_t *find_prefix(
    const wides_t *wides, const prefix_t *prefix, uint8_t length
) noexcept nogil:
    """Return the prefix of the first `length` bits of this one, or NULL."""
    cdef uint64_t key = key_of_prefix(prefix, length)
    cdef uint64_t slot = key & (wides.slot_count - 1)
    cdef const wide_t *wide
    cdef prefix_t other
    while wides.slots[slot].key:
        wide = wides.slots + slot
        if (
            wide.key == key
            and read_prefix(
                wides.of.text + wide.at, line_end(&wides.of, wide.at) - wide.at, &other
            )
            and other.length == length
            and contains(&other, prefix)
        ):
            return wide
        slot = (slot + 1) & (wides.slot_count - 1)
    return NULL


cdef inline void mark_covered(
    const wides_t *wides, const list_t *of, const part_t *parts, bint marks_wide,
    uint32_t *marks, int64_t *in_force_ms, uint32_t mark, int64_t added_ms,
) noexcept nogil:
    """Mark each line of the list `of` that a wide target covers, or else each such wide target.

    The marks are those of the list whose lines are marked, as in `shared_lines.mark_past`.
    """
    cdef const wide_t *wide
    cdef prefix_t prefix
    cdef size_t at, end, size, begin
    cdef uint64_t line, found
    cdef int part, length
    cdef bint is_name
    if wides.slot_count == 0:
        return
    for part in range(PARTS):
        is_name = part == PART_EXACT or part == PART_SUBTREE
        at, line = parts[part].at, parts[part].first_line
        while at < parts[part].end:
            end = line_end(of, at)
            begin = at + parts[part].word_bytes
            if is_name:
                found = nothing()
                size = end
                while size > begin:
                    size -= 1
                    if of.text[size] == c".":
                        wide = find_name(
                            wides, finished(found), of.text + size + 1, end - size - 1
                        )
                        if wide != NULL:
                            set_mark(
                                marks, in_force_ms, wide.line if marks_wide else line, mark,
                                added_ms,
                            )
                    found = add_octet(found, of.text[size])
            elif begin < end and read_prefix(of.text + begin, end - begin, &prefix):
                for length in range(prefix.length + 1):
                    if not wides.lengths[length] & (1 if prefix.family == 4 else 2):
                        continue
                    wide = find_prefix(wides, &prefix, <uint8_t> length)
                    if wide != NULL:
                        set_mark(
                            marks, in_force_ms, wide.line if marks_wide else line, mark, added_ms
                        )
            at = end + 1
            line += 1
