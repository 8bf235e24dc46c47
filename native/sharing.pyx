# cython: language_level=3
"""Which of many target lists may have a target in common, without a Python object per target.

Lists fall into groups: two that share a target, where one covers the other or both have one
name, are in one group, and so is whatever shares one with either. Values are compared by 64
bits of a hash (FNV-1a), so a group may be too large, and never too small. Memory is bounded:
with many targets there are several passes, each over the values of one part of the hashes.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from covers cimport (
    LENGTHS, add_octet, finished, key_of_name, key_of_prefix, nothing,
)
from guard_networks cimport prefix_t, read_prefix
from shared_lines cimport (
    PART_EXACT, PART_NET, PART_SUBTREE, PARTS, find_parts, line_end, list_t, part_t,
)

cdef enum:
    SLOTS_MIN = 1024
    SLOTS_MAX = 1 << 22  # 64 MiB


cdef struct slot_t:
    uint64_t key  # 0: empty
    uint32_t owner  # the list that had the value last
    bint is_wide  # some list has it as a subtree or a prefix


cdef class Sharing:
    """`owner_count` lists of `target_count` targets in all.

    In each of `passes` add each once, and then look what covers the targets of each.
    """

    cdef readonly uint32_t passes
    cdef slot_t *slots
    cdef uint64_t slot_count
    cdef uint64_t room
    cdef uint32_t *parents
    cdef uint32_t owner_count
    cdef uint32_t present
    cdef uint8_t lengths[LENGTHS]  # 1: some IPv4 prefix has it; 2: some IPv6 prefix

    def __cinit__(self, uint32_t owner_count, uint64_t target_count, uint64_t slots_max=SLOTS_MAX):
        cdef uint32_t owner
        self.slot_count = SLOTS_MIN
        while self.slot_count < 2 * target_count and self.slot_count < slots_max:
            self.slot_count *= 2
        # A quarter of the slots is kept free, so that the parts may differ in size.
        self.passes = <uint32_t> (1 + 2 * target_count // self.slot_count)
        self.owner_count = owner_count
        self.slots = <slot_t *> PyMem_Malloc(self.slot_count * sizeof(slot_t))
        self.parents = <uint32_t *> PyMem_Calloc(owner_count + 1, sizeof(uint32_t))
        if self.slots == NULL or self.parents == NULL:
            raise MemoryError
        for owner in range(owner_count):
            self.parents[owner] = owner
        self.begin(0)

    def __dealloc__(self):
        PyMem_Free(self.slots)
        PyMem_Free(self.parents)

    def begin(self, uint32_t number):
        """Begin pass `number`, from 0; the first has begun already."""
        memset(self.slots, 0, self.slot_count * sizeof(slot_t))
        self.room = self.slot_count - self.slot_count // 4
        memset(self.lengths, 0, sizeof(self.lengths))
        self.present = number

    def add(self, uint32_t owner, const uint8_t[::1] text not None):
        """Read list `owner`, in this pass.

        Raises:
            ValueError: there are more targets than were announced, or there is no such list.
        """
        cdef bint has_room = True
        if owner >= self.owner_count:
            raise ValueError("there is no such list")
        if text.shape[0]:
            with nogil:
                has_room = self._read(owner, &text[0], text.shape[0])
        if not has_room:
            raise ValueError("there are more targets than were announced")

    def cover(self, uint32_t owner, const uint8_t[::1] text not None):
        """Join list `owner` with those whose targets cover its own; all were added before.

        Raises:
            ValueError: there is no such list.
        """
        if owner >= self.owner_count:
            raise ValueError("there is no such list")
        if text.shape[0]:
            with nogil:
                self._cover(owner, &text[0], text.shape[0])

    def groups(self):
        """Return for each list, by its number, the number of one list of its group."""
        return [self._root(owner) for owner in range(self.owner_count)]

    cdef bint _is_elsewhere(self, uint64_t key) noexcept nogil:
        """Tell whether a value's turn is in another pass."""
        return self.passes > 1 and (key >> 32) % self.passes != self.present

    cdef slot_t *_slot(self, uint64_t key) noexcept nogil:
        """Return the slot that has the key, or else the empty one that it belongs into."""
        cdef uint64_t slot = key & (self.slot_count - 1)
        while self.slots[slot].key != 0 and self.slots[slot].key != key:
            slot = (slot + 1) & (self.slot_count - 1)
        return self.slots + slot

    cdef bint _read(self, uint32_t owner, const uint8_t *text, size_t size) noexcept nogil:
        cdef list_t of = list_t(text=text, size_bytes=size)
        cdef part_t parts[PARTS]
        cdef prefix_t prefix
        cdef slot_t *slot
        cdef size_t at, end, begin
        cdef uint64_t key
        cdef int part
        find_parts(&of, parts)
        for part in range(PARTS):
            at = parts[part].at
            while at < parts[part].end:
                end = line_end(&of, at)
                begin = at + parts[part].word_bytes
                at = end + 1
                if begin > end:
                    continue
                if part == PART_EXACT or part == PART_SUBTREE:
                    key = key_of_name(text + begin, end - begin)
                elif read_prefix(text + begin, end - begin, &prefix):
                    key = key_of_prefix(&prefix, prefix.length)
                    if part == PART_NET:
                        self.lengths[prefix.length] |= 1 if prefix.family == 4 else 2
                else:
                    continue
                if self._is_elsewhere(key):
                    continue
                slot = self._slot(key)
                if slot.key == 0:
                    if self.room == 0:
                        return False
                    self.room -= 1
                    slot.key = key
                elif slot.owner != owner:
                    self._join(owner, slot.owner)
                slot.owner = owner
                if part == PART_NET or part == PART_SUBTREE:
                    slot.is_wide = True
        return True

    cdef void _join_wide(self, uint32_t owner, uint64_t key) noexcept nogil:
        cdef slot_t *slot
        if self._is_elsewhere(key):
            return
        slot = self._slot(key)
        if slot.key and slot.is_wide and slot.owner != owner:
            self._join(owner, slot.owner)

    cdef void _cover(self, uint32_t owner, const uint8_t *text, size_t size) noexcept nogil:
        cdef list_t of = list_t(text=text, size_bytes=size)
        cdef part_t parts[PARTS]
        cdef prefix_t prefix
        cdef size_t at, end, begin, here
        cdef uint64_t found
        cdef int part, length
        find_parts(&of, parts)
        for part in range(PARTS):
            at = parts[part].at
            while at < parts[part].end:
                end = line_end(&of, at)
                begin = at + parts[part].word_bytes
                at = end + 1
                if begin > end:
                    continue
                if part == PART_EXACT or part == PART_SUBTREE:
                    found = nothing()
                    here = end
                    while here > begin:
                        here -= 1
                        if text[here] == c".":
                            self._join_wide(owner, finished(found))
                        found = add_octet(found, text[here])
                elif read_prefix(text + begin, end - begin, &prefix):
                    for length in range(prefix.length + 1):
                        if self.lengths[length] & (1 if prefix.family == 4 else 2):
                            self._join_wide(owner, key_of_prefix(&prefix, <uint8_t> length))

    cdef uint32_t _root(self, uint32_t owner) noexcept nogil:
        while self.parents[owner] != owner:
            self.parents[owner] = self.parents[self.parents[owner]]
            owner = self.parents[owner]
        return owner

    cdef void _join(self, uint32_t one, uint32_t other) noexcept nogil:
        one = self._root(one)
        other = self._root(other)
        if one < other:
            self.parents[other] = one
        else:
            self.parents[one] = other
