"""The answer cache: what upstreams said, until it expires or gives way to newer answers.

Entries are written one after the other around a ring of fixed memory; one that was hit since it
was written is written once more when the tail comes to it. One thread owns a Cache; no lock, no
allocation, work bounded by one entry's size and SECOND_CHANCES_MAX. An Entry stays where it is
until the next `cache_put`. It holds truth, never verdicts, and nothing of who asked.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memmove

from entry cimport (
    ENTRY_MESSAGE_OCTETS_MAX, KEY_ERROR, RING_UNIT_OCTETS, Entry, entry_fill, entry_is_fresh,
    entry_key, entry_may_serve_stale, entry_message, entry_units, response_seconds,
)
from message cimport Response
from slots cimport (
    BUCKET_SLOTS, POSITION_BITS, TAG_BITS, Cache, cache_bucket, cache_close, cache_forget,
    cache_open, entry_at, find_slot, is_candidate, key_hash, next_lap, position_behind,
    read_entry_soon, read_soon, slot_of, take_slot,
)
from wire cimport HEADER_OCTETS, Query

cdef enum:
    SECOND_CHANCES_MAX = 64  # for one entry that is written


cdef inline uint64_t cache_hash(const Cache *cache, const Query *query) noexcept nogil:
    """Return the keyed hash of everything that an answer to `query` depends on."""
    return key_hash(cache, entry_key(query), query.name)


cdef inline void cache_prefetch(const Cache *cache, uint64_t hash) noexcept nogil:
    """Let what `cache_find` reads first come closer while other queries of a batch are read."""
    read_soon(cache_bucket(cache, hash))


cdef inline bint cache_prefetch_entry(const Cache *cache, uint64_t hash) noexcept nogil:
    """Let the entry come closer too, some time after `cache_prefetch`; False if there is none.

    True says that there may be one: only `cache_find` compares.
    """
    cdef uint64_t *slots = cache_bucket(cache, hash)
    cdef bint is_likely = False
    cdef uint32_t i
    for i in range(<uint32_t> BUCKET_SLOTS):
        if is_candidate(cache, slots[i], hash):
            read_entry_soon(cache, slots[i] >> TAG_BITS)
            is_likely = True
    return is_likely


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
