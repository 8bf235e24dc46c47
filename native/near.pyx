# cython: language_level=3
"""Which lists may share a target with one short list: looked up in them, not read through.

What equals a target of the short list, or covers it, is looked for in the sorted lines of the
other; only what has to be read to find it is: all prefixes of the other, and where the short list
has subtrees or prefixes itself, the names or addresses that these could cover. Agrees with
sharing.pyx on any two lists. Not to be used by two threads at once.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memset

from covers cimport count_lines, fill_wides, mark_covered, wide_t, wides_t
from guard_networks cimport contains, prefix_t, read_prefix
from shared_lines cimport (
    PART_EXACT, PART_IP, PART_NET, PART_SUBTREE, PARTS, compare_values, find_parts, first_like,
    line_end, list_t, merge_t, next_shared, number_lines, part_t, seek,
)

cdef enum:
    SLOTS_MIN = 16


cdef int compare_prefixes(const void *first, const void *second) noexcept nogil:
    cdef const prefix_t *one = <const prefix_t *> first
    cdef const prefix_t *other = <const prefix_t *> second
    if one.family != other.family:
        return <int> one.family - <int> other.family
    if one.high != other.high:
        return -1 if one.high < other.high else 1
    return (one.low > other.low) - (one.low < other.low)


cdef class Near:
    """One short list, whose text stays where it is."""

    cdef const uint8_t[::1] text
    cdef list_t of
    cdef part_t parts[PARTS]
    cdef wides_t wides
    cdef uint32_t *marks  # a line each
    cdef uint64_t lines
    cdef prefix_t *prefixes  # addresses as well, sorted by where they begin
    cdef uint64_t prefix_count

    def __cinit__(self, const uint8_t[::1] text not None):
        """Take a checked list; each line costs a few dozen octets."""
        cdef uint64_t slots = SLOTS_MIN, wide_count
        self.text = text
        self.of.text = &text[0] if text.shape[0] else NULL
        self.of.size_bytes = text.shape[0]
        find_parts(&self.of, self.parts)
        with nogil:
            self.lines = number_lines(&self.of, self.parts)
            wide_count = count_lines(&self.of, self.parts + PART_NET) + count_lines(
                &self.of, self.parts + PART_SUBTREE
            )
        while slots < 2 * wide_count:
            slots *= 2
        self.marks = <uint32_t *> PyMem_Calloc(self.lines + 1, sizeof(uint32_t))
        self.prefixes = <prefix_t *> PyMem_Calloc(self.lines + 1, sizeof(prefix_t))
        self.wides.slots = <wide_t *> PyMem_Calloc(slots, sizeof(wide_t))
        if self.marks == NULL or self.prefixes == NULL or self.wides.slots == NULL:
            raise MemoryError
        self.wides.of = self.of
        self.wides.slot_count = slots
        with nogil:
            fill_wides(&self.wides, self.parts)
            self._take_prefixes(PART_IP)
            self._take_prefixes(PART_NET)
            qsort(self.prefixes, self.prefix_count, sizeof(prefix_t), compare_prefixes)

    def __dealloc__(self):
        PyMem_Free(self.marks)
        PyMem_Free(self.prefixes)
        PyMem_Free(self.wides.slots)

    def shares(self, const uint8_t[::1] other not None):
        """Tell whether a checked list has a target in common: one covers the other."""
        cdef list_t theirs
        cdef part_t parts[PARTS]
        cdef bint found
        if not other.shape[0] or not self.of.size_bytes:
            return False
        theirs = list_t(text=&other[0], size_bytes=other.shape[0])
        with nogil:
            find_parts(&theirs, parts)
            found = (
                self._is_equal(&theirs, parts)
                or self._is_below(&theirs, parts + PART_SUBTREE)
                or self._is_inside(&theirs, parts + PART_NET)
                or self._covers(&theirs, parts)
            )
        return found

    cdef void _take_prefixes(self, int part) noexcept nogil:
        cdef size_t at = self.parts[part].at, end
        while at < self.parts[part].end:
            end = line_end(&self.of, at)
            at += self.parts[part].word_bytes
            if at < end and read_prefix(
                self.of.text + at, end - at, self.prefixes + self.prefix_count
            ):
                self.prefix_count += 1
            at = end + 1

    cdef bint _is_equal(self, const list_t *theirs, const part_t *parts) noexcept nogil:
        cdef merge_t merge
        cdef uint64_t line
        cdef int part, like
        for part in range(PARTS):
            for like in range(PARTS):
                if first_like(part) != first_like(like):
                    continue
                merge = merge_t(
                    at=self.parts[part].at, other_at=parts[like].at, line=0
                )
                if next_shared(
                    &self.of, self.parts + part, theirs, parts + like, &merge, &line
                ):
                    return True
        return False

    cdef bint _is_below(self, const list_t *theirs, const part_t *subtrees) noexcept nogil:
        """Tell whether a name is below one of their subtrees."""
        cdef size_t at, end, found
        cdef int part
        if subtrees.at >= subtrees.end:
            return False
        for part in range(PARTS):
            if part != PART_EXACT and part != PART_SUBTREE:
                continue
            at = self.parts[part].at
            while at < self.parts[part].end:
                end = line_end(&self.of, at)
                at += self.parts[part].word_bytes
                while at < end:
                    at += 1
                    if self.of.text[at - 1] != c".":
                        continue
                    found = seek(theirs, subtrees, subtrees.at, &self.of, at, 0)
                    if found < subtrees.end and compare_values(
                        theirs, found, subtrees.word_bytes, &self.of, at, 0
                    ) == 0:
                        return True
                at = end + 1
        return False

    cdef bint _is_inside(self, const list_t *theirs, const part_t *nets) noexcept nogil:
        """Tell whether an address or a prefix is inside one of their prefixes."""
        cdef size_t at = nets.at, end
        cdef uint64_t low, high, middle
        cdef prefix_t outer
        if self.prefix_count == 0:
            return False
        while at < nets.end:
            end = line_end(theirs, at)
            at += nets.word_bytes
            if at < end and read_prefix(theirs.text + at, end - at, &outer):
                low, high = 0, self.prefix_count
                while low < high:
                    middle = low + (high - low) // 2
                    if compare_prefixes(self.prefixes + middle, &outer) < 0:
                        low = middle + 1
                    else:
                        high = middle
                # What is inside begins where the outer one does, or behind; ever longer
                # ones may begin at one address.
                while low < self.prefix_count and compare_prefixes(
                    self.prefixes + low, &outer
                ) == 0:
                    if contains(&outer, self.prefixes + low):
                        return True
                    low += 1
                if low < self.prefix_count and contains(&outer, self.prefixes + low):
                    return True
            at = end + 1
        return False

    cdef bint _covers(self, const list_t *theirs, const part_t *parts) noexcept nogil:
        """Tell whether a subtree or a prefix covers one of their targets."""
        cdef part_t looked[PARTS]
        cdef uint64_t line
        cdef int part
        for part in range(PARTS):
            looked[part] = parts[part]
            looked[part].first_line = 0
            if first_like(part) == PART_EXACT:
                if self.parts[PART_SUBTREE].at >= self.parts[PART_SUBTREE].end:
                    looked[part].end = looked[part].at
            elif self.parts[PART_NET].at >= self.parts[PART_NET].end:
                looked[part].end = looked[part].at
        memset(self.marks, 0, self.lines * sizeof(uint32_t))
        mark_covered(&self.wides, theirs, looked, True, self.marks, NULL, 1, 0)
        for line in range(self.lines):
            if self.marks[line]:
                return True
        return False
