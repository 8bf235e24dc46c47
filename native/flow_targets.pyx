# cython: language_level=3
"""Which lists have a target that a flow's source or target is in: all of them, not the first.

Entries are prefixes of 128 bits (IPv4 as ::ffff:0:0/96 and longer), sorted by length and value,
24 octets each; an address is looked for once by each length that is there, where a bit of its
hash says that it may be found. Nothing of a flow that is in no list is handed on or kept.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort

from flow cimport flow_t
from guard_networks cimport prefix_t, read_big, read_prefix
from shared_lines cimport PART_IP, PART_NET, PARTS, find_parts, line_end, list_t, part_t

cdef enum:
    LENGTHS = 129
    MAPPED_BITS = 96
    BITS_EACH = 8            # of the filter, for each entry: one look in eight is in vain
    SIDE_SOURCE = 1
    SIDE_TARGET = 2

SOURCE, TARGET = SIDE_SOURCE, SIDE_TARGET


cdef struct entry_t:
    uint64_t high
    uint64_t low
    uint32_t owner
    uint32_t length


cdef int compare(const void *one, const void *other) noexcept nogil:
    cdef const entry_t *a = <const entry_t *> one
    cdef const entry_t *b = <const entry_t *> other
    if a.length != b.length:
        return -1 if a.length < b.length else 1
    if a.high != b.high:
        return -1 if a.high < b.high else 1
    if a.low != b.low:
        return -1 if a.low < b.low else 1
    return (a.owner > b.owner) - (a.owner < b.owner)


cdef inline void cut(uint64_t *high, uint64_t *low, uint32_t length) noexcept nogil:
    """Clear all bits behind the first `length`, 1 to 128."""
    cdef uint64_t ones = 0xFFFFFFFFFFFFFFFF
    if length <= 64:
        low[0] = 0
        high[0] &= ones << (64 - length)
    elif length < 128:
        low[0] &= ones << (128 - length)


cdef inline uint64_t place(uint64_t high, uint64_t low, uint32_t length) noexcept nogil:
    """Return a hash of a prefix; only how long a lookup takes depends on it."""
    cdef uint64_t mixed = (high ^ (low * <uint64_t> 0x9E3779B97F4A7C15) ^ length)
    mixed = (mixed ^ (mixed >> 32)) * <uint64_t> 0xD6E8FEB86659FD93
    return mixed ^ (mixed >> 32)


cdef int compare_prefixes(const entry_t *a, const entry_t *b) noexcept nogil:
    return a.length != b.length or a.high != b.high or a.low != b.low


cdef inline bint read_entry(
    const list_t *of, size_t at, size_t end, entry_t *entry
) noexcept nogil:
    """Read the value of a line, and tell whether it is an address or a prefix; no owner."""
    cdef prefix_t prefix
    if at >= end or not read_prefix(of.text + at, end - at, &prefix) or prefix.length == 0:
        return False
    if prefix.family == 4:
        entry.high = 0
        entry.low = (<uint64_t> 0xFFFF << 32) | (prefix.high >> 32)
        entry.length = MAPPED_BITS + prefix.length
    else:
        entry.high, entry.low = prefix.high, prefix.low
        entry.length = prefix.length
    cut(&entry.high, &entry.low, entry.length)
    return True


cdef class FlowTargets:
    """The addresses and prefixes of lists, each list under the number of its owner."""

    cdef entry_t *entries
    cdef uint64_t count
    cdef uint64_t room
    cdef uint64_t begins[LENGTHS + 1]
    cdef uint64_t *filter
    cdef uint64_t filter_mask
    cdef bint is_sorted

    def __dealloc__(self):
        PyMem_Free(self.entries)
        PyMem_Free(self.filter)

    def __len__(self):
        return self.count

    def add(self, uint32_t owner, const uint8_t[::1] text not None):
        """Take in the addresses and prefixes of a canonical target list; names are passed over.

        Raises:
            ValueError: lookups have begun.
        """
        if self.is_sorted:
            raise ValueError("lists are added before the first lookup")
        if text.shape[0]:
            self._read(owner, &text[0], text.shape[0])

    def find(self, const uint8_t[::1] address not None):
        """Return the (owner, prefix length) pairs of an address of 16 octets, longest first."""
        if address.shape[0] != 16:
            raise ValueError("an address has 16 octets here, IPv4 mapped")
        self._sort()
        found = []
        self._find(&address[0], found, ())
        return found

    def match(self, const uint8_t[::1] flows not None):
        """Return what packed flows have to do with the lists, in their order.

        Each hit is (number of the flow, SOURCE or TARGET, owner, prefix length of 128 bits).
        """
        cdef size_t number, count = flows.shape[0] // sizeof(flow_t)
        cdef const flow_t *flow
        if <size_t> flows.shape[0] != count * sizeof(flow_t):
            raise ValueError("that is no whole number of flows")
        self._sort()
        found = []
        for number in range(count):
            flow = <const flow_t *> &flows[number * sizeof(flow_t)]
            self._find(flow.source, found, (number, SIDE_SOURCE))
            self._find(flow.target, found, (number, SIDE_TARGET))
        return found

    def covers(self, const uint8_t[::1] text not None, uint64_t told_max):
        """Compare a canonical list with what is here: which of its lines lie in some entry.

        Returns how many lines do, owner -> how many lie in an entry of it, owner -> how many have
        their longest such entry there, and of the first `told_max` lines (number from 1, line,
        the (owner, prefix length) pairs, longest first).
        """
        cdef list_t of
        cdef part_t parts[PARTS]
        cdef entry_t entry
        cdef size_t at = 0, end
        cdef uint64_t number = 0, hits = 0
        cdef int part
        self._sort()
        each, longest, told = {}, {}, []
        if text.shape[0] == 0:
            return hits, each, longest, told
        of = list_t(text=&text[0], size_bytes=text.shape[0])
        find_parts(&of, parts)
        for part in (PART_IP, PART_NET):
            while at < parts[part].at:
                at = line_end(&of, at) + 1
                number += 1
            while at < parts[part].end:
                end = line_end(&of, at)
                number += 1
                if read_entry(&of, at + parts[part].word_bytes, end, &entry):
                    found = []
                    self._find_around(entry.high, entry.low, entry.length, found, ())
                    if found:
                        hits += 1
                        longest[found[0][0]] = longest.get(found[0][0], 0) + 1
                        for owner in {owner for owner, _ in found}:
                            each[owner] = each.get(owner, 0) + 1
                        if <uint64_t> len(told) < told_max:
                            told.append((number, bytes(text[at:end]).decode("ascii"), found))
                at = end + 1
        return hits, each, longest, told

    def spans(self):
        """Return prefix length -> how many entries have it and lie in no other, by family.

        The first is IPv4's, with lengths up to 32; entries that are there twice count once.
        """
        cdef uint64_t at
        cdef entry_t *entry
        self._sort()
        four, six = {}, {}
        for at in range(self.count):
            entry = self.entries + at
            if at and compare_prefixes(entry, entry - 1) == 0:
                continue
            if self._is_inside(entry):
                continue
            if entry.high == 0 and entry.length >= MAPPED_BITS and entry.low >> 32 == 0xFFFF:
                four[entry.length - MAPPED_BITS] = four.get(entry.length - MAPPED_BITS, 0) + 1
            else:
                six[entry.length] = six.get(entry.length, 0) + 1
        return four, six

    cdef bint _is_inside(self, const entry_t *entry) noexcept nogil:
        """Tell whether a shorter entry is around it."""
        cdef uint64_t high, low, at
        cdef uint32_t length
        for length in range(1, entry.length):
            if self.begins[length] == self.begins[length + 1]:
                continue
            high, low = entry.high, entry.low
            cut(&high, &low, length)
            if not self._may_have(high, low, length):
                continue
            at = self._first(self.begins[length], self.begins[length + 1], high, low)
            if at < self.begins[length + 1] and self.entries[at].high == high:
                if self.entries[at].low == low:
                    return True
        return False

    cdef int _find(self, const uint8_t *octets, list found, tuple head) except -1:
        cdef uint64_t high = read_big(octets, 8), low = read_big(octets + 8, 8)
        if not (high | low):
            return 0
        return self._find_around(high, low, LENGTHS - 1, found, head)

    cdef int _find_around(
        self, uint64_t address_high, uint64_t address_low, int longest, list found, tuple head
    ) except -1:
        """Add the entries at and around a prefix of `longest` bits."""
        cdef uint64_t high, low, at, end
        cdef int length
        if self.count == 0:
            return 0
        for length in range(longest, 0, -1):
            end = self.begins[length + 1]
            if self.begins[length] == end:
                continue
            high, low = address_high, address_low
            cut(&high, &low, length)
            if not self._may_have(high, low, length):
                continue
            at = self._first(self.begins[length], end, high, low)
            while at < end and self.entries[at].high == high and self.entries[at].low == low:
                found.append((*head, self.entries[at].owner, length))
                at += 1
        return 0

    cdef uint64_t _first(
        self, uint64_t begin, uint64_t end, uint64_t high, uint64_t low
    ) noexcept nogil:
        """Return the first entry of one length that is not before the value."""
        cdef uint64_t middle
        while begin < end:
            middle = begin + (end - begin) // 2
            if self.entries[middle].high < high or (
                self.entries[middle].high == high and self.entries[middle].low < low
            ):
                begin = middle + 1
            else:
                end = middle
        return begin

    cdef bint _may_have(self, uint64_t high, uint64_t low, uint32_t length) noexcept nogil:
        cdef uint64_t bit = place(high, low, length) & self.filter_mask
        return (self.filter[bit >> 6] >> (bit & 63)) & 1

    cdef int _sort(self) except -1:
        cdef uint64_t at, bit, bits = 64
        cdef uint32_t length = 0
        if self.is_sorted:
            return 0
        while bits < self.count * BITS_EACH:
            bits *= 2
        self.filter = <uint64_t *> PyMem_Calloc(bits // 64, sizeof(uint64_t))
        if self.filter == NULL:
            raise MemoryError
        self.filter_mask = bits - 1
        with nogil:
            if self.count:
                qsort(self.entries, self.count, sizeof(entry_t), compare)
            for at in range(self.count):
                bit = place(self.entries[at].high, self.entries[at].low, self.entries[at].length)
                bit &= self.filter_mask
                self.filter[bit >> 6] |= <uint64_t> 1 << (bit & 63)
                while length < self.entries[at].length:
                    length += 1
                    self.begins[length] = at
            while length < LENGTHS:
                length += 1
                self.begins[length] = self.count
        self.is_sorted = True
        return 0

    cdef int _grow(self) except -1:
        cdef uint64_t room = 1024 if self.room == 0 else self.room * 2
        cdef entry_t *entries = <entry_t *> PyMem_Realloc(self.entries, room * sizeof(entry_t))
        if entries == NULL:
            raise MemoryError
        self.entries, self.room = entries, room
        return 0

    cdef int _read(self, uint32_t owner, const uint8_t *text, size_t size) except -1:
        cdef list_t of = list_t(text=text, size_bytes=size)
        cdef part_t parts[PARTS]
        cdef entry_t entry
        cdef size_t at, end
        cdef int part
        find_parts(&of, parts)
        for part in (PART_IP, PART_NET):
            at = parts[part].at
            while at < parts[part].end:
                end = line_end(&of, at)
                if read_entry(&of, at + parts[part].word_bytes, end, &entry):
                    if self.count == self.room:
                        self._grow()
                    entry.owner = owner
                    self.entries[self.count] = entry
                    self.count += 1
                at = end + 1
        return 0
