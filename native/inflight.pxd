"""Queries that wait for the upstream, in a fixed number of slots taken once at the start.

The only place where a client's address rests: it is wiped when its slot is freed, and never
counted or shown. All slots wait equally long, so the list by age is the list by deadline.
Slot 0 is never used: 0 means "none". One thread owns it all; nothing here blocks or allocates
after `inflight_open`. Finding is by (upstream socket, id), which are random, so chains are short.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from sockets cimport explicit_bzero, sockaddr_in6, socklen_t
from wire cimport QUESTION_OCTETS_MAX, Asker

cdef struct Slot:
    Asker asker
    uint16_t upstream_id    # the id that the upstream sees, unguessable
    uint16_t upstream       # which upstream socket it left by
    uint16_t client_socket  # which socket the client asked, and is answered by
    uint8_t is_taken
    socklen_t client_octets
    sockaddr_in6 client
    uint8_t question[QUESTION_OCTETS_MAX + 1]
    int64_t deadline_ms     # CLOCK_BOOTTIME
    uint32_t chain          # the next slot of the same bucket
    uint32_t older          # the neighbours by age; `newer` also links the free slots
    uint32_t newer


cdef struct Inflight:
    Slot *slots            # slots[1 .. slots_max]
    uint32_t *buckets      # heads of the chains, a power of two of them
    uint32_t slots_max
    uint32_t bucket_mask
    uint32_t free
    uint32_t oldest
    uint32_t newest
    uint32_t taken


cdef inline bint inflight_open(Inflight *inflight, uint32_t slots_max) noexcept nogil:
    """Take memory for `slots_max` queries; False when there is not enough."""
    cdef uint32_t buckets = 64, at
    while buckets < slots_max:
        buckets *= 2
    memset(inflight, 0, sizeof(Inflight))
    inflight.slots = <Slot *> calloc(<size_t> slots_max + 1, sizeof(Slot))
    inflight.buckets = <uint32_t *> calloc(buckets, sizeof(uint32_t))
    if inflight.slots is NULL or inflight.buckets is NULL:
        return False
    inflight.slots_max = slots_max
    inflight.bucket_mask = buckets - 1
    at = slots_max
    while at:
        inflight.slots[at].newer = inflight.free
        inflight.free = at
        at -= 1
    return True


cdef inline void inflight_close(Inflight *inflight) noexcept nogil:
    """Wipe and give back all memory; may be called after a failed `inflight_open`."""
    if inflight.slots is not NULL:
        explicit_bzero(inflight.slots, (<size_t> inflight.slots_max + 1) * sizeof(Slot))
    free(inflight.slots)
    free(inflight.buckets)
    memset(inflight, 0, sizeof(Inflight))


cdef inline uint32_t *inflight_bucket(
    Inflight *inflight, uint32_t upstream, uint32_t upstream_id
) noexcept nogil:
    # The id alone is random; the socket moves equal ids apart.
    return inflight.buckets + ((upstream_id ^ upstream * 0x9E5B) & inflight.bucket_mask)


cdef inline uint32_t inflight_find(
    Inflight *inflight, uint32_t upstream, uint32_t upstream_id
) noexcept nogil:
    """Return the slot that left by socket `upstream` with `upstream_id`, or 0."""
    cdef uint32_t at = inflight_bucket(inflight, upstream, upstream_id)[0]
    cdef Slot *slot
    while at:
        slot = inflight.slots + at
        if slot.upstream_id == upstream_id and slot.upstream == upstream:
            return at
        at = slot.chain
    return 0


cdef inline uint32_t inflight_take(
    Inflight *inflight, uint32_t upstream, uint32_t upstream_id, int64_t deadline_ms
) noexcept nogil:
    """Take a free slot as the youngest and return it, or 0 when all are taken.

    The caller has made sure that (`upstream`, `upstream_id`) is not in flight, fills in the
    asker, the client and the question, and never goes back in `deadline_ms`.
    """
    cdef uint32_t at = inflight.free
    cdef uint32_t *bucket
    cdef Slot *slot
    if at == 0:
        return 0
    slot = inflight.slots + at
    inflight.free = slot.newer
    slot.upstream = <uint16_t> upstream
    slot.upstream_id = <uint16_t> upstream_id
    slot.deadline_ms = deadline_ms
    slot.is_taken = 1
    bucket = inflight_bucket(inflight, upstream, upstream_id)
    slot.chain = bucket[0]
    bucket[0] = at
    slot.newer = 0
    slot.older = inflight.newest
    if inflight.newest:
        inflight.slots[inflight.newest].newer = at
    else:
        inflight.oldest = at
    inflight.newest = at
    inflight.taken += 1
    return at


cdef inline void inflight_release(Inflight *inflight, uint32_t at) noexcept nogil:
    """Free the taken slot `at` and wipe what it knew of the client."""
    cdef Slot *slot = inflight.slots + at
    cdef uint32_t *link = inflight_bucket(inflight, slot.upstream, slot.upstream_id)
    while link[0] != at:
        link = &inflight.slots[link[0]].chain
    link[0] = slot.chain
    if slot.older:
        inflight.slots[slot.older].newer = slot.newer
    else:
        inflight.oldest = slot.newer
    if slot.newer:
        inflight.slots[slot.newer].older = slot.older
    else:
        inflight.newest = slot.older
    explicit_bzero(slot, sizeof(Slot))
    slot.newer = inflight.free
    inflight.free = at
    inflight.taken -= 1
