"""The answer cache: what upstreams said, until it expires or gives way to newer answers.

Entries are written one after the other around a ring of fixed memory, and found through buckets
of eight slots. A position counts up for ever, its upper bits being the lap, so a slot that points
behind the tail is dead by comparison: nothing is ever taken out. An entry that was hit since it
was written is written once more when the tail comes to it. One thread owns a Cache; memory is
taken at open; no lock, no allocation, work bounded by one entry's size. An Entry stays where it
is until the next `cache_put`. It holds truth, never verdicts, and nothing of who asked.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from entry cimport (
    ENTRY_MESSAGE_OCTETS_MAX, KEY_ERROR, RING_UNIT_OCTETS, STALE_SECONDS_MAX, Entry, entry_fill,
    entry_is_fresh, entry_key, entry_may_serve_stale, entry_message, entry_units,
    key_name_octets, response_seconds,
)
from memory cimport MEMORY_OCTETS, memory_give_back, memory_take
from message cimport Response
from siphash cimport hash128_t, siphash13
from wire cimport HEADER_OCTETS, Query

cdef extern from * nogil:
    """
    #define read_soon(address) __builtin_prefetch(address)
    """
    void read_soon(const void *address)

cdef enum:
    BUCKET_SLOTS = 8         # one cache line
    TAG_BITS = 16            # of a slot: the hash's; above them stands a position
    POSITION_BITS = 48       # of which one is kept free, see cache_put
    INDEX_SHARE = 8          # the index is this part of the memory: a slot per 64 octets of it
    CACHE_OCTETS_MIN = 131072
    CACHE_GIBIBYTES_MAX = 1024
    SECOND_CHANCES_MAX = 64  # for one entry that is written


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


cdef inline uint64_t cache_hash(const Cache *cache, const Query *query) noexcept nogil:
    """Return the keyed hash of everything that an answer to `query` depends on."""
    return key_hash(cache, entry_key(query), query.name)


cdef inline uint64_t *cache_bucket(const Cache *cache, uint64_t hash) noexcept nogil:
    return cache.slots + ((hash >> 32) * cache.buckets >> 32) * BUCKET_SLOTS


cdef inline void cache_prefetch(const Cache *cache, uint64_t hash) noexcept nogil:
    """Let the memory that `cache_find` reads first come closer while something else is done."""
    read_soon(cache_bucket(cache, hash))


cdef inline Entry *entry_at(const Cache *cache, uint64_t position) noexcept nogil:
    return <Entry *> (cache.ring + (position & cache.lap_mask) * RING_UNIT_OCTETS)


cdef inline uint64_t slot_of(uint64_t position, uint64_t hash) noexcept nogil:
    return position << TAG_BITS | (hash & 0xFFFF)


cdef inline uint64_t *find_slot(
    const Cache *cache, uint64_t key, const uint8_t *name, uint64_t hash
) noexcept nogil:
    """Return the slot of the entry with this key and lower-case name; NULL if there is none."""
    cdef uint64_t *slots = cache_bucket(cache, hash)
    cdef uint32_t i
    cdef Entry *entry
    for i in range(<uint32_t> BUCKET_SLOTS):
        if (slots[i] ^ hash) & 0xFFFF or slots[i] >> TAG_BITS < cache.tail:
            continue
        entry = entry_at(cache, slots[i] >> TAG_BITS)
        if entry.key == key and memcmp(
            entry_message(entry) + HEADER_OCTETS, name, key_name_octets(key)
        ) == 0:
            return slots + i
    return NULL


cdef inline Entry *find_entry(
    const Cache *cache, uint64_t key, const Query *query, uint64_t hash
) noexcept nogil:
    """Return the entry with this key, marked as hit; NULL if there is none."""
    cdef uint64_t *slot = find_slot(cache, key, query.name, hash)
    cdef Entry *entry
    if slot is NULL:
        return NULL
    entry = entry_at(cache, slot[0] >> TAG_BITS)
    if not entry.was_hit:
        entry.was_hit = 1
    return entry


cdef inline Entry *cache_find_answer(
    const Cache *cache, const Query *query, uint64_t hash
) noexcept nogil:
    """Return the last answer to `query` that was no error, however old; NULL if there is none."""
    return find_entry(cache, entry_key(query), query, hash)


cdef inline Entry *cache_find(
    const Cache *cache, const Query *query, uint64_t hash, int64_t now_ms
) noexcept nogil:
    """Return what answers `query`, `hash` being its `cache_hash`; NULL if there is nothing.

    A fresh answer, else a fresh error, else an expired answer: an upstream's SERVFAIL is never
    turned into data while it holds, and the data stays for when the upstream is silent.
    """
    cdef Entry *answer = cache_find_answer(cache, query, hash)
    cdef Entry *error
    if answer is not NULL and entry_is_fresh(answer, now_ms):
        return answer
    error = find_entry(cache, entry_key(query) | KEY_ERROR, query, hash)
    if error is not NULL and entry_is_fresh(error, now_ms):
        return error
    return answer


cdef inline uint64_t next_lap(const Cache *cache, uint64_t position) noexcept nogil:
    return (position | cache.lap_mask) + 1


cdef inline uint64_t position_behind(
    const Cache *cache, uint64_t position, uint32_t units
) noexcept nogil:
    position += units
    return position if position & cache.lap_mask < cache.ring_units else next_lap(cache, position)


cdef inline void drop_oldest(
    Cache *cache, uint32_t *chances, int64_t now_ms
) noexcept nogil:
    """Move the tail behind the entry that it is at, and that entry to the head if it was hit.

    The tail must be in the lap before the head's: what lies from the head to the tail is free.
    """
    cdef uint64_t position = cache.tail, hash
    cdef Entry *entry = entry_at(cache, position)
    cdef uint32_t units = entry.units, i
    cdef uint64_t *slots
    if units == 0:
        cache.tail = next_lap(cache, position)
        return
    cache.tail = position_behind(cache, position, units)
    if not (entry.was_hit and chances[0]):
        return
    if not (
        entry_is_fresh(entry, now_ms)
        or entry_may_serve_stale(entry, cache.stale_seconds_max, now_ms)
    ):
        return
    hash = key_hash(cache, entry.key, entry_message(entry) + HEADER_OCTETS)
    slots = cache_bucket(cache, hash)
    for i in range(<uint32_t> BUCKET_SLOTS):
        if slots[i] == slot_of(position, hash):  # not another answer to the same query
            chances[0] -= 1
            cache.moved += 1
            entry.was_hit = 0
            slots[i] = slot_of(cache.head, hash)
            memmove(entry_at(cache, cache.head), entry, <size_t> units * RING_UNIT_OCTETS)
            cache.head = position_behind(cache, cache.head, units)
            return


cdef inline Entry *make_room(Cache *cache, uint32_t units, int64_t now_ms) noexcept nogil:
    """Return the head with `units` free behind it, having dropped what was in the way."""
    cdef uint32_t chances = SECOND_CHANCES_MAX
    cdef uint64_t head_at
    while True:
        head_at = cache.head & cache.lap_mask
        if (cache.head ^ cache.tail) <= cache.lap_mask:  # one lap: free up to the ring's end
            if units <= cache.ring_units - head_at:
                return entry_at(cache, cache.head)
            entry_at(cache, cache.head).units = 0
            cache.head = next_lap(cache, cache.head)
        elif units <= (cache.tail & cache.lap_mask) - head_at:
            return entry_at(cache, cache.head)
        else:
            drop_oldest(cache, &chances, now_ms)


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


cdef inline Entry *cache_put(
    Cache *cache, const Query *query, uint64_t hash, const Response *response,
    const uint8_t *wire, int64_t now_ms,
) noexcept nogil:
    """Keep the answer `wire`, as read into `response`, to `query`; return its Entry.

    NULL when it is not to be kept: by `response_seconds`, or because it is too long. Its
    question must be the query's, which the caller has compared octet for octet.
    """
    cdef uint32_t seconds = response_seconds(response)
    cdef uint64_t position
    cdef uint32_t units
    cdef Entry *entry
    if (
        seconds == 0 or response.octets > ENTRY_MESSAGE_OCTETS_MAX
        or response.question_octets != query.asker.question_octets
    ):
        return NULL
    if cache.head >> (POSITION_BITS - 1):  # petabytes later; a position must fit in its slot
        cache_forget(cache)
    units = entry_units(response)
    entry = make_room(cache, units, now_ms)
    position = cache.head
    cache.head = position_behind(cache, position, units)
    cache.written += 1
    entry_fill(entry, query, response, wire)
    entry.ttl_seconds = seconds
    entry.stored_ms = now_ms
    take_slot(cache, entry.key, query.name, hash, position)
    return entry
