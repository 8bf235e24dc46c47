"""Memory taken once, at start, between two guards: a run over either end is a fault at once.

The pages are zeroed, come as they are first touched, and are left out of core dumps: what the
gate holds names what people ask for. Nothing here is called per packet.
"""

from libc.stdint cimport uint8_t

cdef extern from "<sys/mman.h>" nogil:
    cdef enum:
        PROT_NONE
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MADV_DONTDUMP
        MADV_HUGEPAGE

    void *MAP_FAILED
    void *mmap(void *address, size_t octets, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t octets)
    int mprotect(void *address, size_t octets, int protection)
    int madvise(void *address, size_t octets, int advice)

cdef enum:
    MEMORY_OCTETS = 65536  # sizes are multiples of this: whole pages on every machine


cdef inline uint8_t *memory_take(size_t octets) noexcept nogil:
    """Return `octets` zeroed octets, a multiple of MEMORY_OCTETS; NULL when there are none."""
    cdef void *whole = mmap(
        NULL, octets + 2 * MEMORY_OCTETS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
    )
    cdef uint8_t *memory
    if whole == MAP_FAILED:
        return NULL
    memory = <uint8_t *> whole + MEMORY_OCTETS
    if mprotect(memory, octets, PROT_READ | PROT_WRITE) != 0:
        munmap(whole, octets + 2 * MEMORY_OCTETS)
        return NULL
    madvise(memory, octets, MADV_DONTDUMP)
    madvise(memory, octets, MADV_HUGEPAGE)  # random reads miss the TLB less; a kernel may refuse
    return memory


cdef inline void memory_give_back(uint8_t *memory, size_t octets) noexcept nogil:
    """Return to the kernel what `memory_take` gave for the same `octets`; NULL is nothing."""
    if memory is not NULL:
        munmap(memory - MEMORY_OCTETS, octets + 2 * MEMORY_OCTETS)
