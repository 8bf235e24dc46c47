"""The memory of the answer cache: a ring of entries, and buckets of slots that lead to them.

A position in the ring counts up for ever, its upper bits being the lap. A slot holds a position
and 16 bits of the hash; one whose position is behind the tail is dead by comparison, so nothing
is ever taken out. All memory is taken at open. Who may write where in the ring is cache.pxd's.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from entry cimport (
    KEY_ERROR, RING_UNIT_OCTETS, STALE_SECONDS_MAX, Entry, entry_message, key_name_octets,
)
from memory cimport MEMORY_OCTETS, memory_give_back, memory_take
from siphash cimport hash128_t, siphash13
from wire cimport HEADER_OCTETS

cdef extern from * nogil:
    """
    #define read_soon(address) __builtin_prefetch(address)
    """
    void read_soon(const void *address)

cdef enum:
    CACHE_LINE_OCTETS = 64
    BUCKET_SLOTS = 8         # one cache line
    TAG_BITS = 16            # of a slot: the hash's; above them stands a position
    POSITION_BITS = 48       # of which one is kept free, see cache_put
    INDEX_SHARE = 8          # the index is this part of the memory: a slot per 64 octets of it
    CACHE_OCTETS_MIN = 131072
    CACHE_GIBIBYTES_MAX = 1024


cdef struct Cache:
    uint8_t *memory          # `octets` of it: the slots, then the ring
    size_t octets
    uint64_t *slots
    uint64_t buckets
    uint8_t *ring
    uint64_t ring_units      # of RING_UNIT_OCTETS
    uint64_t lap_mask        # of a position, the bits that say where in the ring
    uint64_t head            # where the next entry goes
    uint64_t tail            # the oldest entry that still stands
    hash128_t secret
    uint32_t stale_seconds_max
    uint64_t written         # entries, since open; the lines below are parts of it or beside it
    uint64_t moved           # given a second chance
    uint64_t displaced       # lost before their time because a bucket was full


cdef inline bint cache_open(
    Cache *cache, size_t octets_max, uint32_t stale_seconds_max, const uint8_t *secret
) noexcept nogil:
    """Take at most `octets_max` octets, and copy 16 of `secret`; False if that cannot be.

    What is taken is whole MEMORY_OCTETS, and less than CACHE_OCTETS_MIN is none.
    """
    memset(cache, 0, sizeof(Cache))
    if octets_max < CACHE_OCTETS_MIN or octets_max >> 30 >= CACHE_GIBIBYTES_MAX:
        return False
    cache.octets = octets_max - octets_max % MEMORY_OCTETS
    cache.memory = memory_take(cache.octets)
    if cache.memory is NULL:
        cache.octets = 0
        return False
    cache.slots = <uint64_t *> cache.memory
    cache.buckets = cache.octets // (INDEX_SHARE * BUCKET_SLOTS * sizeof(uint64_t))
    cache.ring = cache.memory + cache.octets // INDEX_SHARE
    cache.ring_units = (cache.octets - cache.octets // INDEX_SHARE) // RING_UNIT_OCTETS
    cache.lap_mask = 1
    while cache.lap_mask <= cache.ring_units:
        cache.lap_mask = cache.lap_mask << 1 | 1
    cache.head = cache.tail = cache.lap_mask + 1
    memcpy(&cache.secret, secret, sizeof(hash128_t))
    cache.stale_seconds_max = min(stale_seconds_max, <uint32_t> STALE_SECONDS_MAX)
    return True


cdef inline void cache_close(Cache *cache) noexcept nogil:
    """Give the memory back; a Cache that is not open stays as it is."""
    memory_give_back(cache.memory, cache.octets)
    memset(cache, 0, sizeof(Cache))


cdef inline void cache_forget(Cache *cache) noexcept nogil:
    """Forget all answers and begin at the first position again."""
    memset(cache.slots, 0, cache.buckets * BUCKET_SLOTS * sizeof(uint64_t))
    cache.head = cache.tail = cache.lap_mask + 1


cdef inline uint64_t key_hash(
    const Cache *cache, uint64_t key, const uint8_t *name
) noexcept nogil:
    """Return the hash under which a key and a lower-case name stand, an error with the answer."""
    return siphash13(cache.secret, key & ~(<uint64_t> KEY_ERROR), name, key_name_octets(key))


cdef inline uint64_t *cache_bucket(const Cache *cache, uint64_t hash) noexcept nogil:
    return cache.slots + ((hash >> 32) * cache.buckets >> 32) * BUCKET_SLOTS


cdef inline Entry *entry_at(const Cache *cache, uint64_t position) noexcept nogil:
    return <Entry *> (cache.ring + (position & cache.lap_mask) * RING_UNIT_OCTETS)


cdef inline uint64_t slot_of(uint64_t position, uint64_t hash) noexcept nogil:
    return position << TAG_BITS | (hash & 0xFFFF)


cdef inline void read_entry_soon(const Cache *cache, uint64_t position) noexcept nogil:
    """Let an entry's header and the first octets behind it come closer, all at once."""
    cdef const uint8_t *entry = <const uint8_t *> entry_at(cache, position)
    read_soon(entry)
    read_soon(entry + CACHE_LINE_OCTETS)
    read_soon(entry + 2 * CACHE_LINE_OCTETS)


cdef inline bint is_candidate(const Cache *cache, uint64_t slot, uint64_t hash) noexcept nogil:
    return (slot ^ hash) & 0xFFFF == 0 and slot >> TAG_BITS >= cache.tail


cdef inline uint64_t *find_slot(
    const Cache *cache, uint64_t key, const uint8_t *name, uint64_t hash
) noexcept nogil:
    """Return the slot of the entry with this key and lower-case name; NULL if there is none."""
    cdef uint64_t *slots = cache_bucket(cache, hash)
    cdef uint32_t i
    cdef Entry *entry
    for i in range(<uint32_t> BUCKET_SLOTS):
        if not is_candidate(cache, slots[i], hash):
            continue
        read_entry_soon(cache, slots[i] >> TAG_BITS)
        entry = entry_at(cache, slots[i] >> TAG_BITS)
        if entry.key == key and memcmp(
            entry_message(entry) + HEADER_OCTETS, name, key_name_octets(key)
        ) == 0:
            return slots + i
    return NULL


cdef inline void take_slot(
    Cache *cache, uint64_t key, const uint8_t *name, uint64_t hash, uint64_t position
) noexcept nogil:
    """Let a slot point to `position`: the key's own, else an empty or dead one, else the oldest.

    Of a full bucket, the oldest that nobody has asked for since it was written, if there is one.
    """
    cdef uint64_t *slot = find_slot(cache, key, name, hash)
    cdef uint64_t *slots = cache_bucket(cache, hash)
    cdef uint64_t oldest = <uint64_t> -1
    cdef uint32_t i
    if slot is NULL:
        slot = slots
        for i in range(1, <uint32_t> BUCKET_SLOTS):
            if slots[i] < slot[0]:
                slot = slots + i
        if slot[0] >> TAG_BITS >= cache.tail:
            cache.displaced += 1
            for i in range(<uint32_t> BUCKET_SLOTS):
                if slots[i] < oldest and not entry_at(cache, slots[i] >> TAG_BITS).was_hit:
                    slot = slots + i
                    oldest = slots[i]
    slot[0] = slot_of(position, hash)


cdef inline uint64_t next_lap(const Cache *cache, uint64_t position) noexcept nogil:
    return (position | cache.lap_mask) + 1


cdef inline uint64_t position_behind(
    const Cache *cache, uint64_t position, uint32_t units
) noexcept nogil:
    position += units
    return position if position & cache.lap_mask < cache.ring_units else next_lap(cache, position)
