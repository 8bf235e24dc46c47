# cython: language_level=3
"""Which of many target lists may have a target in common, without a Python object per target.

Lists fall into groups: two that share a value, of whatever kind, are in one group, and so is
whatever shares one with either. Values are compared by 64 bits of a hash (FNV-1a), so a group may
be too large, and never too small. Memory is bounded: with many targets there are several passes,
each over the values of one part of the hashes.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memset

cdef enum:
    SLOTS_MIN = 1024
    SLOTS_MAX = 1 << 22  # 64 MiB


cdef struct slot_t:
    uint64_t key  # 0: empty
    uint32_t owner  # the list that had the value last


cdef inline uint64_t hash_of(const uint8_t *value, size_t size) noexcept nogil:
    cdef uint64_t found = 0xCBF29CE484222325U
    cdef size_t at
    for at in range(size):
        found = (found ^ value[at]) * 0x100000001B3U
    found ^= found >> 32
    return found if found else 1


cdef class Sharing:
    """`owner_count` lists of `target_count` targets in all; add each once in each of `passes`."""

    cdef readonly uint32_t passes
    cdef slot_t *slots
    cdef uint64_t slot_count
    cdef uint64_t room
    cdef uint32_t *parents
    cdef uint32_t owner_count
    cdef uint32_t present

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

    def groups(self):
        """Return for each list, by its number, the number of one list of its group."""
        return [self._root(owner) for owner in range(self.owner_count)]

    cdef bint _read(self, uint32_t owner, const uint8_t *text, size_t size) noexcept nogil:
        cdef size_t at = 0, end
        cdef const uint8_t *found
        cdef uint64_t key, slot
        while at < size:
            found = <const uint8_t *> memchr(text + at, c"\n", size - at)
            end = size if found == NULL else <size_t> (found - text)
            found = <const uint8_t *> memchr(text + at, c" ", end - at)
            if found != NULL:
                at = <size_t> (found - text) + 1
            key = hash_of(text + at, end - at)
            at = end + 1
            if self.passes > 1 and (key >> 32) % self.passes != self.present:
                continue
            slot = key & (self.slot_count - 1)
            while self.slots[slot].key != 0 and self.slots[slot].key != key:
                slot = (slot + 1) & (self.slot_count - 1)
            if self.slots[slot].key == 0:
                if self.room == 0:
                    return False
                self.room -= 1
                self.slots[slot].key = key
            elif self.slots[slot].owner != owner:
                self._join(owner, self.slots[slot].owner)
            self.slots[slot].owner = owner
        return True

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
