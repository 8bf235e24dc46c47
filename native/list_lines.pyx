# cython: language_level=3
"""Which of many lists may have a line: by 64 bits of a keyed hash, so never too few of them.

Entries are (hash, owner), 16 octets, sorted by hash; a line is looked for by bisection. Whoever
asks makes sure in the list itself. Built once, then read only.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcpy

from shared_lines cimport line_end, list_t
from siphash cimport hash128_t, siphash13


cdef struct entry_t:
    uint64_t key
    uint32_t owner


cdef int compare(const void *one, const void *other) noexcept nogil:
    cdef const entry_t *a = <const entry_t *> one
    cdef const entry_t *b = <const entry_t *> other
    if a.key != b.key:
        return -1 if a.key < b.key else 1
    return (a.owner > b.owner) - (a.owner < b.owner)


cdef class ListLines:
    """The lines of lists, each list under the number of its owner.

    `secret` is 16 octets that nobody who writes lists knows.
    """

    cdef entry_t *entries
    cdef uint64_t count
    cdef uint64_t room
    cdef hash128_t key
    cdef bint is_sorted

    def __cinit__(self, bytes secret not None):
        if len(secret) != 16:
            raise ValueError("the secret has 16 octets")
        memcpy(&self.key, <const char *> secret, 16)

    def __dealloc__(self):
        PyMem_Free(self.entries)

    def __len__(self):
        return self.count

    def add(self, uint32_t owner, const uint8_t[::1] text not None):
        """Take in all lines of a list, each ended by LF.

        Raises:
            ValueError: lookups have begun.
        """
        cdef list_t of
        cdef size_t at = 0, end
        if self.is_sorted:
            raise ValueError("lists are added before the first lookup")
        if text.shape[0] == 0:
            return
        of = list_t(text=&text[0], size_bytes=text.shape[0])
        while at < of.size_bytes:
            end = line_end(&of, at)
            if self.count == self.room:
                self._grow()
            self.entries[self.count].key = siphash13(self.key, 0, of.text + at, end - at)
            self.entries[self.count].owner = owner
            self.count += 1
            at = end + 1

    def find(self, bytes line not None):
        """Return the owners whose lists may have the line, ascending."""
        cdef uint64_t low = 0, high, middle
        cdef uint64_t wanted = siphash13(
            self.key, 0, <const uint8_t *> <const char *> line, len(line)
        )
        if not self.is_sorted:
            if self.count:
                qsort(self.entries, self.count, sizeof(entry_t), compare)
            self.is_sorted = True
        high = self.count
        while low < high:
            middle = low + (high - low) // 2
            if self.entries[middle].key < wanted:
                low = middle + 1
            else:
                high = middle
        found = []
        while low < self.count and self.entries[low].key == wanted:
            found.append(self.entries[low].owner)
            low += 1
        return found

    cdef int _grow(self) except -1:
        cdef uint64_t room = 1024 if self.room == 0 else self.room * 2
        cdef entry_t *entries = <entry_t *> PyMem_Realloc(self.entries, room * sizeof(entry_t))
        if entries == NULL:
            raise MemoryError
        self.entries, self.room = entries, room
        return 0
