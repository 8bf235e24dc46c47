# cython: language_level=3
"""Chains: what stands at a name, told as the events that put it there, each chain kept once.

A million names of one order share one chain of one link. A link is (what stood there before,
event), so the memory is bounded by the distinct combinations of orders, not by the names.
Events come in one order (flags, then orders ascending), so equal sets are equal chains.
Link 0 is the empty chain. Allocates with malloc; never blocks on anything else.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

cdef enum:
    EVENT_FLAG = 0  # the low two bits of an event; the rest is a flag or an order slot
    EVENT_EXACT = 1
    EVENT_SUBTREE = 2
    CHAIN_NO_MEMORY = 0


ctypedef struct link_t:
    uint32_t before
    uint32_t event
    uint32_t flags  # all flags of the chain
    uint32_t posting  # its number in the table, once it is known to be used


ctypedef struct chains_t:
    link_t *links
    uint32_t count
    uint32_t room
    uint32_t *index  # open addressing over link numbers; 0 is free
    uint32_t index_size  # a power of two, at least twice `count`
    uint32_t last_before  # the answer given last: whole lists ask the same
    uint32_t last_event
    uint32_t last_link


cdef inline uint32_t chain_event(uint32_t kind, uint32_t value) noexcept nogil:
    return value << 2 | kind


cdef inline uint32_t chain_home(
    const chains_t *chains, uint32_t before, uint32_t event
) noexcept nogil:
    cdef uint64_t mixed = (<uint64_t> before << 32 | event) * <uint64_t> 0x9E3779B97F4A7C15
    return <uint32_t> (mixed >> 32) & (chains.index_size - 1)


cdef inline void chains_free(chains_t *chains) noexcept nogil:
    free(chains.links)
    free(chains.index)
    chains.links = NULL
    chains.index = NULL


cdef inline bint chains_grow(chains_t *chains, uint32_t room) noexcept nogil:
    """Make room for `room` links, a power of two; return False without memory."""
    cdef link_t *links = <link_t *> realloc(chains.links, room * sizeof(link_t))
    cdef uint32_t *index
    cdef uint32_t number, at
    if links == NULL:
        return False
    chains.links = links
    index = <uint32_t *> calloc(<size_t> room * 2, sizeof(uint32_t))
    if index == NULL:
        return False
    free(chains.index)
    chains.index = index
    chains.index_size = room * 2
    chains.room = room
    for number in range(1, chains.count):
        at = chain_home(chains, links[number].before, links[number].event)
        while index[at]:
            at = (at + 1) & (chains.index_size - 1)
        index[at] = number
    return True


cdef inline bint chains_open(chains_t *chains) noexcept nogil:
    """Begin with the empty chain alone; return False without memory."""
    chains.links = NULL
    chains.index = NULL
    chains.count = 0
    chains.last_link = 0
    if not chains_grow(chains, 256):
        return False
    chains.links[0].before = 0
    chains.links[0].event = 0
    chains.links[0].flags = 0
    chains.links[0].posting = 0
    chains.count = 1
    return True


cdef inline uint32_t chain_add(chains_t *chains, uint32_t before, uint32_t event) noexcept nogil:
    """Return the chain that is `before` and then `event`, or CHAIN_NO_MEMORY."""
    cdef uint32_t at, number
    cdef link_t *link
    if chains.last_link and chains.last_before == before and chains.last_event == event:
        return chains.last_link
    at = chain_home(chains, before, event)
    while chains.index[at]:
        link = chains.links + chains.index[at]
        if link.before == before and link.event == event:
            break
        at = (at + 1) & (chains.index_size - 1)
    number = chains.index[at]
    if number == 0:
        number = chains.count
        link = chains.links + number
        link.before = before
        link.event = event
        link.flags = chains.links[before].flags
        if event & 3 == EVENT_FLAG:
            link.flags |= event >> 2
        link.posting = 0
        chains.index[at] = number
        chains.count += 1
        if chains.count == chains.room and not chains_grow(chains, chains.room * 2):
            return CHAIN_NO_MEMORY
    chains.last_before = before
    chains.last_event = event
    chains.last_link = number
    return number
