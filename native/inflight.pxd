"""Queries that wait for an upstream: who asked, what was asked, and by which id it left.

A fixed number of slots, taken once. A slot is found by (way, id), where a way is what the query
left by: an upstream socket's or stream's number; and by those of its earlier tries that are
kept. Slots are linked by age of their last sending, so that the first is the one to look at
first, and by their coming, so that the first is the one to end first. A freed slot is wiped:
nothing of a client stays. Ids are random, so chains are short. One thread owns it; nothing blocks
or allocates.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from address cimport Address
from batch cimport Control
from sockets cimport explicit_bzero, sockaddr_in6, socklen_t
from wire cimport HEADER_OCTETS, QUESTION_OCTETS_MAX, Asker

cdef enum:
    TRIES_KEPT = 4         # of one query, each by a way of its own; a power of two


cdef struct Client:
    # Who is to be answered, and by what way.
    uint16_t socket        # UDP: the socket that was asked. TCP: the stream
    uint8_t is_waiting     # 0: nobody; a probe, or one that was answered already
    uint8_t control_octets
    uint32_t serial        # TCP: the stream's, so that its successor gets no answer of it
    socklen_t peer_octets
    sockaddr_in6 peer      # UDP: where the answer goes
    Control control        # UDP: from where it comes
    Address address        # who asked; the proxy's word for it, where one stands between
    Address local          # what address was asked


cdef struct Try:
    uint32_t chain         # the next of the same bucket: a slot's number * TRIES_KEPT + a try's
    uint16_t way           # what the query left by ...
    uint16_t upstream_id   # ... and under which id, unguessable


cdef struct Slot:
    Asker asker
    Client client
    Try tries_kept[TRIES_KEPT]
    uint8_t kept           # bit i: tries_kept[i] is in its chain
    uint8_t present        # the number of the last try
    uint16_t upstream_id   # the last try's
    uint16_t way           # the last try's
    uint32_t way_serial    # TCP: the stream's, as of a client's
    uint32_t way_heard     # TCP: how much the stream had brought when the query was written
    uint8_t upstream       # the upstream's number
    uint8_t is_taken
    uint8_t is_probe
    uint8_t has_opt        # it was sent with EDNS
    uint8_t is_plain       # it was refused with EDNS, and is asked again without
    uint8_t tries          # upstreams that it was sent to, again ones counted
    # Its header and question, as they came.
    uint8_t query[HEADER_OCTETS + QUESTION_OCTETS_MAX + 1]
    uint64_t epoch         # of the verdict that let its name pass
    int64_t begun_ms       # CLOCK_BOOTTIME, when it came
    int64_t begun_ns       # CLOCK_MONOTONIC, the same moment
    int64_t sent_ms        # when it was sent last, or looked at last
    uint32_t older         # the neighbours by age; `newer` also links the free slots
    uint32_t newer
    uint32_t earlier       # the neighbours by coming
    uint32_t later


cdef struct Inflight:
    Slot *slots            # slots[1 .. slots_max]
    uint32_t *buckets      # heads of the chains of tries, a power of two of them
    uint32_t slots_max
    uint32_t bucket_mask
    uint32_t free
    uint32_t oldest
    uint32_t newest
    uint32_t first         # of those taken, by coming
    uint32_t last
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
    Inflight *inflight, uint32_t way, uint32_t upstream_id
) noexcept nogil:
    # The id alone is random; the way moves equal ids apart.
    return inflight.buckets + ((upstream_id ^ way * 0x9E5B) & inflight.bucket_mask)


cdef inline Try *inflight_try(Inflight *inflight, uint32_t at) noexcept nogil:
    return &inflight.slots[at // TRIES_KEPT].tries_kept[at % TRIES_KEPT]


cdef inline uint32_t inflight_find(
    Inflight *inflight, uint32_t way, uint32_t upstream_id
) noexcept nogil:
    """Return the slot one of whose tries left by `way` with `upstream_id`, or 0."""
    cdef uint32_t at = inflight_bucket(inflight, way, upstream_id)[0]
    cdef Try *one
    while at:
        one = inflight_try(inflight, at)
        if one.upstream_id == upstream_id and one.way == way:
            return at // TRIES_KEPT
        at = one.chain
    return 0


cdef inline void try_into_chain(
    Inflight *inflight, uint32_t at, uint32_t number, uint32_t way, uint32_t upstream_id
) noexcept nogil:
    """Make (`way`, `upstream_id`) the try `number` of slot `at`, and its last."""
    cdef Slot *slot = inflight.slots + at
    cdef Try *one = &slot.tries_kept[number]
    cdef uint32_t *bucket = inflight_bucket(inflight, way, upstream_id)
    slot.way = one.way = <uint16_t> way
    slot.upstream_id = one.upstream_id = <uint16_t> upstream_id
    slot.present = <uint8_t> number
    slot.kept |= 1 << number
    one.chain = bucket[0]
    bucket[0] = at * TRIES_KEPT + number


cdef inline void try_out_of_chain(
    Inflight *inflight, uint32_t at, uint32_t number
) noexcept nogil:
    cdef Slot *slot = inflight.slots + at
    cdef Try *one = &slot.tries_kept[number]
    cdef uint32_t *link = inflight_bucket(inflight, one.way, one.upstream_id)
    while link[0] != at * TRIES_KEPT + number:
        link = &inflight_try(inflight, link[0]).chain
    link[0] = one.chain
    slot.kept &= ~(1 << number)


cdef inline void slot_into_age(Inflight *inflight, uint32_t at, int64_t sent_ms) noexcept nogil:
    cdef Slot *slot = inflight.slots + at
    slot.sent_ms = sent_ms
    slot.newer = 0
    slot.older = inflight.newest
    if inflight.newest:
        inflight.slots[inflight.newest].newer = at
    else:
        inflight.oldest = at
    inflight.newest = at


cdef inline void slot_out_of_age(Inflight *inflight, uint32_t at) noexcept nogil:
    cdef Slot *slot = inflight.slots + at
    if slot.older:
        inflight.slots[slot.older].newer = slot.newer
    else:
        inflight.oldest = slot.newer
    if slot.newer:
        inflight.slots[slot.newer].older = slot.older
    else:
        inflight.newest = slot.older


cdef inline uint32_t inflight_take(
    Inflight *inflight, uint32_t way, uint32_t upstream_id, int64_t sent_ms
) noexcept nogil:
    """Take a free slot as the youngest and return it, or 0 when all are taken.

    The caller has made sure that (`way`, `upstream_id`) is not in flight, fills in the rest, and
    never goes back in `sent_ms`.
    """
    cdef uint32_t at = inflight.free
    cdef Slot *slot
    if at == 0:
        return 0
    slot = inflight.slots + at
    inflight.free = slot.newer
    slot.is_taken = 1
    try_into_chain(inflight, at, 0, way, upstream_id)
    slot_into_age(inflight, at, sent_ms)
    slot.earlier = inflight.last
    if inflight.last:
        inflight.slots[inflight.last].later = at
    else:
        inflight.first = at
    inflight.last = at
    inflight.taken += 1
    return at


cdef inline void inflight_renew(Inflight *inflight, uint32_t at, int64_t sent_ms) noexcept nogil:
    """Make the taken slot `at` the youngest: it is to be looked at again later."""
    slot_out_of_age(inflight, at)
    slot_into_age(inflight, at, sent_ms)


cdef inline void inflight_move(
    Inflight *inflight, uint32_t at, uint32_t way, uint32_t upstream_id, int64_t sent_ms
) noexcept nogil:
    """Have slot `at` wait for (`way`, `upstream_id`), not in flight, in place of its last try."""
    cdef uint32_t number = inflight.slots[at].present
    try_out_of_chain(inflight, at, number)
    try_into_chain(inflight, at, number, way, upstream_id)
    inflight_renew(inflight, at, sent_ms)


cdef inline void inflight_add(
    Inflight *inflight, uint32_t at, uint32_t way, uint32_t upstream_id, int64_t sent_ms
) noexcept nogil:
    """Have slot `at` wait for (`way`, `upstream_id`), not in flight, beside its earlier tries.

    When TRIES_KEPT are kept, one that is not the last gives way.
    """
    cdef Slot *slot = inflight.slots + at
    cdef uint32_t number = (slot.present + 1) % TRIES_KEPT, i
    for i in range(<uint32_t> TRIES_KEPT):
        if not slot.kept >> i & 1:
            number = i
            break
    if slot.kept >> number & 1:
        try_out_of_chain(inflight, at, number)
    try_into_chain(inflight, at, number, way, upstream_id)
    inflight_renew(inflight, at, sent_ms)


cdef inline bint inflight_again(
    Inflight *inflight, uint32_t at, uint32_t ways_from, uint32_t ways_to, int64_t sent_ms
) noexcept nogil:
    """Make the try of slot `at` by a way from `ways_from` on, below `ways_to`, its last again.

    False when none is kept: nothing has changed.
    """
    cdef Slot *slot = inflight.slots + at
    cdef uint32_t number
    for number in range(<uint32_t> TRIES_KEPT):
        if (
            slot.kept >> number & 1
            and ways_from <= slot.tries_kept[number].way < ways_to
        ):
            slot.present = <uint8_t> number
            slot.way = slot.tries_kept[number].way
            slot.upstream_id = slot.tries_kept[number].upstream_id
            inflight_renew(inflight, at, sent_ms)
            return True
    return False


cdef inline void inflight_release(Inflight *inflight, uint32_t at) noexcept nogil:
    """Free the taken slot `at` and wipe what it knew of the client."""
    cdef Slot *slot = inflight.slots + at
    cdef uint32_t number
    for number in range(<uint32_t> TRIES_KEPT):
        if slot.kept >> number & 1:
            try_out_of_chain(inflight, at, number)
    slot_out_of_age(inflight, at)
    if slot.earlier:
        inflight.slots[slot.earlier].later = slot.later
    else:
        inflight.first = slot.later
    if slot.later:
        inflight.slots[slot.later].earlier = slot.earlier
    else:
        inflight.last = slot.earlier
    explicit_bzero(slot, sizeof(Slot))
    slot.newer = inflight.free
    inflight.free = at
    inflight.taken -= 1
